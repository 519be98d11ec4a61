package manage_test

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pageserver/manage"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/remote/remoteurl"
)

// serveEmpty serves a timeline without a cluster, in a store with or without remote storage.
func serveEmpty(t *testing.T, remote string, testing bool) (tl *strata.Timeline, ask func(method, path, body string, code int, out any) int) {
	e, err := strata.Open(t.Context(), strata.Options{Dir: filepath.Join(t.TempDir(), "store"), CreateIfMissing: true, Remote: strata.RemoteOptions{URL: remote, Open: remoteurl.Open}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, e.Close()) })
	tn, err := e.DefaultTenant(t.Context())
	require.NoError(t, err)
	tl, err = tn.Create(t.Context(), strata.CreateOptions{Name: "main", Version: 17, InitialLSN: 0x1000000})
	require.NoError(t, err)
	s, err := manage.New(manage.Config{Engine: e, Testing: testing})
	require.NoError(t, err)
	root := "/v1/tenant/" + tn.ID().String() + "/timeline/" + tl.Info().ID.String()
	return tl, func(method, path, body string, code int, out any) int {
		t.Helper()
		if strings.HasPrefix(path, "./") {
			path = root + path[1:]
		}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body)))
		if code != 0 {
			require.Equal(t, code, w.Code, "%s %s: %s", method, path, w.Body)
		}
		if out != nil {
			require.NoError(t, json.Unmarshal(w.Body.Bytes(), out))
		}
		return w.Code
	}
}

// fill makes one delta of a few blocks.
func fill(t *testing.T, tl *strata.Timeline) {
	var b page.Batch
	for i := range uint32(10) {
		b.PutImage(page.RelTag{Spc: pg.DefaultTablespace, DB: 5, Rel: 16384}.Block(i), tl.LastRecordLSN()+8, make([]byte, pg.BlockSize))
	}
	require.NoError(t, tl.Put(t.Context(), &b))
	require.NoError(t, tl.Flush(t.Context()))
}

// TestLayersLeaveAndCome: a layer goes from the local disk and comes back, and each step says whether there was anything to do.
func TestLayersLeaveAndCome(t *testing.T) {
	tl, ask := serveEmpty(t, "file://"+t.TempDir(), false)
	askCode := func(method, path string) int { return ask(method, path, "null", 0, nil) }
	fill(t, tl)
	require.Eventually(t, func() bool { // the manifest is told that remote storage has the layer a moment after that
		where, err := tl.Residence()
		return err == nil && where[0].Remote
	}, time.Minute, time.Millisecond)
	layer := func() (name string, remote bool) {
		var m struct {
			Historic []struct {
				Name   string `json:"layer_file_name"`
				Remote bool   `json:"remote"`
			} `json:"historic_layers"`
		}
		ask("GET", "./layer", "null", 200, &m)
		require.Len(t, m.Historic, 1)
		return m.Historic[0].Name, m.Historic[0].Remote
	}
	name, remote := layer()
	require.False(t, remote)
	ask("GET", "./layer/"+name, "null", 304, nil)
	for range 2 {
		for remote = false; !remote; _, remote = layer() { // who opens the layer at that moment keeps it
			where, err := tl.Residence()
			require.NoError(t, err)
			_, err = tl.EvictLayers(t.Context(), where[0].Desc)
			require.NoError(t, err)
		}
		ask("DELETE", "./layer/"+name, "null", 304, nil)
		ask("GET", "./layer/"+name, "null", 200, nil)
		_, remote = layer()
		require.False(t, remote)
	}
	held, err := tl.Snapshot(t.Context(), tl.LastRecordLSN())
	require.NoError(t, err)
	ask("DELETE", "./layer/"+name, "null", 304, nil)
	held.Close()
	require.Eventually(t, func() bool { return askCode("DELETE", "./layer/"+name) == 200 }, time.Minute, time.Millisecond)
	ask("GET", "./layer/gone", "null", 400, nil)
	ask("DELETE", "./layer/gone", "null", 400, nil)
}

// TestLayersStayWithoutRemote: what is nowhere else is not removed.
func TestLayersStayWithoutRemote(t *testing.T) {
	tl, ask := serveEmpty(t, "", false)
	fill(t, tl)
	ask("DELETE", "./layer/"+tl.Layers()[0].Name(), "null", 304, nil)
	_, err := tl.Get(t.Context(), page.RelTag{Spc: pg.DefaultTablespace, DB: 5, Rel: 16384}.Block(3), tl.LastRecordLSN())
	require.NoError(t, err)
}

// TestAuxFiles writes files and lists them as lists of bytes, where that is allowed.
func TestAuxFiles(t *testing.T) {
	tl, ask := serveEmpty(t, "", true)
	before := tl.LastRecordLSN()
	var out map[string][]int
	ask("POST", "./list_aux_files", `{"lsn":"FFFFFFFF/FFFFFFFE"}`, 200, &out)
	require.Empty(t, out)
	ask("POST", "./ingest_aux_files", `{"aux_files":{"pg_logical/mappings/1":"ab","pg_logical/mappings/2":"\u0001"}}`, 200, nil)
	require.Greater(t, tl.LastRecordLSN(), before)
	ask("POST", "./list_aux_files", `{"lsn":"FFFFFFFF/FFFFFFFE"}`, 200, &out)
	require.Equal(t, map[string][]int{"pg_logical/mappings/1": {'a', 'b'}, "pg_logical/mappings/2": {1}}, out)

	tenant := tl.Info().Tenant.String()
	ask("PUT", "/v1/tenant/config", `{"tenant_id":"`+tenant+`"}`, 200, nil)
	ask("PUT", "/v1/tenant/config", `{"tenant_id":"`+tenant+`","gc_horizon":7}`, 400, nil)
	ask("PUT", "/v1/tenant/config", `{}`, 400, nil)
	ask("PUT", "/v1/tenant/config", `{"tenant_id":"`+page.TenantID{9}.String()+`"}`, 404, nil)

	// rel_size_v2_enabled has its timelines list relations in both forms from the next record on.
	details := func() string {
		var raw map[string]any
		ask("GET", "/v1/tenant/"+tenant+"/timeline/"+tl.Info().ID.String(), "", 200, &raw)
		return fmt.Sprint(raw["rel_size_migration"], " ", raw["rel_size_migrated_at"], " ", raw["rel_size_wanted"])
	}
	option := func(v string) {
		ask("PUT", "/v1/tenant/config", `{"tenant_id":"`+tenant+`","rel_size_v2_enabled":`+v+`}`, 200, nil)
	}
	require.Equal(t, "legacy <nil> <nil>", details())
	option("true")
	require.Equal(t, "legacy <nil> migrating", details())
	option("false")
	require.Equal(t, "legacy <nil> <nil>", details())
	option("null")
	ask("PUT", "./patch_index_part", `{"rel_size_migration":"migrated"}`, 409, nil)
	ask("PUT", "./patch_index_part", `{"rel_size_migration":"migrating","rel_size_migrated_at":"0/8"}`, 400, nil)
	ask("PUT", "./patch_index_part", `{}`, 400, nil)
	ask("PUT", "./patch_index_part", `{"rel_size_migration":"migrating"}`, 200, nil)
	require.Equal(t, "legacy <nil> migrating", details())
	ask("PUT", "/v1/tenant/config", `{"tenant_id":"`+tenant+`","rel_size_v2_enabled":7}`, 400, nil)

	_, refuses := serveEmpty(t, "", false)
	refuses("POST", "./ingest_aux_files", `{"aux_files":{"a":"b"}}`, 400, nil)
}
