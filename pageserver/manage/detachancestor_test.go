package manage_test

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pageserver/manage"
	"github.com/stratapg/strata/pg"
)

// TestDetachAncestor: Neon's answers and statuses, and a branch that outlives what it came from.
func TestDetachAncestor(t *testing.T) {
	ctx := t.Context()
	e, err := strata.Open(ctx, strata.Options{Dir: filepath.Join(t.TempDir(), "store"), CreateIfMissing: true})
	require.NoError(t, err)
	defer func() { require.NoError(t, e.Close()) }()
	h, err := manage.New(manage.Config{Engine: e})
	require.NoError(t, err)
	tn, err := e.DefaultTenant(ctx)
	require.NoError(t, err)
	key := page.RelTag{Spc: 1663, DB: 5, Rel: 1}.Block(0)
	main, err := tn.Create(ctx, strata.CreateOptions{Name: "main", Version: pg.V17, InitialLSN: 0x1000})
	require.NoError(t, err)
	for lsn := page.LSN(0x1008); lsn <= 0x1020; lsn += 8 {
		var b page.Batch
		b.PutImage(key, lsn, bytes.Repeat([]byte{byte(lsn)}, 8192))
		require.NoError(t, main.Put(ctx, &b))
	}
	at := map[string]page.LSN{"early": 0x1008, "child": 0x1010, "late": 0x1018}
	made := map[string]*strata.Timeline{"main": main}
	for _, name := range []string{"early", "child", "late"} {
		made[name], err = tn.Branch(ctx, main, strata.BranchOptions{Name: name, At: at[name]})
		require.NoError(t, err)
	}
	_, err = tn.Branch(ctx, made["child"], strata.BranchOptions{Name: "grandchild", At: at["child"]})
	require.NoError(t, err)
	made["grandchild"], err = tn.Timeline(ctx, "grandchild")
	require.NoError(t, err)
	s := &served{t: t, e: e, tn: tn, tl: main, h: h, tenant: "/v1/tenant/" + tn.ID().String()}
	path := func(name string) string {
		return s.tenant + "/timeline/" + made[name].Info().ID.String() + "/detach_ancestor"
	}
	s.refused("PUT", path("main"), "", http.StatusConflict, "no ancestor")
	s.refused("PUT", path("grandchild"), "", http.StatusBadRequest, "a branch itself")
	s.refused("PUT", path("child")+"?detach_behavior=v3", "", http.StatusBadRequest, "v1 there is")
	s.refused("PUT", s.tenant+"/timeline/"+page.TimelineID{7}.String()+"/detach_ancestor", "", http.StatusNotFound, "no such timeline")
	require.NoError(t, tn.Archive(ctx, "late"))
	s.refused("PUT", path("late"), "", http.StatusBadRequest, "archived")
	want := fmt.Sprintf(`{"reparented_timelines":[%q]}`, made["early"].Info().ID)
	for _, query := range []string{"?detach_behavior=v1", ""} {
		w := s.ask("PUT", path("child")+query, "")
		require.Equal(t, http.StatusOK, w.Code, w.Body)
		require.JSONEq(t, want, w.Body.String())
	}
	s.get("DELETE", s.tenant+"/timeline/"+made["late"].Info().ID.String(), "", 200, nil)
	s.get("DELETE", s.tenant+"/timeline/"+main.Info().ID.String(), "", 200, nil)
	for _, name := range []string{"early", "child", "grandchild"} {
		v, err := made[name].Get(ctx, key, 0x1008)
		require.NoError(t, err)
		require.EqualValues(t, 0x08, v[0], name)
	}
	var out object
	s.get("GET", s.tenant+"/timeline/"+made["child"].Info().ID.String(), "", 200, &out)
	require.Nil(t, out["ancestor_timeline_id"])
}

// TestDetachAncestorBackup: the base backup at the LSN where a timeline branched says that it is that, also once the timeline is
// no branch any more.
func TestDetachAncestorBackup(t *testing.T) {
	ctx := t.Context()
	s := serve(t, manage.Config{})
	at := s.tl.LastRecordLSN()
	child, err := s.tn.Branch(ctx, s.tl, strata.BranchOptions{Name: "leaves", At: at})
	require.NoError(t, err)
	path := s.tenant + "/timeline/" + child.Info().ID.String()
	defer func() { s.get("DELETE", path, "", 200, nil) }()
	var b page.Batch
	b.PutImage(page.RelTag{Spc: 1663, DB: 5, Rel: 1 << 30}.Block(0), at+8, make([]byte, 8192))
	require.NoError(t, child.Put(ctx, &b))
	signal := func() string {
		var out bytes.Buffer
		_, err := child.BaseBackup(ctx, &out, strata.BaseBackupOptions{LSN: at, Format: strata.BackupCompute})
		require.NoError(t, err)
		for r := tar.NewReader(&out); ; {
			h, err := r.Next()
			require.NoError(t, err)
			if h.Name == "neon.signal" || h.Name == "zenith.signal" {
				text, err := io.ReadAll(r)
				require.NoError(t, err)
				return string(text)
			}
		}
	}
	require.Equal(t, "PREV LSN: none", signal())
	s.get("PUT", path+"/detach_ancestor", "", 200, nil)
	require.Nil(t, child.Info().Ancestor)
	require.Equal(t, "PREV LSN: none", signal())
}
