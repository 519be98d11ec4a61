// Package stack finds how high deltas are stacked: a sweep over all keys that costs O(n log n) of the layers,
// whatever their shape. Strategies share it.
package stack

import "github.com/stratapg/strata/page"

// Item is a layer, or a stretch of the keys of one.
type Item struct {
	Keys page.Range
	// End is the end of the layer's LSNs. An image at x ends at x+1, above the deltas that end there.
	End   page.LSN
	Image bool
	// Records are those of a delta that a read of one of the keys may have to replay.
	Records int
}

// Stretch is a range of keys over which the same items lie.
type Stretch struct {
	Keys page.Range
	// Height is the number of deltas above the newest image, or of all where there is no image.
	Height int
	// Records is the sum of theirs.
	Records int
	// Image is the index of the newest image, -1 if there is none.
	Image int
}

// Sweep visits, in the order of keys, the stretches over which items lie. Neighbours may be alike.
func Sweep(items []Item, visit func(Stretch)) {
	b := NewBorders(len(items), func(i int) page.Range { return items[i].Keys })
	starting, start := b.by(b.From)
	ending, end := b.by(b.To)
	t := newTree(items)
	active := 0
	for n, at := range b.Keys {
		if active > 0 {
			top := t.nodes[1]
			visit(Stretch{page.Range{Start: b.Keys[n-1], End: at}, int(top.height), int(top.records), t.imageOf(top)})
		}
		for _, i := range ending[end[n]:end[n+1]] {
			if b.From[i] < b.To[i] {
				t.remove(i)
				active--
			}
		}
		for _, i := range starting[start[n]:start[n+1]] {
			if b.From[i] < b.To[i] { // it is not empty
				t.insert(i, &items[i])
				active++
			}
		}
	}
}

// tree is a binary tree over all items in the order of a read, the newest last, of which those that lie over the
// present key count. Its root says how high they are stacked.
type tree struct {
	nodes []node // the root is 1, the children of i are 2i and 2i+1
	rank  []int32
	item  []int32
}

// node sums up the items below it.
type node struct {
	height  int32 // deltas above the image
	image   int32 // rank of the newest image, -1 if there is none
	records int64 // of these deltas
}

var nothing = node{image: -1}

func newTree(items []Item) *tree {
	t := &tree{rank: make([]int32, len(items)), item: make([]int32, len(items))}
	all := make([]ordinal, len(items))
	for i := range items {
		all[i] = ordinal{uint64(items[i].End), 0, uint64(i)}
		if items[i].Image {
			all[i][1] = 1
		}
	}
	for r, o := range sorted(all) {
		i := o.number()
		t.item[r], t.rank[i] = int32(i), int32(r)
	}
	leaves := 1
	for leaves < len(items) {
		leaves *= 2
	}
	t.nodes = make([]node, 2*leaves)
	for i := range t.nodes {
		t.nodes[i] = nothing
	}
	return t
}

func (t *tree) insert(item int32, x *Item) {
	if x.Image {
		t.set(item, node{image: t.rank[item]})
	} else {
		t.set(item, node{height: 1, image: -1, records: int64(x.Records)})
	}
}

func (t *tree) remove(item int32) { t.set(item, nothing) }

func (t *tree) set(item int32, n node) {
	i := len(t.nodes)/2 + int(t.rank[item])
	t.nodes[i] = n
	for i /= 2; i > 0; i /= 2 {
		older, newer := t.nodes[2*i], t.nodes[2*i+1]
		if newer.image < 0 {
			newer.height += older.height
			newer.records += older.records
			newer.image = older.image
		}
		if t.nodes[i] == newer {
			return // as it was, for a newer image
		}
		t.nodes[i] = newer
	}
}

func (t *tree) imageOf(n node) int {
	if n.image < 0 {
		return -1
	}
	return int(t.item[n.image])
}
