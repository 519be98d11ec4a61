package upload

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestBandwidth: what is read twice is paid for once, and uploads share what there is.
func TestBandwidth(t *testing.T) {
	now := time.Unix(0, 0)
	b := NewBandwidth(10<<20, func() time.Time { return now })
	var waited time.Duration
	body := func() *paced {
		p := b.pace(t.Context(), bytes.NewReader(make([]byte, 8<<20))).(*paced)
		p.wait = func(_ context.Context, d time.Duration) error {
			waited += d
			now = now.Add(d)
			return nil
		}
		return p
	}
	buf := make([]byte, 64<<10)
	first, second := body(), body()
	for range 2 {
		for off := int64(0); off < 8<<20; off += int64(len(buf)) {
			for _, p := range []*paced{first, second} {
				_, err := p.ReadAt(buf, off)
				require.NoError(t, err)
			}
		}
	}
	require.Equal(t, 1600*time.Millisecond-burst, waited)
	require.Nil(t, NewBandwidth(0, nil))
	r := bytes.NewReader(nil)
	require.Equal(t, r, (*Bandwidth)(nil).pace(t.Context(), r))
}
