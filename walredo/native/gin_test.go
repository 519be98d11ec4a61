package native

import (
	"bytes"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/bufpage"
	"github.com/stratapg/strata/walredo"
)

// ginTestPage is an empty GIN page with an LSN.
func ginTestPage(flags uint16) bufpage.Page {
	p := bufpage.Page(make([]byte, pg.BlockSize))
	ginInit(p, flags)
	p.SetLSN(0x1000)
	return p
}

// tid is a TID in its 6 bytes.
func tid(block uint32, item uint16) []byte {
	b := le.AppendUint16(nil, uint16(block>>16))
	b = le.AppendUint16(b, uint16(block))
	return le.AppendUint16(b, item)
}

// segment packs TIDs, given as numbers.
func segment(t testing.TB, tids ...uint64) []byte {
	w := ginWriter{b: make([]byte, ginDataMax)}
	p := ginPacker{w: &w}
	for _, n := range tids {
		require.NoError(t, p.add(n))
	}
	require.NoError(t, p.finish())
	return w.b[:w.n]
}

// leafTIDs unpacks all TIDs of a leaf.
func leafTIDs(t testing.TB, p bufpage.Page) (segments [][]uint64) {
	for b := p[ginDataAt:p.Lower()]; len(b) > 0; {
		s, err := ginSegmentAt(b)
		require.NoError(t, err)
		b = b[len(s):]
		var tids []uint64
		r := ginSegmentTIDs(s)
		for {
			require.NoError(t, r.next())
			if r.done {
				break
			}
			tids = append(tids, r.tid)
		}
		segments = append(segments, tids)
	}
	return segments
}

// The forms that the comments of access/gin/ginpostinglist.c give: a distance has as few bytes as it can.
func TestGinSegmentBytes(t *testing.T) {
	first := uint64(0x12345)<<ginItemBits | 7
	s := segment(t, first, first+1, first+1+0x7F, first+1+0x7F+0x80, first+1+0x7F+0x80+1<<42)
	require.Equal(t, append(tid(0x12345, 7), 11, 0,
		0x01, 0x7F, 0x80, 0x01, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01, 0), s)
	require.Equal(t, [][]uint64{{first, first + 1, first + 0x80, first + 0x100, first + 0x100 + 1<<42}},
		leafTIDs(t, leafWith(s)))
}

func leafWith(segments ...[]byte) bufpage.Page {
	p := ginTestPage(ginData | ginLeaf | ginCompressed)
	n := 0
	for _, s := range segments {
		n += copy(p[ginDataAt+n:], s)
	}
	ginSetDataSize(p, n)
	return p
}

// redoLeaf changes segments of a leaf by an insertion record.
func redoLeaf(base bufpage.Page, actions ...[]byte) (bufpage.Page, error) {
	data := le.AppendUint16(nil, uint16(len(actions)))
	for _, a := range actions {
		data = append(data, a...)
	}
	return redoOne(pg.V15, page.ForkMain, 9, base, buildRecord(pg.RmGin, 0x20, 7,
		[]byte{ginInsertData | ginInsertLeaf, 0}, testBlock{blkno: 9, data: data}))
}

func addItems(seg byte, tids ...[]byte) []byte {
	b := []byte{seg, ginSegAddItems, byte(len(tids)), 0}
	for _, t := range tids {
		b = append(b, t...)
	}
	return b
}

func TestGinRecompress(t *testing.T) {
	n := func(block, item int) uint64 { return uint64(block<<ginItemBits | item) }
	a, b, c := segment(t, n(1, 1), n(1, 5)), segment(t, n(2, 1)), segment(t, n(3, 1), n(3, 9))
	base := leafWith(a, b, c)
	got, err := redoLeaf(base,
		addItems(0, tid(0, 3), tid(1, 5), tid(1, 7)), // one that is there stays once
		append([]byte{1, ginSegInsert}, segment(t, n(1, 9))...),
		[]byte{1, ginSegDelete},
		append([]byte{2, ginSegReplace}, segment(t, n(3, 9))...),
		append([]byte{3, ginSegInsert}, segment(t, n(4, 1))...))
	require.NoError(t, err)
	require.Equal(t, [][]uint64{{n(0, 3), n(1, 1), n(1, 5), n(1, 7)}, {n(1, 9)}, {n(3, 9)}, {n(4, 1)}}, leafTIDs(t, got))
	require.Equal(t, page.LSN(0x2000), got.LSN())

	for name, actions := range map[string][][]byte{
		"nothing to do":            {},
		"no such segment":          {{3, ginSegDelete}},
		"far behind the last":      {append([]byte{5, ginSegInsert}, a...)},
		"back":                     {{1, ginSegDelete}, {0, ginSegDelete}},
		"no such action":           {{0, 5}},
		"action 0":                 {{0, 0}},
		"cut segment":              {append([]byte{0, ginSegInsert}, a[:len(a)-1]...)},
		"TIDs that are not there":  {{0, ginSegAddItems, 9, 0, 1, 2, 3}},
		"TIDs that do not ascend":  {addItems(0, tid(1, 7), tid(1, 6))},
		"item number of 12 bits":   {addItems(0, tid(1, 1<<ginItemBits))},
		"more than the page takes": {append([]byte{0, ginSegInsert, 0, 0, 0, 0, 1, 0, 0xC0, 0x1F}, make([]byte, 0x1FC0)...)},
	} {
		_, err := redoLeaf(base, actions...)
		require.ErrorIs(t, err, walredo.ErrCorrupt, name)
	}
	for name, spoil := range map[string]func(p bufpage.Page){
		"an inner page":       func(p bufpage.Page) { ginOpaque(p[8184:]).setFlags(ginData) },
		"an entry page":       func(p bufpage.Page) { ginOpaque(p[8184:]).setFlags(ginLeaf) },
		"no GIN page":         func(p bufpage.Page) { p.Init(16) },
		"pd_lower too low":    func(p bufpage.Page) { p.SetLower(24) },
		"segment is too long": func(p bufpage.Page) { p[ginDataAt+6] = 200 },
		"distance has no end": func(p bufpage.Page) { p[ginDataAt+8] |= 0x80 },
	} {
		p := bufpage.Page(append([]byte(nil), base...))
		spoil(p)
		_, err := redoLeaf(p, addItems(0, tid(1, 7)))
		require.ErrorIs(t, err, walredo.ErrCorrupt, name)
	}
}

// Leaves of servers before 9.4 have plain TIDs, and get the present form with their first change.
func TestGinCompressesOldLeaves(t *testing.T) {
	for _, n := range []int{0, 1, 700, 1358} {
		p := ginTestPage(ginData | ginLeaf)
		want := []uint64{}
		for i := range n {
			block, item := uint32(i/100*100000), uint16(i%100+1)
			copy(p[ginDataAt+6*i:], tid(block, item))
			want = append(want, uint64(block)<<ginItemBits|uint64(item))
		}
		ginOpaque(p[8184:]).setCount(n)
		last := segment(t, 1<<43-1)
		seg := byte(min(n, 1)) // an empty page has no segment
		got, err := redoLeaf(p, append([]byte{seg, ginSegInsert}, last...))
		require.NoError(t, err)
		segments := leafTIDs(t, got)
		if n > 0 {
			require.Equal(t, want, segments[0])
		}
		require.Equal(t, []uint64{1<<43 - 1}, segments[len(segments)-1])
		o := ginOpaque(got[8184:])
		require.Equal(t, []int{int(ginData | ginLeaf | ginCompressed), 0}, []int{int(o.flags()), o.count()})
	}
	p := ginTestPage(ginData | ginLeaf)
	ginOpaque(p[8184:]).setCount(1359)
	_, err := redoLeaf(p, append([]byte{0, ginSegInsert}, segment(t, 5)...))
	require.ErrorIs(t, err, walredo.ErrCorrupt)
}

// Merging TIDs into a segment is merging sets.
func TestGinAddItemsModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		set := rapid.SliceOfNDistinct(rapid.Uint64Range(0, 1<<43-1), 1, 300, rapid.ID[uint64])
		old, added := sorted(set.Draw(t, "old")), sorted(set.Draw(t, "added"))
		w := ginWriter{b: make([]byte, ginDataMax)}
		p := ginPacker{w: &w}
		for _, n := range old {
			require.NoError(t, p.add(n))
		}
		require.NoError(t, p.finish())
		var items [][]byte
		for _, n := range added {
			items = append(items, tid(uint32(n>>ginItemBits), uint16(n&(1<<ginItemBits-1))))
		}
		a := append(le.AppendUint16([]byte{0, ginSegAddItems}, uint16(len(items))), join(items)...)
		got, err := redoLeaf(leafWith(w.b[:w.n]), a)
		require.NoError(t, err)
		union := map[uint64]bool{}
		for _, n := range append(old, added...) {
			union[n] = true
		}
		var want []uint64
		for n := range union {
			want = append(want, n)
		}
		b := got[ginDataAt:got.Lower()]
		s, err := ginSegmentAt(b)
		require.NoError(t, err)
		require.Len(t, s, len(b))
		var tids []uint64
		for r := ginSegmentTIDs(s); ; tids = append(tids, r.tid) {
			require.NoError(t, r.next())
			if r.done {
				break
			}
		}
		require.Equal(t, sorted(want), tids)
	})
}

func TestGinDownlinks(t *testing.T) {
	link := func(child, key uint32) []byte { return append(tid(child, 0)[:4], tid(key, 1)...) }
	p := ginTestPage(ginData)
	o := ginOpaque(p[8184:])
	links := [][]byte{link(70000, 5), link(8, 10), link(9, 15)}
	copy(p[ginDataAt:], join(links))
	o.setCount(len(links))
	ginSetDataSize(p, ginDownlinkSize*len(links))

	insert := func(base bufpage.Page, n uint16, child uint32, l []byte) (bufpage.Page, error) {
		main := append([]byte{ginInsertData, 0}, append(tid(1, 0)[:4], tid(child, 0)[:4]...)...)
		return redoOne(pg.V17, page.ForkMain, 9, base, buildRecord(pg.RmGin, 0x20, 7, main,
			testBlock{blkno: 9, data: append(le.AppendUint16(nil, n), l...)}, testBlock{id: 1, blkno: 1}))
	}
	got, err := insert(p, 2, 77777, link(8, 7))
	require.NoError(t, err)
	require.Equal(t, join([][]byte{link(70000, 5), link(8, 7), link(77777, 10), link(9, 15)}), []byte(got[ginDataAt:got.Lower()]))
	for _, n := range []uint16{0, 4, 0xFFFF} {
		_, err := insert(p, n, 1, link(1, 1))
		require.ErrorIs(t, err, walredo.ErrCorrupt)
	}
	_, err = insert(p, 1, 1, link(1, 1)[:9])
	require.ErrorIs(t, err, walredo.ErrCorrupt)
	o.setCount(ginDataMax / ginDownlinkSize)
	_, err = insert(p, 1, 1, link(1, 1))
	require.ErrorIs(t, err, walredo.ErrCorrupt, "full")
	o.setCount(3)

	remove := func(n uint16, block uint8) (bufpage.Page, error) {
		main := le.AppendUint32(le.AppendUint32(le.AppendUint32(nil, uint32(n)), 55), 1234)
		b := testBlock{id: block, blkno: 9}
		return redoOne(pg.V17, page.ForkMain, 9, p, buildRecord(pg.RmGin, 0x50, 7, main, b))
	}
	got, err = remove(1, 1)
	require.NoError(t, err)
	require.Equal(t, join(links[1:]), []byte(got[ginDataAt:got.Lower()]))
	got, err = remove(3, 1)
	require.NoError(t, err)
	require.Equal(t, join(links[:2]), []byte(got[ginDataAt:got.Lower()]))
	got, err = remove(1, 0)
	require.NoError(t, err)
	require.Equal(t, uint32(1234), got.PruneXid())
	require.Equal(t, uint16(ginData|ginDeleted), ginOpaque(got[8184:]).flags())
	got, err = remove(1, 2)
	require.NoError(t, err)
	require.Equal(t, uint32(55), le.Uint32(got[8184:]))
	for _, n := range []uint16{0, 4} {
		_, err = remove(n, 1)
		require.ErrorIs(t, err, walredo.ErrCorrupt)
	}
	_, err = remove(1, 3)
	require.ErrorIs(t, err, walredo.ErrCorrupt)
}

// Records whose pages come as images alone, in a record without them.
func TestGinWithoutImage(t *testing.T) {
	for _, op := range []uint8{0x30, 0x40} {
		_, err := redoOne(pg.V17, page.ForkMain, 9, ginTestPage(ginLeaf), buildRecord(pg.RmGin, op, 7, make([]byte, 40), testBlock{blkno: 9}))
		require.ErrorIs(t, err, walredo.ErrCorrupt)
	}
}

func sorted(n []uint64) []uint64 {
	slices.Sort(n)
	return n
}

func join(b [][]byte) []byte { return bytes.Join(b, nil) }

// The entry that led to a page that was split leads to its right half; the new one, before it, to the left.
func TestGinEntries(t *testing.T) {
	entry := func(child uint32, item uint16, size int) []byte {
		b := append(tid(child, item), byte(size), 0)
		return append(b, make([]byte, size-len(b))...)
	}
	inner, leaf := ginTestPage(0), ginTestPage(ginLeaf)
	for _, p := range []bufpage.Page{inner, leaf} {
		for i := range uint32(2) {
			_, err := p.AddItem(entry(70000+i, 5, 16), 0, 0)
			require.NoError(t, err)
		}
	}
	insert := func(base bufpage.Page, flags byte, n uint16, replace byte, e []byte) (bufpage.Page, error) {
		main := []byte{flags, 0}
		if flags&ginInsertLeaf == 0 {
			main = append(main, append(tid(1, 0)[:4], tid(80000, 0)[:4]...)...)
		}
		return redoOne(pg.V14, page.ForkMain, 9, base, buildRecord(pg.RmGin, 0x20, 7, main,
			testBlock{blkno: 9, data: append(append(le.AppendUint16(nil, n), replace, 0), e...)}))
	}
	items := func(p bufpage.Page) (all [][]byte) {
		for n := 1; n <= p.MaxOffset(); n++ {
			item, err := p.Item(n)
			require.NoError(t, err)
			all = append(all, item)
		}
		return all
	}
	got, err := insert(inner, 0, 2, 0, entry(70001, 0, 24))
	require.NoError(t, err)
	require.Equal(t, [][]byte{entry(70000, 5, 16), entry(70001, 0, 24), entry(80000, 0, 16)}, items(got))
	got, err = insert(leaf, ginInsertLeaf, 1, 1, entry(9, 9, 24))
	require.NoError(t, err)
	require.Equal(t, [][]byte{entry(9, 9, 24), entry(70001, 5, 16)}, items(got))
	got, err = insert(leaf, ginInsertLeaf, 3, 0, entry(9, 9, 24))
	require.NoError(t, err)
	require.Len(t, items(got), 3)
	for name, f := range map[string]func() (bufpage.Page, error){
		"item number 0":           func() (bufpage.Page, error) { return insert(leaf, ginInsertLeaf, 0, 0, entry(9, 9, 24)) },
		"a gap":                   func() (bufpage.Page, error) { return insert(leaf, ginInsertLeaf, 4, 0, entry(9, 9, 24)) },
		"nothing to replace":      func() (bufpage.Page, error) { return insert(leaf, ginInsertLeaf, 3, 1, entry(9, 9, 24)) },
		"replaced on inner page":  func() (bufpage.Page, error) { return insert(inner, 0, 1, 1, entry(9, 9, 24)) },
		"no entry that was split": func() (bufpage.Page, error) { return insert(inner, 0, 3, 0, entry(9, 9, 24)) },
		"leaf record, inner page": func() (bufpage.Page, error) { return insert(inner, ginInsertLeaf, 1, 0, entry(9, 9, 24)) },
		"inner record, leaf page": func() (bufpage.Page, error) { return insert(leaf, 0, 1, 0, entry(9, 9, 24)) },
		"cut entry":               func() (bufpage.Page, error) { return insert(leaf, ginInsertLeaf, 1, 0, entry(9, 9, 24)[:20]) },
		"a posting tree's page": func() (bufpage.Page, error) {
			return insert(ginTestPage(ginData|ginLeaf), ginInsertLeaf, 1, 0, entry(9, 9, 24))
		},
	} {
		_, err := f()
		require.ErrorIs(t, err, walredo.ErrCorrupt, name)
	}
}
