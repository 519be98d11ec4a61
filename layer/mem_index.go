package layer

import (
	"hash/maphash"
	"unsafe"

	"github.com/stratapg/strata/page"
)

// memIndex finds the versions of a key. It is three tables, all without pointers:
//
//   - prefixes: the first 14 bytes of keys, of which a layer has few (a relation's fork, as a rule), by number;
//   - records: one for each value, numbered from 1 as they come;
//   - slots: a hash from (prefix, last field) to the number of the key's newest record. Sixteen neighbouring
//     blocks lie in one run of slots. It grows by splitting one segment of slots at a time, so that no put
//     waits for a table to be copied.
//
// An entry costs 28 bytes, and that of a new key about 16 more, as half of the hash is taken at any time: its
// segments are split one after the other (see stagger). In all it was 47 bytes at most while 150,000 keys came to be
// 300,000, 46 up to a million, and 44 with ten million.
//
// The writer changes it under the layer's lock; readers search it under the reader's side.
type memIndex struct {
	arena    memArena
	prefixes memPrefixes
	records  memRecords
	slots    memSlots
	touched  uint32 // keeps the compiler from leaving out reads whose values nobody needs
}

// memRecord is one version of a key. 28 bytes; words are halved so that none are lost to alignment.
type memRecord struct {
	prefix, last uint32 // the key
	lsn          [2]uint32
	place        [2]uint32 // offset in the log of values and length
	prev         uint32    // the next older version's number, and flags
}

const (
	willInitShift = 31

	memWillInit = 1 << willInitShift
	memFirst    = 1 << 30 // when it came, it was the first of its key
	memNumber   = memFirst - 1
)

// set fills a record, field by field: one copied from elsewhere would have to wait until it is written there.
func (r *memRecord) set(prefix uint32, e *page.BatchEntry, place uint64) {
	r.prefix, r.last = prefix, e.Key.F6
	r.lsn[0], r.lsn[1] = uint32(e.LSN>>32), uint32(e.LSN)
	r.place[0], r.place[1] = uint32(place>>32), uint32(place)
	r.prev = 0
	if e.WillInit {
		r.prev = memWillInit
	}
}

func (r *memRecord) at() page.LSN { return page.LSN(r.lsn[0])<<32 | page.LSN(r.lsn[1]) }
func (r *memRecord) where() uint64 {
	return uint64(r.place[0])<<32 | uint64(r.place[1])
}
func (r *memRecord) willInit() bool { return r.prev&memWillInit != 0 }
func (r *memRecord) older() uint32  { return r.prev & memNumber }

// recordsPerSlab gives slabs of 28 KiB.
const recordsPerSlab = 1 << 10

type memRecordSlab [recordsPerSlab]memRecord

// memRecords are numbered from 1.
type memRecords struct {
	slabs []*memRecordSlab
	n     uint32
}

func (s *memRecords) at(id uint32) *memRecord { return &s.slabs[id/recordsPerSlab][id%recordsPerSlab] }

func (s *memRecords) add(a *memArena) (uint32, *memRecord) {
	s.n++
	if int(s.n/recordsPerSlab) == len(s.slabs) {
		s.slabs = append(s.slabs, (*memRecordSlab)(a.alloc(int(unsafe.Sizeof(memRecordSlab{})))))
	}
	return s.n, s.at(s.n)
}

// memPrefixes numbers what keys have before their last field.
type memPrefixes struct {
	ids    map[page.Key]uint32 // by keys whose last field is 0; no pointers, so the collector skips it
	keys   []page.Key
	recent [1 << recentBits]uint32 // numbers by a hash of the prefix: the few that WAL speaks of at a time
}

const recentBits = 6

func prefixOf(k page.Key) page.Key {
	k.F6 = 0
	return k
}

// samePrefix compares fields, not copies of them: what has just been written is at hand in the widths in which
// it was written only.
func samePrefix(a, b *page.Key) bool {
	return a.F4 == b.F4 && a.F5 == b.F5 && a.F3 == b.F3 && a.F2 == b.F2 && a.F1 == b.F1
}

func recentSlot(p page.Key) uint32 {
	const odd = 0x9E3779B1 // 2^32 divided by the golden ratio
	return ((p.F4+uint32(p.F5)<<24)*odd ^ p.F3 + uint32(p.F1)) * odd >> (32 - recentBits)
}

// find gives a prefix's number.
func (t *memPrefixes) find(p page.Key) (uint32, bool) {
	if id := t.recent[recentSlot(p)]; int(id) < len(t.keys) && t.keys[id] == p {
		return id, true
	}
	id, ok := t.ids[p]
	return id, ok
}

func (t *memPrefixes) findOrAdd(p page.Key) uint32 {
	recent := &t.recent[recentSlot(p)]
	if id := *recent; int(id) < len(t.keys) && t.keys[id] == p {
		return id
	}
	id, ok := t.ids[p]
	if !ok {
		if t.ids == nil {
			t.ids = make(map[page.Key]uint32)
		}
		id = uint32(len(t.keys))
		t.ids[p] = id
		t.keys = append(t.keys, p)
	}
	*recent = id
	return id
}

// memSlot holds the newest record's number, 0 for none, and bits of the key's hash.
type memSlot struct{ tag, id uint32 }

const (
	// segmentSlots gives segments of 8 KiB: little to move when one is split.
	segmentSlots = 1 << segmentBits
	segmentBits  = 10
	// maxSlotDepth is how many bits tell segments apart at most. The other bits of the tag tell places in a
	// segment apart; one that has reached this depth grows instead.
	maxSlotDepth = 22
)

type memSegment struct {
	slots []memSlot // a power of two
	n     int
	depth uint8 // how many leading bits its tags share
}

// memSlots is an extendible hash: the leading bits of a tag choose a segment, the trailing ones a place in it,
// from which on slots are searched in turn.
type memSlots struct {
	dir      []uint32
	segments []memSegment
	bits     uint8 // that dir is indexed by
	seed     uint64
	moving   []memSlot // scratch of split
}

// tag hashes a key. Its last four bits are those of the block.
func (s *memSlots) tag(prefix, last uint32) uint32 {
	const odd1, odd2 = 0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93
	h := (uint64(prefix)<<32 | uint64(last>>4)) ^ s.seed
	h *= odd1
	h = (h ^ h>>32) * odd2
	place := uint32(h) >> (32 - segmentBits) &^ 15
	return stagger(uint32(h>>32))&^(segmentSlots-1) | place | last&15
}

// stagger makes of evenly spread numbers some of which there are twice as many at the lower end as at the upper,
// and in between accordingly. So segments fill up one after the other, from one doubling to the next: evenly, all
// would be split at about the same time, and half empty after it.
func stagger(h uint32) uint32 {
	x := uint64(h)
	return uint32((2*x + x*x>>32) / 3) // its slope doubles from 2/3 to 4/3
}

func (s *memSlots) segment(tag uint32) *memSegment {
	return &s.segments[s.dir[tag>>(32-s.bits)]]
}

// touch brings the place of a tag into the processor's cache.
func (s *memSlots) touch(tag uint32) uint32 {
	g := s.segment(tag)
	return g.slots[tag&uint32(len(g.slots)-1)].id
}

func (s *memSlots) init(a *memArena) {
	s.seed = maphash.String(maphash.MakeSeed(), "")
	s.segments = []memSegment{{slots: newSlots(a, segmentSlots)}}
	s.dir = []uint32{0}
}

func newSlots(a *memArena, n int) []memSlot {
	s := unsafe.Slice((*memSlot)(a.alloc(n*int(unsafe.Sizeof(memSlot{})))), n)
	clear(s)
	return s
}

// probeStep spreads what collides: the k-th slot that is searched is k steps behind the one before. As it is
// odd, all slots have their turn; as it is 16 and one, neighbours that find another neighbourhood in their
// place move on together.
const probeStep = 17

// free gives the first free slot for a tag.
func (g *memSegment) free(tag uint32) *memSlot {
	mask := uint32(len(g.slots) - 1)
	i := tag & mask
	for step := uint32(probeStep); g.slots[i].id != 0; step += probeStep {
		i = (i + step) & mask
	}
	return &g.slots[i]
}

// full says that a segment is to be split: until three quarters are taken a search looks at few slots.
func (g *memSegment) full() bool { return g.n >= len(g.slots)/4*3 }

// grow makes room in the segment of a tag, and gives a free slot.
func (s *memSlots) grow(a *memArena, tag uint32) (*memSegment, *memSlot) {
	for s.segment(tag).full() {
		s.split(a, tag)
	}
	g := s.segment(tag)
	return g, g.free(tag)
}

// split halves the segment of a tag.
func (s *memSlots) split(a *memArena, tag uint32) {
	at := s.dir[tag>>(32-s.bits)]
	g := &s.segments[at]
	if g.depth == s.bits && s.bits < maxSlotDepth {
		dir := make([]uint32, 2*len(s.dir))
		for i, v := range s.dir {
			dir[2*i], dir[2*i+1] = v, v
		}
		s.dir = dir
		s.bits++
	}
	if g.depth == maxSlotDepth {
		old := g.slots
		g.slots = newSlots(a, 2*len(old))
		for _, e := range old {
			if e.id != 0 {
				*g.free(e.tag) = e
			}
		}
		return
	}
	g.depth++
	s.moving = append(s.moving[:0], g.slots...)
	clear(g.slots)
	g.n = 0
	s.segments = append(s.segments, memSegment{slots: newSlots(a, segmentSlots), depth: g.depth})
	// The directory's entries for the segment are neighbours; the upper half goes to the new one.
	half := 1 << (s.bits - g.depth)
	first := int(tag>>(32-s.bits)) &^ (2*half - 1)
	for i := first + half; i < first+2*half; i++ {
		s.dir[i] = uint32(len(s.segments) - 1)
	}
	for _, e := range s.moving {
		if e.id != 0 {
			g := s.segment(e.tag)
			*g.free(e.tag) = e
			g.n++
		}
	}
}

// find gives a key's slot, or the free one where its search ended.
func (x *memIndex) find(g *memSegment, prefix, last, tag uint32) *memSlot {
	mask := uint32(len(g.slots) - 1)
	i := tag & mask
	for step := uint32(probeStep); ; step += probeStep {
		s := &g.slots[i]
		if s.id == 0 {
			return s
		}
		if s.tag == tag {
			if r := x.records.at(s.id); r.last == last && r.prefix == prefix {
				return s
			}
		}
		i = (i + step) & mask
	}
}

// head gives the number of a key's newest record, 0 for none.
func (x *memIndex) head(prefix, last uint32) uint32 {
	tag := x.slots.tag(prefix, last)
	return x.find(x.slots.segment(tag), prefix, last, tag).id
}

// key gives a record's key.
func (x *memIndex) key(r *memRecord) page.Key {
	k := x.prefixes.keys[r.prefix]
	k.F6 = r.last
	return k
}

// putLocked enters at most putSteps values and gives the number of keys that are new.
func (x *memIndex) putLocked(entries []page.BatchEntry, places []uint64) (keys int) {
	if x.slots.dir == nil {
		x.slots.init(&x.arena)
	}
	// First all hashes, then a look at each place, in a loop of few instructions: so the processor waits for all of them at once.
	var tags, prefixes [putSteps]uint32
	var touched uint32
	var prefix uint32
	for i := range entries {
		k := &entries[i].Key
		if i == 0 || !samePrefix(k, &entries[i-1].Key) {
			prefix = x.prefixes.findOrAdd(prefixOf(*k))
		}
		prefixes[i] = prefix
		tags[i] = x.slots.tag(prefix, k.F6)
	}
	for _, tag := range tags[:len(entries)] {
		touched |= x.slots.touch(tag)
	}
	x.touched = touched
	for i := range entries {
		e := &entries[i]
		id, r := x.records.add(&x.arena)
		r.set(prefixes[i], e, places[i])
		g := x.slots.segment(tags[i])
		s := x.find(g, prefixes[i], e.Key.F6, tags[i])
		if s.id != 0 {
			x.link(s, id, r, e.LSN)
			continue
		}
		keys++
		r.prev |= memFirst
		if g.full() {
			g, s = x.slots.grow(&x.arena, tags[i])
		}
		*s = memSlot{tags[i], id}
		g.n++
	}
	return keys
}

// link puts a record into the chain of its key, which is newest first; one of the same LSN is left out.
func (x *memIndex) link(s *memSlot, id uint32, r *memRecord, lsn page.LSN) {
	var newer *memRecord
	at := s.id
	for at != 0 {
		o := x.records.at(at)
		if l := o.at(); l <= lsn {
			if l == lsn {
				at = o.older()
			}
			break
		}
		newer, at = o, o.older()
	}
	r.prev |= at
	if newer == nil {
		s.id = id
	} else {
		newer.prev = newer.prev&^memNumber | id
	}
}
