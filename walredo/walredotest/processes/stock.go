package processes

import (
	"encoding/binary"
	"hash/crc32"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/wal"
	"github.com/stratapg/strata/pg/wal/walgen"
	"github.com/stratapg/strata/walredo"
)

// Stock15 gives a request of Neon's benchmark as a stock server of 15 would have logged the same changes: heap
// insertions without the command id that computes of 14 log, images with the flags of 15.
func Stock15(t testing.TB, req *walredo.Request) *walredo.Request {
	t.Helper()
	out := *req
	out.Version, out.Flavour, out.Records = pg.V15, pg.Stock, nil
	for _, r := range req.Records {
		var rec wal.Record
		require.NoError(t, rec.Decode(req.Version, r.Value.Bytes))
		r.Value.Bytes = stockRecord(&rec)
		out.Records = append(out.Records, r)
	}
	return &out
}

// Where things lie in a logged tuple's header of Neon's computes, and in a record.
const (
	cidAt, cidEnd = 4, 8
	headerSize    = 24
	crcAt         = 20
	image15Hole   = 0x01
	image15Apply  = 0x02
)

func stockRecord(rec *wal.Record) []byte {
	var blocks []walgen.Block
	for i := range rec.Blocks {
		b := &rec.Blocks[i]
		w := walgen.Block{ID: b.ID, Rel: b.Rel, Blkno: b.Blkno, WillInit: b.WillInit, Data: b.Data}
		if op := wal.OpName(pg.V14, rec.Rmgr, rec.Info); rec.Rmgr == pg.RmHeap && (op == "INSERT" || op == "INSERT+INIT") && len(b.Data) > cidEnd {
			w.Data = append(append([]byte{}, b.Data[:cidAt]...), b.Data[cidEnd:]...)
		}
		if b.HasImage {
			w.Image = &walgen.Image{Bytes: b.Image, HoleOffset: b.HoleOffset}
			if b.HoleLength > 0 {
				w.Image.Info |= image15Hole
			}
			if b.Apply {
				w.Image.Info |= image15Apply
			}
		}
		blocks = append(blocks, w)
	}
	out := append(append([]byte{}, rec.Raw[:headerSize]...), walgen.Body(rec.Main, blocks...)...)
	binary.LittleEndian.PutUint32(out, uint32(len(out)))
	table := crc32.MakeTable(crc32.Castagnoli)
	crc := crc32.Update(crc32.Update(0, table, out[headerSize:]), table, out[:crcAt])
	binary.LittleEndian.PutUint32(out[crcAt:], crc)
	return out
}
