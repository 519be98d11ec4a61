package clustercheck

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

// Bits may be missing from our map page only where WAL made the database, and ours may never have one that
// the server's has not.
func TestCopiedMapMayLackBitsAlone(t *testing.T) {
	const copied, imported = 20000, 5
	theirs := make([]byte, pg.BlockSize)
	theirs[100] = 0x0F
	fewer, more := slices.Clone(theirs), slices.Clone(theirs)
	fewer[100], more[100] = 0x03, 0x1F
	for name, c := range map[string]struct {
		db                uint32
		fork              page.Fork
		mine              []byte
		different, lawful int64
	}{
		"copied, fewer bits":    {copied, page.ForkVM, fewer, 0, 1},
		"copied, a bit more":    {copied, page.ForkVM, more, 1, 0},
		"imported, fewer bits":  {imported, page.ForkVM, fewer, 1, 0},
		"copied, not a map":     {copied, page.ForkMain, fewer, 1, 0},
		"copied, the same bits": {copied, page.ForkVM, theirs, 0, 0},
	} {
		k := &checker{
			o:        Options{MaxFirst: defaultMaxFirst},
			imported: map[dbID]bool{{pg.DefaultTablespace, imported}: true},
			report:   Report{Lawful: map[string]int64{}},
		}
		k.compare(page.RelTag{Spc: pg.DefaultTablespace, DB: c.db, Rel: 1259, Fork: c.fork}, 0, c.mine, theirs)
		require.Equal(t, c.different, k.report.Different, name)
		require.Equal(t, c.lawful, k.report.Lawful[lawCopiedMap], name)
	}
}
