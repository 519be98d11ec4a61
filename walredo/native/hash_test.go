package native

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/bufpage"
	"github.com/stratapg/strata/walredo"
)

// add32 appends numbers to b.
func add32(b []byte, v ...uint32) []byte {
	for _, x := range v {
		b = le.AppendUint32(b, x)
	}
	return b
}

// Tables grow to 1, 2, 4 … 512 buckets, and then in quarters of the way to the next power of two.
func TestHashBuckets(t *testing.T) {
	var totals []uint32
	for n := uint32(1); n <= 512; n *= 2 {
		totals = append(totals, n)
	}
	for n := uint32(512); n < 1<<30; n *= 2 {
		for phase := uint32(1); phase <= 4; phase++ {
			totals = append(totals, n+n/4*phase)
		}
	}
	for point, total := range totals {
		require.Equal(t, uint32(point), hashPoint(total))
		require.Equal(t, max(total, 2), hashFirstBuckets(float64(total)))
		if point > 0 {
			require.Equal(t, uint32(point), hashPoint(totals[point-1]+1))
			require.Equal(t, max(total, 2), hashFirstBuckets(float64(totals[point-1]+1)))
		}
	}
	require.Equal(t, uint32(2), hashFirstBuckets(math.Inf(-1)))
	require.Equal(t, uint32(1<<30), hashFirstBuckets(math.Inf(1)))
}

// hashMetaPageOf makes the metapage of an index that expects so many tuples, 300 to a bucket.
func hashMetaPageOf(t testing.TB, tuples float64) bufpage.Page {
	main := le.AppendUint64(nil, math.Float64bits(tuples))
	main = le.AppendUint16(add32(main, 425), 300)
	p, err := redoOne(pg.V17, page.ForkMain, 0, nil, buildRecord(pg.RmHash, 0x00, 7, main, testBlock{willInit: true}))
	require.NoError(t, err)
	bufpage.Page(p).SetLSN(0x1000)
	return p
}

// A bucket that grows where no overflow page is free: a page and a bitmap page of its own are added. A
// server does so first with 32768 overflow pages, 256 MiB of them.
func TestHashNewBitmapPage(t *testing.T) {
	meta := hashMetaPageOf(t, 1e6)
	m := hashMetaData(meta[bufpage.HeaderSize:])
	point, _ := m.point()
	require.Equal(t, uint32(3583), m.u32(hmMaxBucket))
	require.Equal(t, uint32(1), m.spares(point))
	record := func(found byte) []byte {
		return buildRecord(pg.RmHash, 0x30, 7, []byte{0, 16, found},
			testBlock{blkno: 40, willInit: true, data: add32(nil, 9)}, testBlock{id: 1, blkno: 10},
			testBlock{id: 3, blkno: 41, willInit: true}, testBlock{id: 4, data: add32(nil, 32769)})
	}
	got, err := redoOne(pg.V17, page.ForkMain, 0, meta, record(0))
	require.NoError(t, err)
	m = hashMetaData(got[bufpage.HeaderSize:])
	require.Equal(t, uint32(3), m.spares(point), "two pages more")
	require.Equal(t, []uint32{1, 41, 32769}, []uint32{m.u32(hmMaps), m.u32(hmMapBlocks), m.u32(hmFirstFree)})

	got, err = redoOne(pg.V17, page.ForkMain, 0, meta, record(1))
	require.NoError(t, err)
	m = hashMetaData(got[bufpage.HeaderSize:])
	require.Equal(t, []uint32{1, 0, 32769}, []uint32{m.spares(point), m.u32(hmMaps), m.u32(hmFirstFree)}, "the page was there")

	bitmap, err := redoOne(pg.V17, page.ForkMain, 41, nil, record(0))
	require.NoError(t, err)
	require.Equal(t, bufpage.HeaderSize+4096, bufpage.Page(bitmap).Lower())
	require.Equal(t, []byte{0xFF, 0}, bitmap[bufpage.HeaderSize+4095:bufpage.HeaderSize+4097])
	over, err := redoOne(pg.V17, page.ForkMain, 40, nil, record(0))
	require.NoError(t, err)
	require.Equal(t, add32(nil, 10, hashNone, 9), over[pg.BlockSize-hashOpaqueSize:pg.BlockSize-4])
}

// A squeeze that moves nothing names the page it might have moved to, which versions up to 16 stamp.
func TestHashSqueezeOfNothing(t *testing.T) {
	p := bufpage.Page(make([]byte, pg.BlockSize))
	hashInit(p, hashNone, 3, hashOverflowPage)
	p.SetLSN(0x1000)
	main := append(add32(nil, 5, 6), 0, 0, 1, 0)
	record := buildRecord(pg.RmHash, 0x80, 7, main, testBlock{id: 1, blkno: 4}, testBlock{id: 2, blkno: 8}, testBlock{id: 3, blkno: 5})
	for v, lsn := range map[pg.Version]page.LSN{pg.V14: 0x2000, pg.V15: 0x2000, pg.V16: 0x2000, pg.V17: 0x1000} {
		got, err := redoOne(v, page.ForkMain, 4, p, record)
		require.NoError(t, err)
		require.Equal(t, lsn, bufpage.Page(got).LSN(), v)
		require.Equal(t, []byte(p[8:]), got[8:])
	}
}

// The page freed is empty and belongs to no bucket; its neighbors are joined. Servers free the last page of
// a chain alone, but the record has a block reference for one behind it.
func TestHashSqueezeJoinsNeighbors(t *testing.T) {
	p := bufpage.Page(make([]byte, pg.BlockSize))
	hashInit(p, 1, 3, hashOverflowPage)
	require.NoError(t, addItemAt(p, leafTuple(1, 1, 1), 1))
	p.SetLSN(0x1000)
	record := buildRecord(pg.RmHash, 0x80, 7, append(add32(nil, 5, 6), 0, 0, 1, 0),
		testBlock{id: 2, blkno: 8}, testBlock{id: 3, blkno: 5}, testBlock{id: 4, blkno: 6})
	for block, want := range map[uint32][]byte{
		8: append(add32(nil, hashNone, hashNone, hashNone), u16s(hashUnusedPage, hashPageID)...),
		5: append(add32(nil, 1, 6, 3), u16s(hashOverflowPage, hashPageID)...),
		6: append(add32(nil, 5, hashNone, 3), u16s(hashOverflowPage, hashPageID)...),
	} {
		got, err := redoOne(pg.V17, page.ForkMain, block, p, record)
		require.NoError(t, err)
		require.Equal(t, want, got[pg.BlockSize-hashOpaqueSize:], block)
		require.Equal(t, block == 8, bufpage.Page(got).MaxOffset() == 0)
	}
}

// A bucket that becomes two, whose metapage learns what it must.
func TestHashSplitOnMetapage(t *testing.T) {
	meta := hashMetaPageOf(t, 0)
	main := append(le.AppendUint16(le.AppendUint16(add32(nil, 2), 0x22), 0x12), 3)
	got, err := redoOne(pg.V17, page.ForkMain, 0, meta, buildRecord(pg.RmHash, 0x40, 7, main,
		testBlock{id: 2, data: add32(nil, 3, 7, 2, 5)}))
	require.NoError(t, err)
	m := hashMetaData(got[bufpage.HeaderSize:])
	require.Equal(t, []uint32{2, 3, 7, 2, 5},
		[]uint32{m.u32(hmMaxBucket), m.u32(hmLowMask), m.u32(hmHighMask), m.u32(hmPoint), m.spares(2)})
}

func TestHashRefusesWhatDoesNotFit(t *testing.T) {
	meta := hashMetaPageOf(t, 0)
	bucket := bufpage.Page(make([]byte, pg.BlockSize))
	hashInit(bucket, 1, 3, 2)
	bucket.SetLSN(0x1000)
	bitmap := bufpage.Page(make([]byte, pg.BlockSize))
	hashInit(bitmap, hashNone, hashNone, hashBitmapPage)
	bitmap.SetLSN(0x1000)
	full := append(bufpage.Page(nil), meta...)
	hashMetaData(full[bufpage.HeaderSize:]).set32(hmMaps, hmMaxMaps)
	lost := append(bufpage.Page(nil), meta...)
	hashMetaData(lost[bufpage.HeaderSize:]).set32(hmPoint, hmMaxPoints)
	nan := le.AppendUint64(nil, math.Float64bits(math.NaN()))
	tuple := append(u16s(0, 1, 1, 16), make([]byte, 8)...)
	for _, c := range []struct {
		name string
		info uint8
		id   uint8
		page bufpage.Page
		main []byte
		data []byte
	}{
		{"meta of no tuples per bucket", 0x00, 0, bucket, make([]byte, 14), nil},
		{"meta of not a number of tuples", 0x00, 0, bucket, append(nan, u16s(1, 1, 1)...), nil},
		{"meta cut short", 0x00, 0, bucket, make([]byte, 13), nil},
		{"bitmap larger than the page", 0x10, 0, bucket, u16s(8153), nil},
		{"bitmap beyond the metapage's room", 0x10, 1, full, u16s(4096), nil},
		{"bitmap noted on a bucket", 0x10, 1, bucket, u16s(4096), nil},
		{"insert at 0", 0x20, 0, bucket, u16s(0), tuple},
		{"insert behind a gap", 0x20, 0, bucket, u16s(3), tuple},
		{"insert counted on a bucket", 0x20, 1, bucket, u16s(1), nil},
		{"insert on block 2", 0x20, 2, bucket, u16s(1), tuple},
		{"insert into a heap page", 0x20, 0, mapPage(), u16s(1), tuple},
		{"overflow bit beyond the page", 0x30, 2, bitmap, []byte{0, 16, 1}, add32(nil, 8152*8)},
		{"overflow bit cut short", 0x30, 2, bitmap, []byte{0, 16, 1}, []byte{1, 0}},
		{"overflow bit on a bucket", 0x30, 2, bucket, []byte{0, 16, 1}, add32(nil, 1)},
		{"overflow without the page before", 0x30, 0, bucket, []byte{0, 16, 1}, add32(nil, 1)},
		{"overflow without a bucket", 0x30, 0, bucket, []byte{0, 16, 1}, nil},
		{"overflow at no split point", 0x30, 4, lost, []byte{0, 16, 0}, add32(nil, 1)},
		{"split with half a mask", 0x40, 2, meta, []byte{2, 0, 0, 0, 0, 0, 0, 0, 1}, add32(nil, 3)},
		{"split with a point beyond all", 0x40, 2, meta, []byte{2, 0, 0, 0, 0, 0, 0, 0, 2}, add32(nil, hmMaxPoints, 1)},
		{"split page without image", 0x50, 0, bucket, nil, nil},
		{"split complete of a third bucket", 0x60, 2, bucket, make([]byte, 4), nil},
		{"move of two tuples with one", 0x70, 1, bucket, []byte{2, 0, 0}, append(u16s(1, 2), tuple...)},
		{"move of one tuple with two", 0x70, 1, bucket, []byte{1, 0, 0}, append(append(u16s(1), tuple...), tuple...)},
		{"move from a page without the tuple", 0x70, 2, bucket, []byte{1, 0, 0}, u16s(1)},
		{"squeeze whose neighbor is named twice", 0x80, 3, bucket, []byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, nil},
		{"squeeze without a first free page", 0x80, 6, meta, make([]byte, 12), nil},
		{"delete of what is not there", 0x90, 1, bucket, []byte{0, 0}, u16s(1, 2, 3)},
		{"delete of more than fits", 0x90, 1, bucket, []byte{0, 0}, make([]byte, 1000)},
		{"cleanup of block 1", 0xA0, 1, bucket, nil, nil},
		{"count cut short", 0xB0, 0, meta, make([]byte, 7), nil},
		{"vacuum with fewer numbers than said", 0xC0, 0, bucket, append(add32(nil, 1, 3), 1, 0), nil},
		{"vacuum of many", 0xC0, 1, meta, add32(nil, 1, 0xFFFFFFFF), nil},
	} {
		for _, v := range []pg.Version{pg.V15, pg.V17} {
			_, err := redoOne(v, page.ForkMain, 4, c.page, buildRecord(pg.RmHash, c.info, 7, c.main, testBlock{id: c.id, blkno: 4, data: c.data}))
			require.ErrorIs(t, err, walredo.ErrCorrupt, c.name)
			require.NotErrorIs(t, err, errBug, c.name)
		}
	}
}
