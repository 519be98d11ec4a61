package wal_test

import (
	"bytes"
	"errors"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/wal"
	"github.com/stratapg/strata/pg/wal/walgen"
)

// seedWAL is a little of everything, a few pages long.
func seedWAL() []byte {
	w := walgen.New(walgen.Options{Version: pg.V16})
	w.Message([]byte("short"))
	w.Append(wal.RecordHeader{Rmgr: pg.RmXLOG, Info: 0xB0}, walgen.BodyWith(walgen.Extra{Origin: 2, TopXid: 3}, []byte("main"),
		walgen.Block{Rel: page.RelTag{Spc: 1, DB: 2, Rel: 3}, Image: &walgen.Image{Bytes: make([]byte, 100), HoleOffset: 24, Info: 3}},
		walgen.Block{ID: 1, SameRel: true, Data: []byte("data")}))
	w.Message(make([]byte, wal.PageSize))
	w.Abort(wal.NewRecord(wal.RecordHeader{Prev: w.Prev(), Rmgr: pg.RmLogicalMsg}, walgen.Body(make([]byte, 2*wal.PageSize))), time.Unix(1e9, 0))
	w.FillPage(16)
	w.Message([]byte("header over the page's end"))
	_, b := w.Bytes()
	return b
}

// Whatever the bytes: no panic, the pieces do not matter, records lie where they say, and what a record is
// made of fits its bytes.
func FuzzDecoder(f *testing.F) {
	seed := seedWAL()
	f.Add(seed, uint16(50))
	f.Add(seed[:300], uint16(50))
	f.Add(seed[:wal.PageSize+100], uint16(1))
	f.Add(make([]byte, 64), uint16(7))
	f.Fuzz(func(t *testing.T, b []byte, piece uint16) {
		if len(b) > 40<<10 {
			return
		}
		o := wal.DecoderOptions{Version: pg.V16, Start: seg, SegSize: seg}
		all, d, err := decode(o, b, whole)
		again, d2, err2 := decode(o, b, func(int) int { return int(piece) })
		require.Equal(t, all, again)
		require.Equal(t, err, err2)
		require.Equal(t, d.LSN(), d2.LSN())
		at := page.LSN(seg)
		for _, r := range all {
			require.GreaterOrEqual(t, r.start, at)
			require.Greater(t, r.end, r.start)
			at = r.end
		}
		dir, err := wal.OpenFS(fstest.MapFS{name(1) + ".partial": &fstest.MapFile{Data: b}}, "wal", wal.DirOptions{Version: pg.V16, Start: seg, SegSize: seg})
		require.NoError(t, err)
		fromDir, err := drain(t, dir)
		if !errors.Is(err, wal.ErrForeign) { // a timeline without a history file
			require.Equal(t, all, fromDir)
		}
	})
}

// FuzzRecord gives any body the header that it needs to be looked at.
func FuzzRecord(f *testing.F) {
	f.Add(seedWAL()[64:400], uint8(0), uint8(15))
	f.Add(walgen.Body(nil, walgen.Block{Image: &walgen.Image{Bytes: []byte{1, 2}, Info: 0x15, Compressed: true, HoleOffset: 9, HoleLength: 9}}), uint8(1), uint8(17))
	f.Fuzz(func(t *testing.T, body []byte, rmgr, version uint8) {
		var r wal.Record
		raw := wal.NewRecord(wal.RecordHeader{Rmgr: pg.Rmgr(rmgr)}, body)
		if r.Decode(pg.Version(version), raw) != nil {
			return
		}
		parts := len(r.Main)
		var dst [pg.BlockSize]byte
		for i := range r.Blocks {
			b := &r.Blocks[i]
			parts += len(b.Image) + len(b.Data)
			require.LessOrEqual(t, b.Rel.Fork, page.ForkInit)
			require.Same(t, b, r.Block(b.ID))
			if b.HasImage {
				_ = b.RestoreImage(dst[:]) // may fail, must not panic
			}
		}
		require.Less(t, parts, len(raw))
	})
}

// FuzzPGLZ: what the test's compressor packs comes back, and any bytes are borne.
func FuzzPGLZ(f *testing.F) {
	f.Add([]byte("abcabcabcabcabcabcabcabcabcabcabcabcabcabcabcabcabcabcabcabcabcabc"), uint16(0))
	f.Add(bytes.Repeat([]byte{0}, 9000), uint16(80))
	f.Add([]byte{0xFF, 0x0F, 0x01, 0xFF}, uint16(8000))
	f.Fuzz(func(t *testing.T, b []byte, hole uint16) {
		var dst [pg.BlockSize]byte
		blk := wal.Block{HasImage: true, Compression: wal.PGLZ, Image: b, HoleLength: hole % pg.BlockSize}
		_ = blk.RestoreImage(dst[:])

		p := make([]byte, pg.BlockSize)
		copy(p, b)
		blk = wal.Block{HasImage: true, Compression: wal.PGLZ, Image: pglzCompress(p)}
		require.NoError(t, blk.RestoreImage(dst[:]))
		require.True(t, bytes.Equal(p, dst[:]))
	})
}
