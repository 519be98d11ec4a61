package cache

import "sync/atomic"

// slot describes one block of the cache's memory. It has no pointers, so that the garbage collector has
// nothing to walk, and fills a cache line.
//
// A slot is free, being loaded, live or doomed. Its state counts pins; two bits above them say the rest:
//
//	closed           free or being loaded: nobody may read it
//	neither          live: in the table, to be had by whoever adds a pin
//	closed, doomed   out of the table, but some still have it pinned; who takes the last pin off frees it
//
// A reader pins first and looks then whether the slot is live and has the right key; if not it takes the pin
// off again. So a pin may be on any slot for a moment, and states change by adding and taking bits only. A live
// slot is closed by exchanging a state of exactly 0, no pins: what a reader has pinned is never reused.
type slot struct {
	state atomic.Uint32
	uses  atomic.Uint32 // hits since the policy last looked, up to maxUses
	file  atomic.Uint64 // the key; changes only while closed and not doomed
	block atomic.Uint32
	kind  atomic.Uint32

	// The rest is guarded by the shard's lock.
	hash               uint64
	prev, next         uint32 // in a queue of the policy or, next alone, in the free list
	filePrev, fileNext uint32 // among the blocks of the same file in the shard
	queue              uint32 // for the policy
	_                  uint32
}

const (
	closed = 1 << 31
	doomed = 1 << 30
	// maxUses is as far as hits are counted; replacement asks for "often" and no more.
	maxUses = 3
	// none is no slot.
	none = ^uint32(0)
)

// tryPin adds a pin if the slot is live and has the key. If not, the caller takes the pin off.
func (s *slot) tryPin(k Key) bool {
	return s.state.Add(1)&closed == 0 && s.file.Load() == k.File && s.block.Load() == k.Block
}

// tryClose closes a live slot without pins.
func (s *slot) tryClose() bool { return s.state.CompareAndSwap(0, closed) }

// use counts a hit. That some are lost when many come at once does no harm.
func (s *slot) use() {
	if n := s.uses.Load(); n < maxUses {
		s.uses.Store(n + 1)
	}
}

// queue is a list of slots, linked by their indexes, first in first out.
type queue struct {
	id          uint32
	head, tail  uint32 // the next to leave, the last to come
	len, target int
}

func newQueue(id uint32, target int) queue {
	return queue{id: id, head: none, tail: none, target: target}
}

// slotsOf is the part of the slots that one shard has; first is the index of its first.
type slotsOf struct {
	slots []slot
	first uint32
}

func (o *slotsOf) at(i uint32) *slot { return &o.slots[i-o.first] }

func (o *slotsOf) push(q *queue, i uint32) {
	s := o.at(i)
	s.queue, s.prev, s.next = q.id, q.tail, none
	if q.tail == none {
		q.head = i
	} else {
		o.at(q.tail).next = i
	}
	q.tail = i
	q.len++
}

func (o *slotsOf) unlink(q *queue, i uint32) {
	s := o.at(i)
	if s.prev == none {
		q.head = s.next
	} else {
		o.at(s.prev).next = s.next
	}
	if s.next == none {
		q.tail = s.prev
	} else {
		o.at(s.next).prev = s.prev
	}
	q.len--
}
