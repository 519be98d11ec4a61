package basebackup

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

// Bounds are kept only where their pages are: a timeline of Neon's, or one imported before these pages were
// kept, has none.
func TestBoundsOfCommitTimestamps(t *testing.T) {
	const perPage = 819
	for name, c := range map[string]struct {
		segments       []uint32
		pages          []int // of each
		oldest, newest uint32
		want           bool
	}{
		"none":                     {nil, nil, 700, 900, false},
		"both":                     {[]uint32{0}, []int{2}, 700, 900, true},
		"not the newest":           {[]uint32{0}, []int{1}, 700, 900, false},
		"not the oldest's segment": {[]uint32{1}, []int{1}, 700, 32 * perPage, false},
		"two segments":             {[]uint32{0, 1}, []int{32, 1}, 700, 32 * perPage, true},
		"off":                      {[]uint32{0}, []int{2}, 0, 0, false},
	} {
		m := newModel().empty(pg.V16)
		for i, n := range c.pages {
			m.putSLRU(page.CommitTs, c.segments[i], make([][]byte, n)...)
		}
		b := backup{ctx: t.Context(), snap: datadir.At(m, 0x2000000, pg.V16)}
		got, err := b.hasTimestamps(c.oldest, c.newest)
		require.NoError(t, err)
		require.Equal(t, c.want, got, name)
	}
	b := backup{ctx: t.Context(), snap: datadir.At(newModel(), 0x2000000, pg.V16)}
	got, err := b.hasTimestamps(700, 900)
	require.NoError(t, err, "no directory at all")
	require.False(t, got)
}
