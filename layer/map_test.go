package layer

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/page"
)

// flatKeys are spread over relations, so that they differ in any digit.
const flatKeys = 14

func flatKey(i int) page.Key {
	switch i {
	case 0:
		return page.MinKey
	case flatKeys:
		return page.MaxKey
	}
	return page.Key{F1: uint8(i / 12), F2: 1663, F3: uint32(i/5) << 20, F4: uint32(i%5) * 0x01000001, F5: uint8(i % 2), F6: uint32(i%3) << (11 * (i % 3))}
}

// flatKeysInOrder are the keys that layers and queries are drawn from.
func flatKeysInOrder() []page.Key {
	out := make([]page.Key, flatKeys+1)
	for i := range out {
		out[i] = flatKey(i)
	}
	slices.SortFunc(out, page.Key.Compare)
	return slices.Compact(out)
}

const flatLSNs = 30

// flatMap is the truth: the layers in any order.
type flatMap []Desc

func drawDesc(t *rapid.T, keys []page.Key) Desc {
	from, to := drawRange(t, len(keys)-1, "keys")
	lo, hi := drawRange(t, flatLSNs, "lsns")
	d := Desc{Keys: page.Range{Start: keys[from], End: keys[to]}, LSNs: page.LSNRange{Start: page.LSN(lo), End: page.LSN(hi)}}
	switch rapid.IntRange(0, 5).Draw(t, "shape") {
	case 0:
		d.Keys = page.FullRange
	case 1:
		d.Keys.End = d.Keys.Start.Next()
	case 2, 3:
		d.Image, d.LSNs.End = true, d.LSNs.Start+1
	}
	return d
}

func (f flatMap) has(d Desc) bool {
	return slices.ContainsFunc(f, func(o Desc) bool { return o.same(&d) })
}

// newest gives the highest end of an image or delta that starts below end and covers k; 0 for none.
func (f flatMap) newest(k page.Key, end page.LSN, image bool) (top page.LSN) {
	for _, d := range f {
		if d.Image == image && d.LSNs.Start < end && d.Keys.Contains(k) {
			top = max(top, d.LSNs.End)
		}
	}
	return top
}

func (f flatMap) count(keys []page.Key, r page.Range, lsns page.LSNRange) (top int) {
	for _, k := range keys {
		if !r.Contains(k) {
			continue
		}
		floor, n := max(lsns.Start, f.newest(k, lsns.End, true)), 0
		for _, d := range f {
			if !d.Image && !d.IsL0() && d.Keys.Contains(k) && d.LSNs.Start < lsns.End && d.LSNs.End > floor {
				n++
			}
		}
		top = max(top, n)
	}
	return top
}

// visible says of one layer, key by key, whether a read point needs it: an image, if some key of it has no
// newer image up to the read point above; a delta likewise, or if a read point lies in it.
func (f flatMap) visible(d Desc, keys []page.Key, points []page.LSN) bool {
	last := d.LSNs.End - 1
	above := page.MaxLSN // the nearest read point that sees the layer's end
	for _, p := range points {
		if p >= last && p < above {
			above = p
		}
		if !d.Image && d.LSNs.Start <= p && p < last {
			return true
		}
	}
	for _, k := range keys {
		if d.Keys.Contains(k) && !slices.ContainsFunc(f, func(o Desc) bool {
			if !o.Image || !o.Keys.Contains(k) || o.LSNs.Start > above {
				return false
			}
			if o.LSNs.Start != last || !d.Image {
				return o.LSNs.Start >= last
			}
			// Of images at one LSN the first, or the wider, hides the other.
			c := o.Keys.Start.Compare(d.Keys.Start)
			return c < 0 || c == 0 && d.Keys.End.Less(o.Keys.End)
		}) {
			return true
		}
	}
	return false
}

func checkMap(t *rapid.T, m *Map, f flatMap, keys []page.Key) {
	want := append([]Desc{}, f...)
	slices.SortFunc(want, compareDesc)
	require.Equal(t, want, m.Layers())
	require.Equal(t, len(f), m.Len())
	for _, d := range f {
		found, ok := m.Find(d)
		require.True(t, ok)
		require.Equal(t, d, found)
	}
	end := page.LSN(rapid.IntRange(0, flatLSNs+1).Draw(t, "end"))
	from, to := drawRange(t, len(keys)-1, "range")
	r := page.Range{Start: keys[from], End: keys[to]}
	low := page.LSN(rapid.IntRange(0, flatLSNs).Draw(t, "low"))
	lsns := page.LSNRange{Start: min(low, end), End: end}
	checkSearch(t, m, f, keys, end)
	checkRuns(t, m.Coverage(r, end), r, func(k page.Key, run Run) {
		require.Equal(t, f.newest(k, end, true), run.Image.LSNs().End)
		require.Equal(t, f.newest(k, end, false), run.Delta.LSNs().End)
	})
	all := true
	checkRuns(t, m.ImageCoverage(r, end), r, func(k page.Key, run Run) {
		top := f.newest(k, end, true)
		require.Equal(t, top, run.Image.LSNs().End)
		all = all && top > lsns.Start
	})
	require.Equal(t, all, m.CoveredByImages(r, lsns))
	require.Equal(t, f.count(keys, r, lsns), m.CountDeltas(r, lsns))
	var overlap []Desc
	for _, d := range want {
		if d.Keys.Overlaps(r) && d.LSNs.Start < lsns.End && d.LSNs.End > lsns.Start {
			overlap = append(overlap, d)
		}
	}
	require.Equal(t, overlap, slices.SortedFunc(m.Overlapping(r, lsns), compareDesc))
	checkVisibility(t, m, f, keys)
}

// checkRuns checks that runs lie one beside another, fill r, and say the truth of each key.
func checkRuns(t *rapid.T, runs []Run, r page.Range, check func(page.Key, Run)) {
	at := r.Start
	for _, run := range runs {
		require.Equal(t, at, run.Keys.Start)
		require.False(t, run.Keys.Empty())
		check(run.Keys.Start, run)
		for _, k := range flatKeysInOrder() {
			if run.Keys.Contains(k) {
				check(k, run)
			}
		}
		at = run.Keys.End
	}
	require.Equal(t, r.End, at)
}

func checkSearch(t *rapid.T, m *Map, f flatMap, keys []page.Key, end page.LSN) {
	for _, k := range keys {
		for _, k := range []page.Key{k, k.Next()} {
			image, delta := f.newest(k, end, true), f.newest(k, end, false)
			hit, ok := m.Search(k, end)
			require.Equal(t, max(image, delta) > 0, ok)
			if !ok {
				continue
			}
			require.Equal(t, max(image, min(delta, end)), hit.LSNs.End)
			require.Equal(t, image >= min(delta, end), hit.Desc().Image)
			require.True(t, f.has(hit.Desc()))
			if !hit.Desc().Image {
				require.Equal(t, max(image, hit.Desc().LSNs.Start), hit.LSNs.Start)
			}
		}
	}
}

func checkVisibility(t *rapid.T, m *Map, f flatMap, keys []page.Key) {
	points := make([]page.LSN, rapid.IntRange(1, 3).Draw(t, "points"))
	for i := range points {
		points[i] = page.LSN(rapid.IntRange(0, flatLSNs).Draw(t, "point"))
	}
	v := m.Visibility(points)
	covered := map[string]bool{}
	for _, r := range v.Covered {
		covered[r.Desc().Name()] = true
	}
	oldest := slices.Min(points)
	for _, d := range f {
		require.Equal(t, !f.visible(d, keys, points), covered[d.Name()], "%s at %v", d, points)
	}
	for _, k := range keys[:len(keys)-1] {
		require.Equal(t, f.newest(k, oldest+1, true) > 0, v.Shadow.Contains(k))
	}
}

// Batches of layers that overlap in any way come and go; every version, old ones too, answers as a scan of
// all its layers does.
func TestMapVersionsEqualAModel(t *testing.T) {
	keys := flatKeysInOrder()
	rapid.Check(t, func(t *rapid.T) {
		type version struct {
			m *Map
			f flatMap
		}
		m, err := NewMap(nil)
		require.NoError(t, err)
		versions := []version{{m, nil}}
		for range rapid.IntRange(1, 8).Draw(t, "steps") {
			v := versions[rapid.IntRange(max(0, len(versions)-2), len(versions)-1).Draw(t, "base")]
			f := slices.Clone(v.f)
			var add, remove []Desc
			for range rapid.IntRange(0, len(f)).Draw(t, "removed") / 2 {
				i := rapid.IntRange(0, len(f)-1).Draw(t, "remove")
				remove, f = append(remove, f[i]), slices.Delete(f, i, i+1)
			}
			for range rapid.SampledFrom([]int{0, 1, 1, 3, 20, 60}).Draw(t, "added") {
				if d := drawDesc(t, keys); !f.has(d) {
					d.Size, d.Generation, d.Checked = int64(len(f)), uint32(len(versions)), len(f)%2 == 0
					add, f = append(add, d), append(f, d)
				}
			}
			m, err := v.m.Apply(add, remove)
			require.NoError(t, err)
			versions = append(versions, version{m, f})
		}
		for _, v := range versions {
			checkMap(t, v.m, v.f, keys)
		}
		last := versions[len(versions)-1]
		whole, err := NewMap(last.f)
		require.NoError(t, err)
		checkMap(t, whole, last.f, keys)
	})
}

// A description comes out of the map as it went in, whatever fields it has.
func TestPackedDescsLoseNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := drawDesc(t, flatKeysInOrder())
		d.Size = rapid.Int64Range(0, maxPackedSize).Draw(t, "size")
		d.Generation = rapid.Uint32().Draw(t, "generation")
		d.Checked = rapid.Bool().Draw(t, "checked")
		e, err := packDesc(&d)
		require.NoError(t, err)
		require.Equal(t, d, e.desc())
	})
	require.Equal(t, 6, reflect.TypeFor[Desc]().NumField(), "a new field of Desc must be packed, and drawn above")
	for _, size := range []int64{-1, maxPackedSize + 1} {
		_, err := NewMap([]Desc{{Keys: page.FullRange, LSNs: page.LSNRange{Start: 1, End: 2}, Size: size}})
		require.ErrorIs(t, err, ErrOrder)
	}
}

func TestPackedKeysOrderAsKeys(t *testing.T) {
	key := rapid.Custom(func(t *rapid.T) page.Key {
		var b [page.KeySize]byte
		for i := range b {
			b[i] = rapid.SampledFrom([]byte{0, 0, 1, 0x7F, 0xFF}).Draw(t, "byte")
		}
		return page.KeyFromBytes(b[:])
	})
	rapid.Check(t, func(t *rapid.T) {
		a, b := key.Draw(t, "a"), key.Draw(t, "b")
		x, y := packKey(a), packKey(b)
		require.Equal(t, a, x.key())
		require.Equal(t, a.Compare(b), x.compare(y))
		if b != page.MinKey {
			require.Equal(t, b, packKey(y.prev().key()).key().Next())
		}
		n := x.firstDifference(y)
		for i := range n {
			require.Equal(t, x.bit(i), y.bit(i))
		}
		if n < keyBits {
			require.NotEqual(t, x.bit(n), y.bit(n))
			require.Equal(t, a.Less(b), x.window(n) < y.window(n))
		}
		require.Equal(t, n == keyBits, a == b)
	})
}

// shapes are maps that are hard on one structure or another.
func shapes(n int) map[string][]Desc {
	block := func(i int) page.Key { return page.RelTag{Spc: 1663, DB: 5, Rel: 16384}.Block(uint32(i)) }
	image := func(from, to, lsn int) Desc {
		return Desc{Keys: page.Range{Start: block(from), End: block(to)}, LSNs: page.LSNRange{Start: page.LSN(lsn), End: page.LSN(lsn + 1)}, Image: true}
	}
	delta := func(from, to, lo, hi int) Desc {
		return Desc{Keys: page.Range{Start: block(from), End: block(to)}, LSNs: page.LSNRange{Start: page.LSN(lo), End: page.LSN(hi)}}
	}
	rnd := rand.New(rand.NewPCG(7, 7))
	out := map[string][]Desc{}
	for i := range n {
		lsn := 8*i + 8
		add := func(name string, ds ...Desc) { out[name] = append(out[name], ds...) }
		add("same keys", delta(10, 1000, lsn, lsn+8))
		add("one key each", image(10*(i%100), 10*(i%100)+1, lsn))
		add("L0s", Desc{Keys: page.FullRange, LSNs: page.LSNRange{Start: page.LSN(lsn), End: page.LSN(lsn + 8)}})
		add("deep stacks", delta(i%16*1000, i%16*1000+1000, lsn, lsn+8))
		add("side by side", image(i*10, i*10+10, 8))
		if wide := i % 2 * (n - i); wide > 0 {
			add("wide over narrow", image(i, i+wide*20, lsn))
		} else {
			add("wide over narrow", image(i*20, i*20+20, lsn))
		}
		from := rnd.IntN(n * 4)
		add("random", delta(from, from+1+rnd.IntN(1<<rnd.IntN(20)), lsn, lsn+1+rnd.IntN(1<<rnd.IntN(10))))
	}
	return out
}

// In a large map of any shape a change allocates little, and both ways lead back to the same answers.
func TestChangesOfLargeMapsAreSmall(t *testing.T) {
	const limit = 64 << 10
	layers := testkit.Size(20_000, 100_000, 100_000)
	all := shapes(layers)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		ds := all[name]
		m, err := NewMap(ds)
		require.NoError(t, err)
		rnd := rand.New(rand.NewPCG(1, 2))
		var without *Map
		for range 20 {
			d := ds[rnd.IntN(len(ds))]
			require.Less(t, bytesOf(func() { without, err = m.Apply(nil, []Desc{d}) }), uint64(limit), name)
			require.NoError(t, err)
			_, ok := without.Find(d)
			require.False(t, ok)
			var again *Map
			require.Less(t, bytesOf(func() { again, err = without.Apply([]Desc{d}, nil) }), uint64(limit), name)
			require.NoError(t, err)
			require.Equal(t, m.Len(), again.Len())
			k, end := d.Keys.Start, d.LSNs.End
			want, _ := m.Search(k, end)
			got, _ := again.Search(k, end)
			require.Equal(t, want.LSNs, got.LSNs, fmt.Sprint(name, d))
		}
	}
}

// bytesOf gives what fn allocates.
func bytesOf(fn func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	fn()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}
