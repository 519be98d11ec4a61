package layer

import (
	"fmt"
	"slices"

	"github.com/stratapg/strata/page"
)

// Map is one version of the set of layer files. It never changes, so any number of goroutines may read it
// while newer versions are made; these share with it all but the paths that changed. Applying one layer
// costs the logarithm of their number.
type Map struct {
	images, deltas *mapNode
	l0             []Desc // oldest first
}

// NewMap makes a version of the given layers. Two of one identity are an error.
func NewMap(ds []Desc) (*Map, error) {
	m := &Map{}
	var images, deltas []*Desc
	for i := range ds {
		d := &ds[i]
		if err := checkRanges(d.Keys, d.LSNs); err != nil {
			return nil, fmt.Errorf("layer %s: %w", d.Name(), err)
		}
		if d.Image {
			images = append(images, d)
		} else {
			deltas = append(deltas, d)
		}
		if d.IsL0() {
			m.l0 = append(m.l0, *d)
		}
	}
	var err error
	if m.images, err = sortAndBuild(images); err != nil {
		return nil, err
	}
	if m.deltas, err = sortAndBuild(deltas); err != nil {
		return nil, err
	}
	slices.SortFunc(m.l0, func(a, b Desc) int { return compareDesc(&a, &b) })
	return m, nil
}

func sortAndBuild(ds []*Desc) (*mapNode, error) {
	slices.SortFunc(ds, compareDesc)
	prios := make([]uint64, len(ds))
	for i, d := range ds {
		if i > 0 && compareDesc(ds[i-1], d) == 0 {
			return nil, fmt.Errorf("layer map: layer %s is there twice", d.Name())
		}
		prios[i] = priority(d)
	}
	return buildMapTree(ds, prios), nil
}

// Apply gives the version without remove and with add. Removing what is not there, or adding what is, is an
// error; a layer may be replaced by one of its identity (another size or generation) in one step.
func (m *Map) Apply(add, remove []Desc) (*Map, error) {
	out := &Map{images: m.images, deltas: m.deltas, l0: slices.Clone(m.l0)}
	for i := range remove {
		d := &remove[i]
		tree := out.tree(d)
		if (*tree).find(d) == nil {
			return nil, fmt.Errorf("layer map: cannot remove layer %s, which is not there", d.Name())
		}
		*tree = (*tree).remove(d)
		if d.IsL0() {
			out.l0 = slices.DeleteFunc(out.l0, func(o Desc) bool { return o.same(d) })
		}
	}
	for i := range add {
		d := &add[i]
		if err := checkRanges(d.Keys, d.LSNs); err != nil {
			return nil, fmt.Errorf("layer %s: %w", d.Name(), err)
		}
		tree := out.tree(d)
		if (*tree).find(d) != nil {
			return nil, fmt.Errorf("layer map: cannot add layer %s, which is there", d.Name())
		}
		*tree = (*tree).insert(d, priority(d))
		if d.IsL0() {
			out.l0 = append(out.l0, *d)
		}
	}
	slices.SortFunc(out.l0, func(a, b Desc) int { return compareDesc(&a, &b) })
	return out, nil
}

func (m *Map) tree(d *Desc) **mapNode {
	if d.Image {
		return &m.images
	}
	return &m.deltas
}

// Len gives the number of layers.
func (m *Map) Len() int { return m.images.len() + m.deltas.len() }

// Layers gives all layers: images, then deltas, each by start key and start LSN.
func (m *Map) Layers() []Desc {
	return m.deltas.all(m.images.all(make([]Desc, 0, m.Len())))
}

// L0 gives the deltas that span all keys, oldest first. The caller must not change them.
func (m *Map) L0() []Desc { return m.l0 }

// Find gives the layer that has d's identity.
func (m *Map) Find(d Desc) (Desc, bool) {
	if f := (*m.tree(&d)).find(&d); f != nil {
		return *f, true
	}
	return Desc{}, false
}

// Search gives the first layer that a read of k below the exclusive LSN end must ask, and the LSNs it is to
// be asked for; the search goes on below their start. Where deltas overlap in key and LSN, use Visits. The
// Desc is the map's own and must not be changed; nil means that no layer has k.
func (m *Map) Search(k page.Key, end page.LSN) (*Desc, page.LSNRange) {
	image := m.images.newestAt(k, end, nil)
	delta := m.deltas.newestAt(k, end, nil)
	switch {
	case image == nil && delta == nil:
		return nil, page.LSNRange{}
	case delta == nil || image != nil && min(image.LSNs.End, end) >= min(delta.LSNs.End, end):
		return image, image.LSNs
	}
	lsns := page.LSNRange{Start: delta.LSNs.Start, End: min(delta.LSNs.End, end)}
	if image != nil {
		lsns.Start = max(lsns.Start, image.LSNs.End)
	}
	return delta, lsns
}
