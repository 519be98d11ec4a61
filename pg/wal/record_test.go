package wal_test

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/wal"
	"github.com/stratapg/strata/pg/wal/walgen"
)

var rel = page.RelTag{Spc: 1663, DB: 5, Rel: 16384}

func TestRecordParts(t *testing.T) {
	vm := rel.WithFork(page.ForkVM)
	raw := wal.NewRecord(wal.RecordHeader{Xid: 9, Prev: 0x1234568, Rmgr: pg.RmHeap, Info: 0x81}, walgen.BodyWith(
		walgen.Extra{Origin: 3, TopXid: 8}, bytes.Repeat([]byte("m"), 300),
		walgen.Block{ID: 0, Rel: rel, Blkno: 4, WillInit: true, Data: []byte("zero")},
		walgen.Block{ID: 2, Rel: vm, Blkno: 1, SameRel: true},
		walgen.Block{ID: 32, Rel: page.RelTag{Spc: 1664, Rel: 1262}, Blkno: 1<<32 - 2, Data: []byte("last")}))
	require.True(t, wal.CheckCRC(raw))
	var r wal.Record
	for range 2 { // the second time with used blocks
		require.NoError(t, r.Decode(pg.V16, raw))
		require.Equal(t, uint32(9), r.Xid)
		require.Equal(t, page.LSN(0x1234568), r.Prev)
		require.Equal(t, uint8(0x80), r.Op())
		require.Equal(t, "INSERT+INIT", wal.OpName(pg.V16, r.Rmgr, r.Info))
		require.Equal(t, uint16(3), r.Origin)
		require.Equal(t, uint32(8), r.TopXid)
		require.Equal(t, strings.Repeat("m", 300), string(r.Main))
		require.Len(t, r.Blocks, 3)
		require.Equal(t, wal.Block{ID: 0, Rel: rel, Blkno: 4, WillInit: true, HasData: true, Data: []byte("zero"), Image: []byte{}}, *r.Block(0))
		require.Equal(t, vm, r.Block(2).Rel)
		require.Equal(t, "last", string(r.Block(32).Data))
		require.Nil(t, r.Block(1))
	}
}

// The record is from Neon's test of its WAL generator, written by PostgreSQL's rules but not by us.
func TestGoldenRecord(t *testing.T) {
	raw, err := hex.DecodeString(strings.ReplaceAll("40000000 00000000 0000000000000000 00 15 0000 AA22A6E3 FF 26 0000000000000000 0700000000000000 0700000000000000", " ", ""))
	require.NoError(t, err)
	raw = append(raw, "prefix\x00message"...)
	require.True(t, wal.CheckCRC(raw))
	var r wal.Record
	require.NoError(t, r.Decode(pg.V17, raw))
	require.Equal(t, "MESSAGE", wal.OpName(pg.V17, r.Rmgr, r.Info))
	require.True(t, bytes.HasSuffix(r.Main, []byte("prefix\x00message")))
}

func TestRefusedRecords(t *testing.T) {
	image := func(i walgen.Image) []byte { return walgen.Body(nil, walgen.Block{Rel: rel, Image: &i}) }
	page8k := make([]byte, pg.BlockSize)
	for name, c := range map[string]struct {
		body []byte
		says string
	}{
		"unknown part":                   {[]byte{100, 0, 0}, "block id 100"},
		"blocks out of order":            {walgen.Body(nil, walgen.Block{ID: 1, Rel: rel}, walgen.Block{ID: 1, SameRel: true}), "comes after"},
		"same relation as none":          {walgen.Body(nil, walgen.Block{SameRel: true}), "same relation"},
		"cut in a block":                 {[]byte{0, 0, 0, 0, 1, 2, 3}, "ends within"},
		"cut in the origin":              {[]byte{253, 1}, "ends within"},
		"cut in the main data":           {[]byte{255, 9, 1}, "announce 9"},
		"bytes left over":                {[]byte{255, 1, 1, 1}, "announce 1"},
		"four gigabytes":                 {[]byte{254, 255, 255, 255, 255, 0}, "announce"},
		"data without the flag":          {[]byte{0, 0x00, 1, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9}, "flags"},
		"the flag without data":          {[]byte{0, 0x20, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0}, "flags"},
		"a fork that does not exist":     {walgen.Body(nil, walgen.Block{Rel: rel.WithFork(4)}), "fork 4"},
		"a hole of nothing":              {image(walgen.Image{Bytes: page8k, HoleOffset: 8, Info: 1}), "hole"},
		"a hole without the flag":        {image(walgen.Image{Bytes: page8k[:8000]}), "hole"},
		"a hole at 0":                    {image(walgen.Image{Bytes: page8k[:8000], Info: 1}), "hole"},
		"a hole over the end":            {image(walgen.Image{Bytes: page8k[:8000], Info: 1, HoleOffset: 8100}), "hole"},
		"a compressed hole over the end": {image(walgen.Image{Bytes: page8k[:80], Info: 5, Compressed: true, HoleOffset: 8100, HoleLength: 93}), "hole"},
		"compressed to a page":           {image(walgen.Image{Bytes: page8k, Info: 4, Compressed: true}), "said to be compressed"},
		"larger than a page":             {image(walgen.Image{Bytes: make([]byte, 8193)}), "larger"},
	} {
		var r wal.Record
		err := r.Decode(pg.V15, wal.NewRecord(wal.RecordHeader{Rmgr: pg.RmXLOG}, c.body))
		require.ErrorContains(t, err, c.says, name)
	}
	var r wal.Record
	require.ErrorContains(t, r.Decode(pg.V14, wal.NewRecord(wal.RecordHeader{Rmgr: pg.RmNeon}, nil)), "does not exist")
	require.NoError(t, r.Decode(pg.V15, wal.NewRecord(wal.RecordHeader{Rmgr: pg.RmNeon}, nil)))
	require.ErrorIs(t, r.Decode(13, wal.NewRecord(wal.RecordHeader{}, nil)), pg.ErrUnsupportedVersion)
	require.Error(t, r.Decode(pg.V15, nil))
	require.Error(t, r.Decode(pg.V15, make([]byte, 24)))
}

// testPage has a hole of zeros and content that compresses.
func testPage(hole bool) (p []byte, offset, length int) {
	p = []byte(strings.Repeat("0123456789abcdef-page-", 400))[:pg.BlockSize]
	if hole {
		offset, length = 500, 4000
		clear(p[offset : offset+length])
	}
	return p, offset, length
}

func TestImagesOfEveryVersion(t *testing.T) {
	enc, err := zstd.NewWriter(nil)
	require.NoError(t, err)
	type method struct {
		c    wal.Compression
		pack func(b []byte) []byte
	}
	none := method{wal.Uncompressed, func(b []byte) []byte { return b }}
	pglz := method{wal.PGLZ, pglzCompress}
	l4 := method{wal.LZ4, func(b []byte) []byte {
		out := make([]byte, lz4.CompressBlockBound(len(b)))
		n, err := lz4.CompressBlock(b, out, nil)
		require.NoError(t, err)
		return out[:n]
	}}
	zs := method{wal.Zstd, func(b []byte) []byte { return enc.EncodeAll(b, nil) }}
	for v, methods := range map[pg.Version]map[uint8]method{ // by bimg_info without the hole flag, to be applied
		pg.V14: {0x04: none, 0x06: pglz},
		pg.V15: {0x02: none, 0x06: pglz, 0x0A: l4, 0x12: zs},
		pg.V16: {0x02: none, 0x06: pglz, 0x0A: l4, 0x12: zs},
		pg.V17: {0x02: none, 0x06: pglz, 0x0A: l4, 0x12: zs},
	} {
		for info, m := range methods {
			for _, hole := range []bool{false, true} {
				p, off, n := testPage(hole)
				img := &walgen.Image{Info: info, Compressed: m.c != wal.Uncompressed, HoleOffset: uint16(off), HoleLength: uint16(n)}
				if hole {
					img.Info |= 1
				}
				img.Bytes = m.pack(append(append([]byte(nil), p[:off]...), p[off+n:]...))
				var r wal.Record
				require.NoError(t, r.Decode(v, wal.NewRecord(wal.RecordHeader{Rmgr: pg.RmXLOG}, walgen.Body(nil, walgen.Block{Rel: rel, Image: img}))))
				b := r.Block(0)
				require.Equal(t, m.c, b.Compression)
				require.True(t, b.Apply)
				dst := bytes.Repeat([]byte{0xAA}, pg.BlockSize)
				require.NoError(t, b.RestoreImage(dst), "%d %v hole %v", v, m.c, hole)
				require.True(t, bytes.Equal(p, dst), "%d %v hole %v", v, m.c, hole)

				require.Error(t, b.RestoreImage(dst[:100]))
				b.Image = b.Image[:len(b.Image)-1]
				require.ErrorContains(t, b.RestoreImage(dst), "1663/5/16384")
			}
		}
	}
}

// A compressed image that would be larger than the page is refused, not grown into.
func TestImageBomb(t *testing.T) {
	enc, err := zstd.NewWriter(nil)
	require.NoError(t, err)
	big := make([]byte, 64<<20)
	b := wal.Block{HasImage: true, Compression: wal.Zstd, Image: enc.EncodeAll(big, nil)}
	require.Error(t, b.RestoreImage(make([]byte, pg.BlockSize)))
	b.Image = enc.EncodeAll(big[:pg.BlockSize+1], nil)
	require.Error(t, b.RestoreImage(make([]byte, pg.BlockSize)))
	require.ErrorContains(t, (&wal.Block{}).RestoreImage(make([]byte, pg.BlockSize)), "has none")
}

// pglzCompress is a plain greedy compressor for tests: it finds the longest of the last few matches.
func pglzCompress(src []byte) []byte {
	var out []byte
	for i := 0; i < len(src); {
		control, items := byte(0), []byte(nil)
		for bit := 0; bit < 8 && i < len(src); bit++ {
			off, n := longestMatch(src, i)
			if n < 3 {
				items = append(items, src[i])
				i++
				continue
			}
			control |= 1 << bit
			l := min(n-3, 15)
			items = append(items, byte(l)|byte(off>>8<<4), byte(off))
			if l == 15 {
				items = append(items, byte(n-18))
			}
			i += n
		}
		out = append(append(out, control), items...)
	}
	return out
}

func longestMatch(src []byte, i int) (offset, length int) {
	for off := 1; off <= min(i, 600); off++ {
		n := 0
		for i+n < len(src) && n < 273 && src[i+n] == src[i+n-off] {
			n++
		}
		if n > length {
			offset, length = off, n
		}
	}
	return offset, length
}

func TestOpNames(t *testing.T) {
	for _, c := range []struct {
		v    pg.Version
		r    pg.Rmgr
		info uint8
		want string
	}{
		{pg.V14, pg.RmDBase, 0x10, "DROP"}, {pg.V15, pg.RmDBase, 0x10, "CREATE_WAL_LOG"}, {pg.V17, pg.RmDBase, 0x20, "DROP"},
		{pg.V16, pg.RmHeap2, 0x10, "PRUNE"}, {pg.V17, pg.RmHeap2, 0x10, "PRUNE_ON_ACCESS"}, {pg.V17, pg.RmHeap2, 0x30, "PRUNE_VACUUM_CLEANUP"},
		{pg.V16, pg.RmXLOG, 0xE0, "UNKNOWN (e0)"}, {pg.V17, pg.RmXLOG, 0xE0, "CHECKPOINT_REDO"}, {pg.V14, pg.RmXLOG, 0xD0, "OVERWRITE_CONTRECORD"},
		{pg.V15, pg.RmXact, 0x81, "COMMIT"}, {pg.V15, pg.RmHeap, 0xC0, "HOT_UPDATE+INIT"}, {pg.V15, pg.RmSMGR, 0x11, "CREATE"},
		{pg.V15, pg.RmBtree, 0x80, "UNLINK_PAGE"}, {pg.V15, pg.RmBtree, 0x70, "DELETE"}, {pg.V15, pg.RmBtree, 0xE0, "META_CLEANUP"},
		{pg.V15, pg.RmHash, 0xC0, "VACUUM_ONE_PAGE"}, {pg.V15, pg.RmGist, 0x60, "PAGE_DELETE"}, {pg.V15, pg.RmSPGist, 0x80, "VACUUM_REDIRECT"},
		{pg.V15, pg.RmBRIN, 0x90, "INSERT+INIT"}, {pg.V15, pg.RmGin, 0x90, "VACUUM_DATA_LEAF_PAGE"}, {pg.V15, pg.RmGeneric, 0x30, "Generic"},
		{pg.V16, pg.RmNeon, 0x80, "INSERT+INIT"}, {pg.V15, pg.RmNeon, 0x00, "UNKNOWN (0)"},
	} {
		require.Equal(t, c.want, wal.OpName(c.v, c.r, c.info), "%d %v %02X", c.v, c.r, c.info)
	}
	counts := map[pg.Version]int{}
	for _, v := range []pg.Version{pg.V14, pg.V15, pg.V16, pg.V17} {
		for _, op := range wal.Ops(v) {
			require.Equal(t, op.Name, wal.OpName(v, op.Rmgr, op.Info))
			if op.Rmgr != pg.RmNeon {
				counts[v]++
			}
		}
	}
	// 14 knows one way to make a database; 17 marks checkpoints' redo points.
	require.Equal(t, map[pg.Version]int{pg.V14: counts[pg.V15] - 1, pg.V15: counts[pg.V15], pg.V16: counts[pg.V15], pg.V17: counts[pg.V15] + 1}, counts)
}
