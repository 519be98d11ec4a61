package layer

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

const (
	modelKeys = 12
	modelLSNs = 40
)

var testID = Identity{Tenant: page.TenantID{1, 2}, Timeline: page.TimelineID{3}}

type modelValue struct {
	lsn  page.LSN
	init bool
}

// model is the truth: the versions of each key, ascending.
type model [modelKeys][]modelValue

func modelKey(i int) page.Key {
	return page.RelTag{Spc: 1663, DB: 5, Rel: 16384}.Block(uint32(i))
}

func drawRange(t *rapid.T, n int, name string) (from, to int) {
	from = rapid.IntRange(0, n-1).Draw(t, name)
	return from, rapid.IntRange(from+1, n).Draw(t, name+" end")
}

func modelBytes(k int, lsn page.LSN, what string) []byte {
	return fmt.Appendf(nil, "%s of key %d at %s", what, k, lsn)
}

func drawModel(t *rapid.T) (m model) {
	for k := range m {
		for l := 1; l < modelLSNs; l++ {
			switch rapid.IntRange(0, 9).Draw(t, "value") {
			case 0:
				m[k] = append(m[k], modelValue{page.LSN(l), true})
			case 1, 2:
				// A record without something before it would make no page.
				m[k] = append(m[k], modelValue{page.LSN(l), len(m[k]) == 0})
			}
		}
	}
	return m
}

func (m *model) existsAt(k int, lsn page.LSN) bool { return len(m[k]) > 0 && m[k][0].lsn <= lsn }

// writeDelta writes all versions in a rectangle, if there are any.
func (m *model) writeDelta(t require.TestingT, fs virtualfile.FS, keys page.Range, from, to int, lsns page.LSNRange) (Desc, bool) {
	w, err := NewDeltaWriter(diskFor(t, fs), "l", testID, keys.Start, lsns, 1, WriterOptions{})
	require.NoError(t, err)
	n := 0
	for k := from; k < to; k++ {
		for _, v := range m[k] {
			if lsns.Contains(v.lsn) {
				require.NoError(t, w.Add(modelKey(k), v.lsn, v.init, modelBytes(k, v.lsn, "value")))
				n++
			}
		}
	}
	if n == 0 {
		w.Abort()
		return Desc{}, false
	}
	d, err := w.Finish(context.Background(), keys.End)
	require.NoError(t, err)
	return d, true
}

func (m *model) writeImage(t require.TestingT, fs virtualfile.FS, from, to int, lsn page.LSN) (Desc, bool) {
	w, err := NewImageWriter(diskFor(t, fs), "l", testID, page.Range{Start: modelKey(from), End: modelKey(to)}, lsn, 1, WriterOptions{})
	require.NoError(t, err)
	n := 0
	for k := from; k < to; k++ {
		if m.existsAt(k, lsn) {
			require.NoError(t, w.Add(modelKey(k), modelBytes(k, lsn, "image")))
			n++
		}
	}
	if n == 0 {
		w.Abort()
		return Desc{}, false
	}
	d, err := w.Finish(context.Background(), modelKey(to))
	require.NoError(t, err)
	return d, true
}

// drawLayers writes layers that hold every version at least once, overlapping at random.
func drawLayers(t *rapid.T, m *model, fs virtualfile.FS) []Desc {
	var ds []Desc
	add := func(d Desc, ok bool) {
		if ok && !slices.ContainsFunc(ds, func(o Desc) bool { return o.same(&d) }) {
			ds = append(ds, d)
		}
	}
	exists := func(d Desc) bool { return slices.ContainsFunc(ds, func(o Desc) bool { return o.same(&d) }) }
	// L0s, one after another, hold everything.
	for l := 1; l < modelLSNs; {
		to := rapid.IntRange(l+1, modelLSNs).Draw(t, "l0 end")
		add(m.writeDelta(t, fs, page.FullRange, 0, modelKeys, page.LSNRange{Start: page.LSN(l), End: page.LSN(to)}))
		l = to
	}
	for range rapid.IntRange(0, 6).Draw(t, "deltas") {
		from, to := drawRange(t, modelKeys, "keys")
		lo, hi := drawRange(t, modelLSNs, "lsns")
		d := Desc{Keys: page.Range{Start: modelKey(from), End: modelKey(to)}, LSNs: page.LSNRange{Start: page.LSN(lo), End: page.LSN(hi)}}
		if !exists(d) {
			add(m.writeDelta(t, fs, d.Keys, from, to, d.LSNs))
		}
	}
	for range rapid.IntRange(0, 6).Draw(t, "images") {
		from, to := drawRange(t, modelKeys, "keys")
		lsn := page.LSN(rapid.IntRange(1, modelLSNs-1).Draw(t, "lsn"))
		d := Desc{Keys: page.Range{Start: modelKey(from), End: modelKey(to)}, LSNs: page.LSNRange{Start: lsn, End: lsn + 1}, Image: true}
		if !exists(d) {
			add(m.writeImage(t, fs, from, to, lsn))
		}
	}
	return ds
}

// expect gives the chain of a key by looking at all layers.
func (m *model) expect(ds []Desc, k int, lsn page.LSN) (out []string) {
	base := page.LSN(0)
	for _, d := range ds {
		if d.Image && d.LSNs.Start <= lsn && d.Keys.Contains(modelKey(k)) {
			base = max(base, d.LSNs.Start)
		}
	}
	for _, v := range slices.Backward(m[k]) {
		if v.lsn > lsn || v.lsn <= base {
			continue
		}
		out = append(out, fmt.Sprintf("%s false %s", v.lsn, modelBytes(k, v.lsn, "value")))
		if v.init {
			return out
		}
	}
	if base > 0 && m.existsAt(k, base) {
		out = append(out, fmt.Sprintf("%s true %s", base, modelBytes(k, base, "image")))
	}
	return out
}

func readAll(t require.TestingT, fs virtualfile.FS, lm *Map, mem *Mem, keys page.Set, lsn page.LSN) map[page.Key][]string {
	ctx := context.Background()
	disk := diskOn(fs)
	defer disk.Close()
	c := NewCollector(keys, lsn)
	defer c.Release()
	end := lsn + 1
	if mem != nil {
		require.NoError(t, mem.Collect(ctx, c, keys, page.LSNRange{Start: mem.LSNs().Start, End: end}))
		end = min(end, mem.LSNs().Start)
	}
	visits := lm.Visits(c, end)
	if one, _ := keys.Single(); one {
		visits = lm.VisitsOfKey(c, end)
	}
	for v := range visits {
		r, err := OpenReader(ctx, disk, testBlocks, "l", testID, v.Desc)
		require.NoError(t, err)
		defer r.Close()
		require.NoError(t, r.Collect(ctx, c, v.Keys, v.LSNs))
	}
	require.NoError(t, c.Fetch(ctx))
	got := map[page.Key][]string{}
	last := page.Key{}
	for k, found := range c.Results() {
		require.True(t, last.Less(k), "results ascend")
		last = k
		for _, f := range found {
			require.NoError(t, f.Err)
			got[k] = append(got[k], fmt.Sprintf("%s %v %s", f.LSN, f.Raw, f.Value))
		}
	}
	return got
}

func drawSet(t *rapid.T) page.Set {
	var rs []page.Range
	for range rapid.IntRange(1, 3).Draw(t, "ranges") {
		from, to := drawRange(t, modelKeys, "read")
		rs = append(rs, page.Range{Start: modelKey(from), End: modelKey(to)})
	}
	return page.NewSet(rs...)
}

// Random versions lie in random layers, which overlap as no healthy timeline's do; what a read finds must be
// the chain that the whole truth gives. Part of the versions may lie in memory.
func TestReadsEqualTheModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := drawModel(t)
		fs := virtualfile.NewMem()
		require.NoError(t, fs.MkdirAll("l"))
		onDisk := m
		var mem *Mem
		if rapid.Bool().Draw(t, "mem") {
			mem = NewMem(page.LSN(rapid.IntRange(1, modelLSNs).Draw(t, "mem start")), nil)
			for k := range m {
				onDisk[k] = nil
				for _, v := range m[k] {
					if v.lsn < mem.start {
						onDisk[k] = append(onDisk[k], v)
					} else {
						memPutRaw(t, mem, modelKey(k), v.lsn, v.init, modelBytes(k, v.lsn, "value"))
					}
				}
			}
		}
		ds := drawLayers(t, &onDisk, fs)
		if mem != nil {
			ds = slices.DeleteFunc(ds, func(d Desc) bool { return d.LSNs.Start >= mem.start })
		}
		lm, err := NewMap(nil)
		require.NoError(t, err)
		for _, i := range rapid.Permutation(ds).Draw(t, "order") {
			lm, err = lm.Apply([]Desc{i}, nil)
			require.NoError(t, err)
		}
		whole, err := NewMap(ds)
		require.NoError(t, err)
		require.Equal(t, whole.Layers(), lm.Layers())
		require.Equal(t, slices.Collect(whole.L0().All()), slices.Collect(lm.L0().All()))
		for range 4 {
			keys := drawSet(t)
			if rapid.Bool().Draw(t, "one key") {
				keys = page.SetOfKeys(modelKey(rapid.IntRange(0, modelKeys-1).Draw(t, "key")))
			}
			lsn := page.LSN(rapid.IntRange(1, modelLSNs+2).Draw(t, "read lsn"))
			got := readAll(t, fs, lm, mem, keys, lsn)
			for k := range modelKeys {
				var want []string
				if keys.Contains(modelKey(k)) {
					want = m.expect(ds, k, lsn)
				}
				require.Equal(t, want, got[modelKey(k)], "key %d at %d", k, lsn)
			}
		}
	})
}

func TestMapRefusesWhatCannotBe(t *testing.T) {
	a := Desc{Keys: page.FullRange, LSNs: page.LSNRange{Start: 1, End: 9}}
	m, err := NewMap([]Desc{a})
	require.NoError(t, err)
	_, err = NewMap([]Desc{a, a})
	require.ErrorContains(t, err, "twice")
	_, err = m.Apply([]Desc{a}, nil)
	require.ErrorContains(t, err, "which is there")
	b := a
	b.LSNs.End = 10
	_, err = m.Apply(nil, []Desc{b})
	require.ErrorContains(t, err, "not there")
	b.LSNs.End = 1
	_, err = m.Apply([]Desc{b}, nil)
	require.ErrorIs(t, err, ErrOrder)
	c := a
	c.Generation, c.Size = 7, 8192
	n, err := m.Apply([]Desc{c}, []Desc{a})
	require.NoError(t, err)
	require.Equal(t, []Desc{c}, n.Layers())
	require.Equal(t, []Desc{c}, slices.Collect(n.L0().All()))
	require.Equal(t, []Desc{a}, m.Layers(), "the old version stays")
}

// Search names the layer with the highest end that covers the key, images first at equal ends.
func TestSearchEqualsAScanOfAllLayers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var ds []Desc
		for range rapid.IntRange(1, 60).Draw(t, "layers") {
			from, to := drawRange(t, modelKeys, "keys")
			lo, hi := drawRange(t, modelLSNs, "lsns")
			d := Desc{Keys: page.Range{Start: modelKey(from), End: modelKey(to)}, Image: rapid.Bool().Draw(t, "image"),
				LSNs: page.LSNRange{Start: page.LSN(lo), End: page.LSN(hi)}}
			if d.Image {
				d.LSNs.End = d.LSNs.Start + 1
			}
			if !slices.ContainsFunc(ds, func(o Desc) bool { return o.same(&d) }) {
				ds = append(ds, d)
			}
		}
		m, err := NewMap(ds)
		require.NoError(t, err)
		for k := range modelKeys {
			end := page.LSN(rapid.IntRange(1, modelLSNs+1).Draw(t, "end"))
			var image, best page.LSN
			for _, d := range ds {
				if d.LSNs.Start < end && d.Keys.Contains(modelKey(k)) {
					best = max(best, min(d.LSNs.End, end))
					if d.Image {
						image = max(image, d.LSNs.End)
					}
				}
			}
			hit, ok := m.Search(modelKey(k), end)
			if best == 0 {
				require.False(t, ok)
				continue
			}
			require.Equal(t, best, hit.LSNs.End)
			require.Equal(t, image == best, hit.Desc().Image)
			require.GreaterOrEqual(t, hit.LSNs.Start+1, image)
		}
		for i := range ds {
			if m, err = m.Apply(nil, ds[i:i+1]); i%2 == 0 {
				require.NoError(t, err)
				m, err = m.Apply(ds[i:i+1], nil)
			}
			require.NoError(t, err)
		}
		require.Equal(t, len(ds)-len(ds)/2, m.Len())
	})
}
