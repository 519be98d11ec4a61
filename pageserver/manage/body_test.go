package manage

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzBodies: whatever a client sends as the body of whatever route is refused, or is one that can be written again.
func FuzzBodies(f *testing.F) {
	for _, s := range []string{`{"mode":"AttachedSingle","generation":1}`, `{"lsn":"0/16B3748"}`, `{"gc_horizon":7}`, `"buffered"`, `null`, `{"aux_files":{"a":"b"}}`,
		`{"new_timeline_id":"0102","ancestor_start_lsn":"F/FFFFFFFFF"}`, `{"tenant_id":{}}`, `[[[[`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, r := range routes() {
			if r.body == nil {
				continue
			}
			in := reflect.New(r.body).Interface()
			if json.Unmarshal(b, in) != nil {
				continue
			}
			text, err := json.Marshal(in)
			require.NoError(t, err, r.path)
			again := reflect.New(r.body).Interface()
			require.NoError(t, json.Unmarshal(text, again), "%s: %s", r.path, text)
		}
	})
}
