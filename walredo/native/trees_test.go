package native

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/bufpage"
	"github.com/stratapg/strata/pg/mask"
	"github.com/stratapg/strata/pg/wal"
)

// What the masks hide comes out as on the server, too: the LSN of every page and a GiST page's NSN and
// flags.
func TestTreesBehindTheMask(t *testing.T) {
	if !testkit.WithoutRace(t) {
		return
	}
	for _, v := range []pg.Version{pg.V15, pg.V17} {
		if v == pg.V15 && !testkit.Long() {
			continue // the same functions, but for the layout of three records
		}
		t.Run(fmt.Sprint(int(v)), func(t *testing.T) {
			p := testkit.Server(t, v, testkit.Config{NoChecksums: true, Settings: map[string]string{"wal_keep_size": "4GB", "wal_log_hints": "off"}})
			base := filepath.Join(t.TempDir(), "base")
			testkit.CopyTree(t, base, p.Data)
			p.Start()
			p.HashWork()
			p.GistWork()
			p.SPGistWork()
			p.Stop()
			r := newReplayer(t, v, base)
			r.run(segments(t, p.Data), wal.DecoderOptions{Version: v, Start: endOfCheckpoint(t, base), SegSize: 16 << 20})
			require.Zero(t, r.failed)
			compared, different, _ := r.compareWith(p.Data)
			require.Zero(t, different)
			require.Greater(t, compared, 1000)
			r.requireSameUnmasked(p.Data)
		})
	}
}

// requireSameUnmasked compares the pages of hash, GiST and SP-GiST indexes but for hints.
func (r *replayer) requireSameUnmasked(data string) {
	count := map[mask.Kind]int{}
	for k, got := range r.pages {
		rel, n, _ := k.RelBlock()
		want := bufpage.Page(fileBlock(r.t, data, rel, n))
		if want == nil || got == nil || want.IsNew() {
			continue
		}
		kind := mask.KindOf(want, rel.Fork)
		if kind != mask.KindHash && kind != mask.KindGist && kind != mask.KindSPGist {
			continue
		}
		count[kind]++
		require.Equal(r.t, want.LSN(), bufpage.Page(got).LSN(), "%s page %s", kind, k.Describe())
		if kind == mask.KindGist {
			const gone, hints = 1 << 2, gistHasGarbage
			w, g := gistOpaque(want[pg.BlockSize-gistOpaqueSize:]), gistOpaque(got[pg.BlockSize-gistOpaqueSize:])
			require.Equal(r.t, w[:gistFlags], g[:gistFlags], k.Describe())
			require.Equal(r.t, w.flags()&^(gone|hints), g.flags()&^(gone|hints), k.Describe())
		}
	}
	r.t.Logf("compared without mask: %v", count)
	require.Greater(r.t, count[mask.KindHash], 50)
	require.Greater(r.t, count[mask.KindGist], 200)
	require.Greater(r.t, count[mask.KindSPGist], 200)
}
