package layer

import (
	"cmp"
	"math/bits"
	"slices"
	"unsafe"

	"github.com/stratapg/strata/internal/offheap"
	"github.com/stratapg/strata/page"
)

const (
	// sortBin is how many records a bin is to have: so many that there are few bins, and so few that a bin
	// and what its records say fit into the first caches.
	sortBin = 512
	// sortAtOnce is the largest bin that is sorted in one piece; a larger one is divided again.
	sortAtOnce = 8 << 10
	// sortSmall is the largest bin for which comparing costs less than counting.
	sortSmall = 32
)

// memSort puts the records of a layer that does not change into the order of (key, LSN). A record's number
// is enough for it: 4 bytes a record, and as much again for a bin in which keys crowd.
//
//	records, as they came ──count, distribute──▶ bins of neighbouring keys ──one after the other──▶ sorted
//
// If the records lie in order as they came, nothing is done.
type memSort struct {
	x       *memIndex
	n       uint32
	parts   []sortPart // by prefix number
	order   []uint32   // prefix numbers in key order
	ids     []uint32
	area    []byte // that ids lie in
	pairs   [2][]sortPair
	scratch []uint32
}

// sortPart is the records of one prefix.
type sortPart struct {
	rank     uint32
	n        uint32
	min, max uint32 // of the last field
	bin      uint32 // the first of its bins
	shift    uint8  // of the last field's distance from min: the bin
}

type sortPair struct{ key, id uint32 }

// newMemSort looks at all records and says whether they are in order already.
func newMemSort(x *memIndex) (*memSort, bool) {
	s := &memSort{x: x, n: x.records.n, parts: make([]sortPart, len(x.prefixes.keys)), order: make([]uint32, len(x.prefixes.keys))}
	for i := range s.order {
		s.order[i] = uint32(i)
	}
	slices.SortFunc(s.order, func(a, b uint32) int { return x.prefixes.keys[a].Compare(x.prefixes.keys[b]) })
	for rank, i := range s.order {
		s.parts[i] = sortPart{rank: uint32(rank), min: ^uint32(0)}
	}
	ordered := true
	var lastKey, lastLSN uint64
	for id := uint32(1); id <= s.n; id++ {
		r := x.records.at(id)
		p := &s.parts[r.prefix]
		p.n++
		p.min, p.max = min(p.min, r.last), max(p.max, r.last)
		if ordered {
			key, lsn := uint64(p.rank)<<32|uint64(r.last), uint64(r.at())
			ordered = id == 1 || key > lastKey || key == lastKey && lsn > lastLSN
			lastKey, lastLSN = key, lsn
		}
	}
	return s, ordered
}

func (s *memSort) free() { offheap.Free(s.area) }

// distribute fills ids, bin after bin, and gives where each bin ends. Within a bin records are as they came.
func (s *memSort) distribute() (ends []uint32, err error) {
	bins := uint32(0)
	for _, i := range s.order {
		p := &s.parts[i]
		p.bin = bins
		p.shift = shiftFor(p.max-p.min, p.n/sortBin+1)
		bins += (p.max-p.min)>>p.shift + 1
	}
	if s.area, err = offheap.Alloc(int(s.n) * 4); err != nil {
		return nil, err
	}
	s.ids = unsafe.Slice((*uint32)(unsafe.Pointer(unsafe.SliceData(s.area))), s.n)
	ends = make([]uint32, bins+1)
	for id := uint32(1); id <= s.n; id++ {
		r := s.x.records.at(id)
		ends[s.parts[r.prefix].binOf(r.last)+1]++
	}
	for i := uint32(1); i <= bins; i++ {
		ends[i] += ends[i-1]
	}
	for id := uint32(1); id <= s.n; id++ {
		r := s.x.records.at(id)
		at := &ends[s.parts[r.prefix].binOf(r.last)]
		s.ids[*at] = id
		*at++
	}
	return ends[:bins], nil
}

func (p *sortPart) binOf(last uint32) uint32 { return p.bin + (last-p.min)>>p.shift }

// shiftFor gives how far a distance of at most width is to be shifted so that it is below n.
func shiftFor(width, n uint32) uint8 {
	shift := max(bits.Len32(width)-bits.Len32(n-1), 0)
	for width>>shift >= n {
		shift++
	}
	return uint8(shift)
}

// sorted calls fn with the numbers of all records in order, some at a time. Of those of one (key, LSN) only
// the latest is among them.
func (s *memSort) sorted(fn func(ids []uint32) error) error {
	ends, err := s.distribute()
	if err != nil {
		return err
	}
	bin, start := 0, uint32(0)
	for _, i := range s.order {
		p := &s.parts[i]
		if p.n == 0 {
			continue
		}
		for range (p.max-p.min)>>p.shift + 1 {
			end := ends[bin]
			if err := s.bin(s.ids[start:end], p.shift, fn); err != nil {
				return err
			}
			bin, start = bin+1, end
		}
	}
	return nil
}

// bin sorts records of one prefix whose last fields differ in shift bits only.
func (s *memSort) bin(ids []uint32, shift uint8, fn func(ids []uint32) error) error {
	switch {
	case len(ids) == 0:
		return nil
	case len(ids) == 1 || shift == 0:
	case len(ids) <= sortSmall:
		slices.SortFunc(ids, func(a, b uint32) int {
			return cmp.Or(cmp.Compare(s.x.records.at(a).last, s.x.records.at(b).last), cmp.Compare(a, b))
		})
	case len(ids) <= sortAtOnce:
		if s.radix(ids) {
			return fn(ids)
		}
	default:
		return s.divide(ids, fn)
	}
	return fn(s.inOrder(ids))
}

// radix sorts by the last field, by bytes, lowest first, each step keeping the order of the one before. It reports
// whether no key comes twice: then records need not be looked at again.
func (s *memSort) radix(ids []uint32) (distinct bool) {
	if s.pairs[0] == nil {
		s.pairs = [2][]sortPair{make([]sortPair, sortAtOnce), make([]sortPair, sortAtOnce)}
	}
	from, to := s.pairs[0][:len(ids)], s.pairs[1][:len(ids)]
	all, any := ^uint32(0), uint32(0)
	for i, id := range ids {
		k := s.x.records.at(id).last
		from[i] = sortPair{k, id}
		all, any = all&k, any|k
	}
	for shift := uint(0); shift < 32; shift += 8 {
		if byte(any>>shift) == byte(all>>shift) {
			continue // the same in all
		}
		var at [256]uint32
		for i := range from {
			at[byte(from[i].key>>shift)]++
		}
		sum := uint32(0)
		for i, n := range at {
			at[i] = sum
			sum += n
		}
		for i := range from {
			p := &at[byte(from[i].key>>shift)]
			to[*p] = from[i]
			*p++
		}
		from, to = to, from
	}
	distinct = true
	for i := range ids {
		ids[i] = from[i].id
		distinct = distinct && (i == 0 || from[i].key != from[i-1].key)
	}
	return distinct
}

// subBins is how many bins a large one is divided into.
const subBins = 256

// divide distributes a bin in which keys crowd, and sorts what comes of it.
func (s *memSort) divide(ids []uint32, fn func(ids []uint32) error) error {
	lo, hi := ^uint32(0), uint32(0)
	for _, id := range ids {
		k := s.x.records.at(id).last
		lo, hi = min(lo, k), max(hi, k)
	}
	if lo == hi {
		return fn(s.inOrder(ids))
	}
	shift := shiftFor(hi-lo, subBins)
	var ends [subBins + 1]uint32
	for _, id := range ids {
		ends[(s.x.records.at(id).last-lo)>>shift+1]++
	}
	for i := 1; i <= subBins; i++ {
		ends[i] += ends[i-1]
	}
	s.scratch = append(s.scratch[:0], ids...)
	for _, id := range s.scratch {
		at := &ends[(s.x.records.at(id).last-lo)>>shift]
		ids[*at] = id
		*at++
	}
	start := uint32(0)
	for _, end := range ends[:subBins] {
		if err := s.bin(ids[start:end], shift, fn); err != nil {
			return err
		}
		start = end
	}
	return nil
}

// inOrder puts records that are sorted by key, and within a key are as they came, into the order of LSNs,
// which they mostly have, and leaves out those that were replaced.
func (s *memSort) inOrder(ids []uint32) []uint32 {
	lsnOf := func(id uint32) page.LSN { return s.x.records.at(id).at() }
	kept := ids[:0]
	for len(ids) > 0 {
		n, ordered := 1, true
		key, lsn := s.x.records.at(ids[0]).last, lsnOf(ids[0])
		for ; n < len(ids); n++ {
			r := s.x.records.at(ids[n])
			if r.last != key {
				break
			}
			l := r.at()
			ordered = ordered && lsn < l
			lsn = l
		}
		same := ids[:n]
		ids = ids[n:]
		if ordered {
			kept = append(kept, same...)
			continue
		}
		slices.SortStableFunc(same, func(a, b uint32) int { return cmp.Compare(lsnOf(a), lsnOf(b)) })
		for i, id := range same {
			if i+1 == len(same) || lsnOf(same[i+1]) != lsnOf(id) {
				kept = append(kept, id)
			}
		}
	}
	return kept
}
