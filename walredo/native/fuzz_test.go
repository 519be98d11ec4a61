package native

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/bufpage"
	"github.com/stratapg/strata/pg/wal"
	"github.com/stratapg/strata/walredo"
)

// noBug fails on a panic that was caught, and on a damaged page given out.
func noBug(t testing.TB, got []byte, err error) {
	t.Helper()
	require.False(t, errors.Is(err, errBug), "%v", err)
	if err != nil {
		var e *walredo.Error
		require.ErrorAs(t, err, &e)
		require.Empty(t, got)
		return
	}
	require.NoError(t, bufpage.Page(got).Check())
}

// fuzzPage is a heap-like page with tuples, over which head is laid.
func fuzzPage(special int, head []byte) []byte {
	p := bufpage.Page(make([]byte, pg.BlockSize))
	p.Init(special)
	p.SetLSN(0x1000)
	for i := range 12 {
		tuple := make([]byte, 30+3*i)
		tuple[tupleHoff] = 24
		if _, err := p.AddItem(tuple, 0, 0); err != nil {
			panic(err)
		}
	}
	copy(p[8:], head)
	return p
}

// FuzzRedo applies records whose framing is right and whose content is not: every function meets it.
func FuzzRedo(f *testing.F) {
	ops := []struct {
		rmgr pg.Rmgr
		info uint8
		main []byte
		data []byte
	}{
		{pg.RmHeap, heapInsert, []byte{13, 0, 0}, []byte{1, 0, 2, 8, 24, 0, 1, 2, 3, 4}},
		{pg.RmHeap, heapDelete, []byte{7, 0, 0, 0, 3, 0, 4, 1}, nil},
		{pg.RmHeap, heapHotUpdate, []byte{7, 0, 0, 0, 3, 0, 4, 0x60, 0, 0, 0, 0, 13, 0}, []byte{2, 0, 3, 0, 1, 0, 2, 8, 24, 0, 9, 9}},
		{pg.RmHeap, heapUpdate, []byte{7, 0, 0, 0, 3, 0, 4, 0, 0, 0, 0, 0, 13, 0}, []byte{1, 0, 2, 8, 24, 0, 9, 9}},
		{pg.RmHeap, heapConfirm, []byte{2, 0}, nil},
		{pg.RmHeap, heapLock, []byte{7, 0, 0, 0, 3, 0, 4, 1}, nil},
		{pg.RmHeap, heapInplace, []byte{2, 0}, []byte{1, 2, 3, 4, 5, 6, 7, 8, 9}},
		{pg.RmHeap2, 0x10, []byte{0, 0, 0, 0, 1, 0, 1, 0}, []byte{1, 0, 2, 0, 3, 0, 4, 0}},
		{pg.RmHeap2, 0x10, []byte{0, 0xE4, 1, 0, 2, 0}, []byte{1, 0, 1, 0, 2, 0, 1, 0, 3, 0, 1, 0, 4, 0}},
		{pg.RmHeap2, 0x20, []byte{1, 0}, []byte{4, 0}},
		{pg.RmHeap2, 0x30, []byte{0, 0, 0, 0, 1, 0}, []byte{1, 0, 0, 0, 2, 0, 3, 0, 4, 0, 0, 0}},
		{pg.RmHeap2, 0x10, []byte{0, 0x10}, []byte{1, 0, 0, 0, 9, 0, 0, 0, 1, 0, 1, 8, 0, 0, 1, 0, 5, 0}},
		{pg.RmHeap2, heap2MultiInsert, []byte{0, 0, 1, 0, 13, 0}, []byte{3, 0, 1, 0, 2, 8, 24, 0, 1, 2}},
		{pg.RmSeq, seqLog, make([]byte, 40), nil},
		{pg.RmBtree, 0x00, []byte{2, 0}, make([]byte, 16)},
		{pg.RmBtree, 0x30, make([]byte, 10), make([]byte, 64)},
		{pg.RmBtree, 0x60, []byte{2, 0}, []byte{1, 0, 2, 0, 3, 0, 2, 0}},
		{pg.RmBtree, 0x70, make([]byte, 16), []byte{1, 0, 2, 0}},
		{pg.RmBtree, 0xC0, []byte{1, 0, 0, 0}, []byte{1, 0}},
	}
	for _, o := range ops {
		for _, v := range []uint8{14, 15, 16, 17} {
			f.Add(v, uint8(o.rmgr), o.info, uint8(0), o.main, o.data, []byte{})
		}
	}
	f.Fuzz(func(t *testing.T, v, rmgr, info, shape uint8, main, data, head []byte) {
		if len(data) > 0xFFFF {
			return
		}
		id, special := shape&3, 16*int(shape>>2&1)
		fork := page.ForkMain
		if shape&8 != 0 {
			fork = page.ForkVM
		}
		blocks := []testBlock{{id: id, fork: fork, blkno: 1, willInit: shape&16 != 0, data: data}}
		if shape&32 != 0 {
			blocks = append(blocks, testBlock{id: id + 1, blkno: 2, data: main[:min(len(main), 200)]})
		}
		req := walredo.Request{
			Key: testRel.WithFork(fork).Block(1), Version: pg.Version(14 + v%4), Flavour: pg.Flavour(shape >> 6 & 1),
			Base: fuzzPage(special, head), Checksums: shape&128 != 0,
			Records: []walredo.Record{{LSN: 0x2000, Value: page.Value{
				Kind: page.KindPostgres, Bytes: buildRecord(pg.Rmgr(rmgr), info, 700, main, blocks...),
			}}},
		}
		got, err := New().Redo(context.Background(), nil, &req)
		noBug(t, got, err)
	})
}

// Real records with some bytes changed meet the real pages that they belong to, and those too with some
// bytes changed.
func TestDamagedRealRecords(t *testing.T) {
	if !testkit.WithoutRace(t) {
		return
	}
	base := t.TempDir()
	testkit.UntarFixture(t, base, "neon-pg17/base-pgdata.tar.zst")
	segment := testkit.FixtureZstd(t, "neon-pg17/000000010000000000000002.zst")
	d, err := wal.NewDecoder(wal.DecoderOptions{Version: pg.V17, Start: 0x2377B20, SegSize: 16 << 20})
	require.NoError(t, err)
	d.Feed(segment[0x377B20:])
	r := newReplayer(t, pg.V17, base)
	rng := rand.New(rand.NewPCG(1, 2))
	var rec wal.Record
	tried, applied := 0, 0
	for ok := true; ok && tried < 100000; {
		if ok, err = d.Next(&rec); err != nil || !ok {
			break
		}
		for i := range rec.Blocks {
			b := &rec.Blocks[i]
			k := b.Rel.Block(b.Blkno)
			for range 4 {
				raw, p := append([]byte(nil), rec.Raw...), append([]byte(nil), r.get(k)...)
				damage(rng, raw[20:])
				if len(p) > 0 && rng.IntN(2) == 0 {
					damage(rng, p)
				}
				req := walredo.Request{Key: k, Version: pg.V17, Records: []walredo.Record{
					{LSN: rec.End, Value: page.Value{Kind: page.KindPostgres, Bytes: raw}}}}
				if len(p) > 0 {
					req.Base = p
				}
				got, err := r.redo.Redo(context.Background(), nil, &req)
				noBug(t, got, err)
				tried++
				if err == nil {
					applied++
				}
			}
		}
		r.record(&rec)
	}
	t.Logf("%d damaged records, %d applied nonetheless", tried, applied)
	require.Zero(t, r.failed)
	require.Greater(t, tried, 50000)
}

// damage changes one to three bytes, more often near the front, where the structure is.
func damage(rng *rand.Rand, b []byte) {
	for range 1 + rng.IntN(3) {
		n := len(b)
		if rng.IntN(2) == 0 {
			n = min(n, 120)
		}
		b[rng.IntN(n)] = [...]byte{0, 1, 0xFF, 0x7F, 0x80, byte(rng.Uint32())}[rng.IntN(6)]
	}
}
