package cache

// policy decides which block leaves when room is wanted. There is one for each shard, called under its lock.
// Hits are not reported one by one, as they take no lock: a policy reads slot.uses.
type policy interface {
	// admit takes in a slot that was filled.
	admit(i uint32)
	// victim closes a slot without pins, forgets it and gives it. It gives none after looking at all.
	victim() (i uint32, ok bool)
	// remove forgets a slot that leaves for another reason.
	remove(i uint32)
}

// s3fifo is S3-FIFO (Yang et al., SOSP 2023): what is new enters a small queue, and gets from there into the main
// one only if it was used meanwhile, so that a scan passes through the small queue alone. What left the
// small queue is remembered for a while without its bytes (a ghost); if it comes back it enters the main
// queue at once. The main queue is a clock.
type s3fifo struct {
	slotsOf
	small, main queue
	ghosts      ghosts
}

const (
	inSmall = iota
	inMain
)

// smallShare is the part of the slots that the small queue has: one in so many. Measured: see the package doc.
const smallShare = 20

func newS3FIFO(slots []slot, first uint32) policy {
	small := max(1, len(slots)/smallShare)
	return &s3fifo{
		slotsOf: slotsOf{slots, first},
		small:   newQueue(inSmall, small),
		main:    newQueue(inMain, len(slots)-small),
		ghosts:  newGhosts(len(slots)),
	}
}

func (p *s3fifo) admit(i uint32) {
	s := p.at(i)
	s.uses.Store(0)
	if p.ghosts.take(s.hash) {
		p.push(&p.main, i)
	} else {
		p.push(&p.small, i)
	}
}

func (p *s3fifo) remove(i uint32) {
	if p.at(i).queue == inSmall {
		p.unlink(&p.small, i)
	} else {
		p.unlink(&p.main, i)
	}
}

func (p *s3fifo) victim() (uint32, bool) {
	// Every slot is looked at until its uses are spent, and once more where it began in the small queue.
	for range (maxUses + 2) * len(p.slots) {
		if p.small.len > 0 && (p.small.len >= p.small.target || p.main.len == 0) {
			if i, ok := p.leaveSmall(); ok {
				return i, true
			}
		} else if p.main.len > 0 {
			if i, ok := p.leaveMain(); ok {
				return i, true
			}
		} else {
			break // all are being loaded or doomed
		}
	}
	return none, false
}

// leaveSmall takes the first of the small queue out of the cache, or moves it to the main one.
func (p *s3fifo) leaveSmall() (uint32, bool) {
	i := p.small.head
	s := p.at(i)
	p.unlink(&p.small, i)
	if s.uses.Load() < enoughUses && s.tryClose() {
		p.ghosts.add(s.hash)
		return i, true
	}
	s.uses.Store(0)
	p.push(&p.main, i)
	return none, false
}

// enoughUses is how many hits in the small queue show that a block is wanted.
const enoughUses = 1

// leaveMain takes the first of the main queue out of the cache, or gives it another round for a use less.
func (p *s3fifo) leaveMain() (uint32, bool) {
	i := p.main.head
	s := p.at(i)
	p.unlink(&p.main, i)
	if n := s.uses.Load(); n > 0 {
		s.uses.Store(n - 1)
	} else if s.tryClose() {
		return i, true
	}
	p.push(&p.main, i)
	return none, false
}

// ghosts remembers the last hashes that were added, as many as there are slots, without pointers: a table of
// buckets, each entry a tag and the time when it was added. What is older than the number of slots
// does not count any more. A false match costs a place in the wrong queue, nothing else.
type ghosts struct {
	entries []uint64 // tag << 32 | time; 0 is empty
	mask    uint64   // of buckets
	now     uint32
	size    uint32
}

// ghostBucket entries share a place; the oldest gives way.
const ghostBucket = 4

func newGhosts(size int) ghosts {
	buckets := 1
	for buckets*ghostBucket < size {
		buckets *= 2
	}
	return ghosts{entries: make([]uint64, buckets*ghostBucket), mask: uint64(buckets - 1), size: uint32(size)}
}

func (g *ghosts) bucket(h uint64) []uint64 {
	at := (h & g.mask) * ghostBucket
	return g.entries[at : at+ghostBucket]
}

func (g *ghosts) add(h uint64) {
	g.now++
	b := g.bucket(h)
	oldest := 0
	for i, e := range b {
		if e == 0 {
			oldest = i
			break
		}
		if g.now-uint32(e) > g.now-uint32(b[oldest]) {
			oldest = i
		}
	}
	b[oldest] = h>>32<<32 | uint64(g.now)
}

// take says whether a hash is remembered, and forgets it.
func (g *ghosts) take(h uint64) bool {
	b := g.bucket(h)
	for i, e := range b {
		if e != 0 && e>>32 == h>>32 {
			b[i] = 0
			return g.now-uint32(e) < g.size
		}
	}
	return false
}
