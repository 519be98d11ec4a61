package trace

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/stratapg/strata/page"
)

// Builder makes a trace of entries that come in any order.
type Builder struct {
	numbers map[page.Key]uint32
	keys    []page.Key
	entries []found
}

// found is an entry; key is the place in Builder.keys.
type found struct {
	lsn       page.LSN
	key, size uint32
	init      bool
}

// NewBuilder makes a builder.
func NewBuilder() *Builder { return &Builder{numbers: make(map[page.Key]uint32)} }

// Key notes that a key is there, and gives its number.
func (b *Builder) Key(k page.Key) uint32 {
	n, ok := b.numbers[k]
	if !ok {
		n = uint32(len(b.keys))
		b.numbers[k] = n
		b.keys = append(b.keys, k)
	}
	return n
}

// Add takes a record. The same key and LSN may come more than once.
func (b *Builder) Add(k page.Key, lsn page.LSN, size int, init bool) error {
	if len(b.entries) == MaxRecords {
		return fmt.Errorf("more than %d records", MaxRecords)
	}
	b.entries = append(b.entries, found{lsn, b.Key(k), uint32(max(size, 1)), init})
	return nil
}

// Trace gives what has been gathered.
func (b *Builder) Trace(source string, preload bool) *Trace {
	slices.SortFunc(b.entries, func(x, y found) int {
		return cmp.Or(cmp.Compare(x.lsn, y.lsn), b.keys[x.key].Compare(b.keys[y.key]))
	})
	b.entries = slices.CompactFunc(b.entries, func(x, y found) bool { return x.lsn == y.lsn && x.key == y.key })
	t := &Trace{Header: Header{Source: source, Preload: preload}}
	places := b.regions(t)
	for _, e := range b.entries {
		p := places[e.key]
		t.Records = append(t.Records, Record{p.region, p.place, e.size, e.init})
		t.Bytes += int64(e.size)
	}
	if n := len(b.entries); n > 0 {
		t.From, t.To = b.entries[0].lsn, b.entries[n-1].lsn
	}
	return t
}

type place struct{ region, place uint32 }

// maxGap is how many keys in a row of a region may be unused; a longer gap begins another region.
const maxGap = 1024

// regions divides the keys into stretches and gives the place of each.
func (b *Builder) regions(t *Trace) []place {
	order := make([]uint32, len(b.keys))
	for i := range order {
		order[i] = uint32(i)
	}
	slices.SortFunc(order, func(x, y uint32) int { return b.keys[x].Compare(b.keys[y]) })
	places := make([]place, len(b.keys))
	var first page.Key
	for i, n := range order {
		k := b.keys[n]
		if i == 0 || !b.joins(b.keys[order[i-1]], k) {
			first = k
			t.Regions = append(t.Regions, Region{First: k.String(), Sparse: k.Sparse()})
		}
		r := &t.Regions[len(t.Regions)-1]
		at := r.Keys
		if !r.Sparse {
			at = k.F6 - first.F6
		}
		r.Keys = at + 1
		places[n] = place{uint32(len(t.Regions) - 1), at}
	}
	return places
}

// joins reports whether a key is of the region of the one before it.
func (b *Builder) joins(before, k page.Key) bool {
	if before.Sparse() || k.Sparse() {
		return before.Sparse() == k.Sparse()
	}
	near := k.F6-before.F6 <= maxGap
	before.F6 = k.F6
	return near && before == k
}
