package layer

import (
	"fmt"
	"iter"
	"slices"

	"github.com/stratapg/strata/page"
)

// Map is one version of the set of layer files. It never changes, so any number of goroutines may read it
// while newer versions are made; these share with it all but the paths that changed. Applying one layer
// costs the logarithm of their number.
//
// Images and deltas lie in a tree each, L0s in a stack of their own. A layer takes 64 bytes for its
// description and up to 32 for what searches compare; with the trees it is 106 to 183 bytes, by the shape of
// the map, and 128 in the largest real one that the benchmarks have. There is one pointer for many layers.
//
// In maps of 100,000 layers, of any of the shapes of the tests, a change of one layer costs about 12 µs and
// 14 to 29 KiB, and making one of descriptions takes 20 to 65 ms. BenchmarkMap* measure it, and
// TestVersionsShareWhatIsEqual what a version has of its own.
type Map struct {
	images, deltas mapNode
	l0             L0Stack
}

// kinds are layers by the place in the map where they go, each in order.
type kinds struct{ images, deltas, l0 []packed }

func (k *kinds) of(e *packed) *[]packed {
	switch {
	case e.image():
		return &k.images
	case e.l0():
		return &k.l0
	}
	return &k.deltas
}

// packAll packs and orders layers. Two of one identity are an error.
func packAll(ds []Desc) (k kinds, err error) {
	for i := range ds {
		e, err := packDesc(&ds[i])
		if err != nil {
			return k, err
		}
		to := k.of(&e)
		*to = append(*to, e)
	}
	for _, es := range [...][]packed{k.images, k.deltas, k.l0} {
		slices.SortFunc(es, func(a, b packed) int { return comparePacked(&a, &b) })
		for i := 1; i < len(es); i++ {
			if comparePacked(&es[i-1], &es[i]) == 0 {
				return k, fmt.Errorf("layer map: layer %s is there twice", es[i].desc().Name())
			}
		}
	}
	return k, nil
}

// NewMap makes a version of the given layers. Two of one identity are an error.
func NewMap(ds []Desc) (*Map, error) {
	k, err := packAll(ds)
	if err != nil {
		return nil, err
	}
	return &Map{images: buildMapTree(k.images), deltas: buildMapTree(k.deltas), l0: L0Stack{stackOf(k.l0)}}, nil
}

// Apply gives the version without remove and with add. Removing what is not there, or adding what is, is an
// error; a layer may be replaced by one of its identity (another size or generation) in one step. What many
// layers of one call share of the paths to them is copied once.
func (m *Map) Apply(add, remove []Desc) (*Map, error) {
	gone, err := packAll(remove)
	if err != nil {
		return nil, err
	}
	for i := range remove {
		if _, ok := m.Find(remove[i]); !ok {
			return nil, fmt.Errorf("layer map: cannot remove layer %s, which is not there", remove[i].Name())
		}
	}
	left := &Map{m.images.without(gone.images), m.deltas.without(gone.deltas), L0Stack{m.l0.s.without(gone.l0)}}
	come, err := packAll(add)
	if err != nil {
		return nil, err
	}
	for i := range add {
		if _, ok := left.Find(add[i]); ok {
			return nil, fmt.Errorf("layer map: cannot add layer %s, which is there", add[i].Name())
		}
	}
	return &Map{left.images.with(come.images), left.deltas.with(come.deltas), L0Stack{left.l0.s.with(come.l0)}}, nil
}

// Len gives the number of layers.
func (m *Map) Len() int { return m.images.len() + m.deltas.len() + m.l0.Height() }

// All gives all layers in no particular order.
func (m *Map) All() iter.Seq[Desc] {
	return func(yield func(Desc) bool) {
		for e := range m.entries() {
			if !yield(e.desc()) {
				return
			}
		}
	}
}

func (m *Map) entries() iter.Seq[*packed] {
	return func(yield func(*packed) bool) {
		_ = m.images.each(yield) && m.deltas.each(yield) && m.l0.s.each(yield)
	}
}

// Layers gives all layers: images, then deltas, each by start key and start LSN.
func (m *Map) Layers() []Desc {
	out := make([]Desc, 0, m.Len())
	for e := range m.entries() {
		out = append(out, e.desc())
	}
	slices.SortFunc(out, compareDesc)
	return out
}

// compareDesc orders images before deltas, then by start key, start LSN, end key and end LSN.
func compareDesc(a, b Desc) int {
	switch {
	case a.Image && !b.Image:
		return -1
	case b.Image && !a.Image:
		return 1
	}
	if c := a.Keys.Start.Compare(b.Keys.Start); c != 0 {
		return c
	}
	if a.LSNs.Start != b.LSNs.Start {
		return compareLSN(a.LSNs.Start, b.LSNs.Start)
	}
	if c := a.Keys.End.Compare(b.Keys.End); c != 0 {
		return c
	}
	return compareLSN(a.LSNs.End, b.LSNs.End)
}

// L0 gives the deltas that span all keys.
func (m *Map) L0() L0Stack { return m.l0 }

// Find gives the layer that has d's identity.
func (m *Map) Find(d Desc) (Desc, bool) {
	e, err := packDesc(&d)
	if err != nil {
		return Desc{}, false
	}
	var found *packed
	switch {
	case e.image():
		found = m.images.find(&e)
	case e.l0():
		found = m.l0.s.find(&e)
	default:
		found = m.deltas.find(&e)
	}
	if found == nil {
		return Desc{}, false
	}
	return found.desc(), true
}

// Search gives the first layer that a read of k below the exclusive LSN end must ask, and the LSNs it is to
// be asked for; the search goes on below their start. It is the one that reaches highest, an image before a
// delta; false means that no layer has k. Where deltas overlap in key and LSN, use Visits.
func (m *Map) Search(k page.Key, end page.LSN) (Hit, bool) {
	if k == page.MaxKey {
		return Hit{}, false // it is in no range
	}
	key := packKey(k)
	delta := m.l0.newest(end)
	var above page.LSN
	if delta != nil {
		above = delta.hi
	}
	if e := m.deltas.newest(&key, end, above); e != nil {
		delta = e
	}
	if delta == nil {
		image := m.images.newest(&key, end, 0)
		if image == nil {
			return Hit{}, false
		}
		return Hit{Ref{image}, image.lsns()}, true
	}
	lsns := page.LSNRange{Start: delta.lo, End: min(delta.hi, end)}
	// An image that ends where the delta begins, or below, counts for nothing.
	image := m.images.newest(&key, end, delta.lo)
	switch {
	case image == nil:
	case min(image.hi, end) >= lsns.End:
		return Hit{Ref{image}, image.lsns()}, true
	default:
		lsns.Start = image.hi
	}
	return Hit{Ref{delta}, lsns}, true
}

// Hit is a layer that Search found.
type Hit struct {
	Ref
	// LSNs are those to ask the layer for.
	LSNs page.LSNRange
}

// Overlapping gives, in no particular order, the layers that share a key with keys and an LSN with lsns.
func (m *Map) Overlapping(keys page.Range, lsns page.LSNRange) iter.Seq[Desc] {
	return func(yield func(Desc) bool) {
		ranges := packRanges(page.NewSet(keys))
		give := func(e *packed) bool { return yield(e.desc()) }
		_ = m.images.overlapping(ranges, lsns.Start, lsns.End, give) &&
			m.deltas.overlapping(ranges, lsns.Start, lsns.End, give) &&
			m.l0.s.overlapping(ranges, lsns.Start, lsns.End, give)
	}
}
