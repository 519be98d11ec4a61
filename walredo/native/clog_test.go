package native

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

// TestClogNeighbours shows that setting one transaction's status leaves the other three of its byte alone.
func TestClogNeighbours(t *testing.T) {
	for xid := uint32(4); xid < 8; xid++ {
		for old := range 256 {
			p := make([]byte, pg.BlockSize)
			p[1] = byte(old)
			got, err := redoValue(page.Clog.Block(0, 0), p, page.Value{Kind: page.KindClogAborted, Xids: []uint32{xid}})
			require.NoError(t, err)
			shift := xid % 4 * 2
			require.Equal(t, byte(old)&^(3<<shift)|2<<shift, got[1], "transaction %d over %08b", xid, old)
		}
	}
}
