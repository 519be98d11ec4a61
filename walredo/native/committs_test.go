package native

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/walredo"
)

// commitMain is the main data of a commit with subtransactions (info bit 0x80: xinfo follows the time).
func commitMain(time uint64, sub ...uint32) []byte {
	b := le.AppendUint32(le.AppendUint64(nil, time), 1<<1)
	b = le.AppendUint32(b, uint32(len(sub)))
	for _, x := range sub {
		b = le.AppendUint32(b, x)
	}
	return b
}

func redoCommitTs(segment, block uint32, base, record []byte) ([]byte, error) {
	return New().Redo(context.Background(), nil, &walredo.Request{
		Key: page.CommitTs.Block(segment, block), Version: pg.V16, Base: base,
		Records: []walredo.Record{{LSN: 0x2000, Value: page.Value{Kind: page.KindPostgres, Bytes: record}}},
	})
}

func TestCommitTimestamps(t *testing.T) {
	zero := make([]byte, pg.BlockSize)
	const first = 819 * (32 + 3) // of segment 1, page 3
	record := buildRecord(pg.RmXact, 0x80, first+818, commitMain(0x1122334455667788, first+819, first+1638))
	entry := []byte{0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 0, 0}
	for block, at := range map[uint32]int{3: 8180, 4: 0, 5: 0} {
		got, err := redoCommitTs(1, block, zero, record)
		require.NoError(t, err)
		require.Equal(t, entry, got[at:at+10])
		clear(got[at : at+10])
		require.Equal(t, zero, got)
	}
	for name, c := range map[string]struct {
		block uint32
		raw   []byte
	}{
		"another page":                 {6, record},
		"an abort":                     {3, buildRecord(pg.RmXact, 0x20, first, make([]byte, 8))},
		"no transaction's end":         {3, buildRecord(pg.RmXLOG, 0x00, first, make([]byte, 8))},
		"cut off":                      {3, buildRecord(pg.RmXact, 0x80, first, commitMain(1, first)[:14])},
		"prepared, without its number": {3, buildRecord(pg.RmXact, 0x30, first, make([]byte, 8))},
	} {
		_, err := redoCommitTs(1, c.block, zero, c.raw)
		require.ErrorIs(t, err, walredo.ErrCorrupt, name)
	}
	_, err := redoCommitTs(1, 3, nil, record)
	require.ErrorIs(t, err, walredo.ErrNoBase)
	_, err = New().Redo(context.Background(), nil, &walredo.Request{Key: page.Clog.Block(0, 0), Version: pg.V16, Base: zero,
		Records: []walredo.Record{{LSN: 0x2000, Value: page.Value{Kind: page.KindPostgres, Bytes: record}}}})
	require.ErrorIs(t, err, walredo.ErrCorrupt, "the commit log has values of its own")
}
