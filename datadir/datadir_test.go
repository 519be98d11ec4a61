package datadir

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

// The cache forgets, but never wrongly, and never what the store does not know yet.
func TestSizeCacheAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(1, 8).Draw(t, "limit")
		c := newSizeCache(limit)
		model, changed := make(map[page.RelTag]uint32), make(map[page.RelTag]bool)
		rel := func() page.RelTag {
			return page.RelTag{Spc: 1663, DB: uint32(rapid.IntRange(1, 2).Draw(t, "db")), Rel: uint32(rapid.IntRange(1, 12).Draw(t, "rel")) * 64}
		}
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				r, n, isNew := rel(), rapid.Uint32().Draw(t, "n"), rapid.Bool().Draw(t, "changed")
				c.put(r, n, isNew)
				model[r] = n
				changed[r] = changed[r] || isNew
			},
			"get": func(t *rapid.T) {
				r := rel()
				n, ok := c.get(r)
				want, known := model[r]
				if ok {
					require.True(t, known)
					require.Equal(t, want, n)
				} else {
					require.False(t, known && changed[r], "a size that is not stored was forgotten")
				}
			},
			"remove": func(t *rapid.T) { r := rel(); c.remove(r); delete(model, r); delete(changed, r) },
			"committed": func(t *rapid.T) {
				c.committed()
				clear(changed)
				require.LessOrEqual(t, len(c.byRel), limit)
			},
			"": func(t *rapid.T) {
				for r := range changed {
					if changed[r] {
						n, ok := c.get(r)
						require.True(t, ok)
						require.Equal(t, model[r], n)
					}
				}
				require.Equal(t, len(c.entries)-1, len(c.byRel)+len(c.free)+unusedPinned(c))
			},
		})
	})
}

func unusedPinned(c *sizeCache) (n int) {
	for _, i := range c.pinned {
		if !c.entries[i].used {
			n++
		}
	}
	return n
}

func TestRecordIndexRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var x RecordIndex
		var spans []RecordSpan
		at := page.LSN(rapid.Uint64Range(0, 1<<40).Draw(t, "start") * 8)
		for range rapid.IntRange(1, 50).Draw(t, "n") {
			start := at + page.LSN(rapid.SampledFrom([]uint64{0, 0, 24, 40, 8192}).Draw(t, "gap"))
			at = start + page.LSN(rapid.Uint64Range(1, 1<<20).Draw(t, "len")*8)
			spans = append(spans, RecordSpan{start, at})
			x.Add(RecordSpan{start, at})
		}
		var got []RecordSpan
		require.NoError(t, EachRecord(x.Bytes(), func(s RecordSpan) bool { got = append(got, s); return true }))
		require.Equal(t, spans, got)
		require.Equal(t, len(spans), x.Len())
	})
}

// FuzzDecoders: a decoder refuses, or what it gives encodes to something that decodes equal.
func FuzzDecoders(f *testing.F) {
	f.Add(EncodeDatabases([]Database{{1663, 5, true}, {1664, 0, true}}))
	f.Add(EncodeRelations([]RelFork{{16384, 0}, {16384, 2}}))
	f.Add(EncodeSegments([]uint32{0, 7}))
	f.Add(EncodeTwoPhase(pg.V17, []uint64{1 << 33}))
	f.Add(EncodeFiles([]File{{"a", []byte("b")}, {"c", nil}}))
	var x RecordIndex
	x.Add(RecordSpan{0x100, 0x180})
	x.Add(RecordSpan{0x198, 0x200})
	f.Add(x.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		if v, err := DecodeDatabases(b); err == nil {
			again, err := DecodeDatabases(EncodeDatabases(v))
			require.NoError(t, err)
			require.Equal(t, v, again)
		}
		if v, err := DecodeRelations(b); err == nil {
			again, err := DecodeRelations(EncodeRelations(v))
			require.NoError(t, err)
			require.Equal(t, v, again)
		}
		if v, err := DecodeSegments(b); err == nil {
			require.True(t, slices.IsSorted(v))
		}
		for _, version := range []pg.Version{pg.V16, pg.V17} {
			if v, err := DecodeTwoPhase(version, b); err == nil {
				again, err := DecodeTwoPhase(version, EncodeTwoPhase(version, v))
				require.NoError(t, err)
				require.Equal(t, v, again)
			}
		}
		if v, err := DecodeFiles(b); err == nil && len(v) > 0 {
			require.Equal(t, b, EncodeFiles(v))
		}
		var x RecordIndex
		if err := EachRecord(b, func(s RecordSpan) bool { x.Add(s); return true }); err == nil && x.Len() > 0 {
			var y RecordIndex
			require.NoError(t, EachRecord(x.Bytes(), func(s RecordSpan) bool { y.Add(s); return true }))
			require.True(t, bytes.Equal(x.Bytes(), y.Bytes()))
		}
	})
}

// indexStore is a Reader that has record indexes alone.
type indexStore map[page.LSN][]byte

func (s indexStore) Get(context.Context, page.Key, page.LSN) ([]byte, error) {
	return nil, errors.New("not asked")
}

func (s indexStore) GetVectored(_ context.Context, set page.Set, lsn page.LSN, fn func(page.Key, []byte, error) error) error {
	var at []page.LSN
	for l := range s {
		if l <= lsn && set.Contains(page.RecordsKey(l)) {
			at = append(at, l)
		}
	}
	slices.Sort(at)
	for _, l := range at {
		if err := fn(page.RecordsKey(l), s[l], nil); err != nil {
			return err
		}
	}
	return nil
}

// Every LSN finds the last record at or before it, also far behind one.
func TestRecordBefore(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := indexStore{}
		var spans []RecordSpan
		at := page.LSN(0x1000028)
		for range rapid.IntRange(1, 6).Draw(t, "batches") {
			var x RecordIndex
			var first page.LSN
			for range rapid.IntRange(1, 5).Draw(t, "records") {
				end := at + page.LSN(rapid.SampledFrom([]uint64{8, 64, 16 << 20, 1 << 36}).Draw(t, "len"))
				x.Add(RecordSpan{at, end})
				spans = append(spans, RecordSpan{at, end})
				if first == 0 {
					first = end
				}
				at = end
			}
			s[first] = x.Bytes()
		}
		for i, want := range spans {
			next := page.MaxLSN &^ 7
			if i+1 < len(spans) {
				next = spans[i+1].End
			}
			for _, lsn := range []page.LSN{want.End, want.End + 3, next - 8} {
				got, _, err := At(s, next, pg.V15).RecordBefore(context.Background(), lsn)
				require.NoError(t, err)
				require.Equal(t, want, got, fmt.Sprint(lsn))
			}
		}
		_, _, err := At(s, at, pg.V15).RecordBefore(context.Background(), spans[0].End-8)
		require.ErrorIs(t, err, page.ErrNotFound)
	})
}
