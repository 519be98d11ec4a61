package mock

import (
	"fmt"
	"slices"

	"github.com/stratapg/strata/page"
)

// pageBytes is the size of a page, and of an image of a dense key.
const pageBytes = 8192

// Region is a stretch of keys that follow each other: a relation, or a kind of metadata.
type Region struct {
	First page.Key
	// Room is how many keys the region may come to have, Blocks how many it has at the start.
	Room, Blocks uint32
	// Sparse says that the region's keys are metadata: they exist once they have been written.
	Sparse bool
	// ImageBytes is the size of an image, a page's if 0.
	ImageBytes uint32
}

// Space maps the numbers of keys to keys and says which keys exist at an LSN.
type Space struct {
	regions []region
	end     uint32

	changed page.LSN // of the last change of a length
	live    struct { // what Live gave last
		at  page.LSN
		set page.Set
	}
}

type region struct {
	Region
	start   uint32   // number of the first key
	history []length // ascending LSNs
}

// length is how many blocks a region has from an LSN on.
type length struct {
	from   page.LSN
	blocks uint32
}

// maxKeys is how many keys a Space may have, as an entry has 31 bits for a key.
const maxKeys = 1<<31 - 1

// NewSpace numbers the keys of regions, which must ascend.
func NewSpace(regions []Region) (*Space, error) {
	s := &Space{}
	at := uint64(0)
	for i, r := range regions {
		if r.Room == 0 || r.Blocks > r.Room {
			return nil, fmt.Errorf("region %d: %d blocks and room for %d; there must be room for one block and for all there are", i, r.Blocks, r.Room)
		}
		if r.ImageBytes == 0 {
			r.ImageBytes = pageBytes
		}
		if n := len(s.regions); n > 0 && r.First.Less(s.regions[n-1].limit()) {
			return nil, fmt.Errorf("region %d begins at %v, before the one before it ends", i, r.First)
		}
		if r.First.Sparse() != r.Sparse {
			return nil, fmt.Errorf("region %d: key %v and sparse=%v do not go together", i, r.First, r.Sparse)
		}
		s.regions = append(s.regions, region{Region: r, start: uint32(at), history: []length{{0, r.Blocks}}})
		if at += uint64(r.Room); at > maxKeys {
			return nil, fmt.Errorf("%d keys up to region %d: more than %d", at, i, maxKeys)
		}
	}
	s.end = uint32(at)
	return s, nil
}

// Keys is how many numbers there are.
func (s *Space) Keys() uint32 { return s.end }

// Start gives the number of a region's first key.
func (s *Space) Start(region int) uint32 { return s.regions[region].start }

// Blocks gives how many blocks a region has now.
func (s *Space) Blocks(region int) uint32 {
	h := s.regions[region].history
	return h[len(h)-1].blocks
}

func (r *region) limit() page.Key { return r.First.Add(r.Room) }

// regionOf gives the index of the region of a number.
func (s *Space) regionOf(n uint32) int {
	i, found := slices.BinarySearchFunc(s.regions, n, func(r region, n uint32) int {
		switch {
		case r.start < n:
			return -1
		case r.start > n:
			return 1
		}
		return 0
	})
	if !found {
		i--
	}
	return i
}

// Key gives the key of a number.
func (s *Space) Key(n uint32) page.Key {
	if len(s.regions) == 0 {
		return page.MinKey
	}
	r := &s.regions[s.regionOf(n)]
	return r.First.Add(n - r.start)
}

// Number gives the number of the first key that is not below k, Keys() if there is none.
func (s *Space) Number(k page.Key) uint32 {
	i, found := slices.BinarySearchFunc(s.regions, k, func(r region, k page.Key) int { return r.First.Compare(k) })
	if found {
		return s.regions[i].start
	}
	if i == 0 {
		return 0
	}
	r := &s.regions[i-1]
	if !k.Less(r.limit()) {
		return r.start + r.Room
	}
	// Regions do not cross the last field's end by much: the distance is that of the last two fields.
	return r.start + uint32((uint64(k.F5)<<32|uint64(k.F6))-(uint64(r.First.F5)<<32|uint64(r.First.F6)))
}

// span gives the numbers of a range of keys.
func (s *Space) span(r page.Range) span { return span{s.Number(r.Start), s.Number(r.End)} }

// spans gives the numbers of ranges of keys.
func (s *Space) spans(rs []page.Range) []span {
	var out []span
	for _, r := range rs {
		out = append(out, s.span(r))
	}
	return out
}

// resize notes that a region has another length from an LSN on.
func (s *Space) resize(i int, from page.LSN, blocks uint32) error {
	r := &s.regions[i]
	if s.changed = max(s.changed, from); from <= s.live.at {
		s.live.at = 0
	}
	if blocks > r.Room {
		return fmt.Errorf("region %d cannot grow to %d blocks: it has room for %d", i, blocks, r.Room)
	}
	if last := &r.history[len(r.history)-1]; last.from == from {
		last.blocks = blocks
		return nil
	}
	r.history = append(r.history, length{from, blocks})
	return nil
}

// blocksAt gives a region's length at an LSN.
func (r *region) blocksAt(x page.LSN) uint32 {
	h := r.history
	if last := h[len(h)-1]; last.from <= x {
		return last.blocks
	}
	i, found := slices.BinarySearchFunc(h, x, func(l length, x page.LSN) int {
		switch {
		case l.from < x:
			return -1
		case l.from > x:
			return 1
		}
		return 0
	})
	if !found {
		i--
	}
	return h[max(i, 0)].blocks
}

// Live gives the dense keys that exist at an LSN.
func (s *Space) Live(x page.LSN) page.Set {
	if at := s.live.at; at != 0 && (x == at || s.changed <= min(x, at)) {
		return s.live.set
	}
	var out []page.Range
	for i := range s.regions {
		r := &s.regions[i]
		if n := r.blocksAt(x); n > 0 && !r.Sparse {
			out = append(out, page.Range{Start: r.First, End: r.First.Add(n)})
		}
	}
	s.live.at, s.live.set = x, page.NewSet(out...)
	return s.live.set
}

// Bytes is the size of all dense pages at an LSN.
func (s *Space) Bytes(x page.LSN) int64 {
	n := int64(0)
	for i := range s.regions {
		if r := &s.regions[i]; !r.Sparse {
			n += int64(r.blocksAt(x)) * int64(r.ImageBytes)
		}
	}
	return n
}

// imageBytes is the size of an image of a key.
func (s *Space) imageBytes(n uint32) int64 { return int64(s.regions[s.regionOf(n)].ImageBytes) }

// Regions is how many regions there are.
func (s *Space) Regions() int { return len(s.regions) }

// Written is how many keys of a region may be written: those that exist, or all of a sparse one.
func (s *Space) Written(region int) uint32 {
	if r := &s.regions[region]; r.Sparse {
		return r.Room
	}
	return s.Blocks(region)
}
