package cache

import (
	"sync"
	"sync/atomic"
)

// shard is a part of the cache: a range of slots, chosen by hash.
//
// Its table is open addressing with linear probing, at most two thirds full. It is written under the lock and
// read without: an entry that moves while it is searched for may be missed, and then it is searched for again
// under the lock; an entry that is stale leads to a slot that turns out not to have the key.
type shard struct {
	c      *Blocks
	table  []atomic.Uint64 // tag << 32 | index of the slot + 1; 0 is empty
	mask   uint32
	_      [64]byte // what nobody writes, hits, and what is locked are on cache lines of their own
	hits   [Kinds]atomic.Int64
	_      [64]byte
	mu     sync.Mutex
	closed bool
	policy policy
	free   uint32            // list of free slots
	heads  map[uint64]uint32 // file -> first of its blocks here
	loads  map[Key]*flight
	counts counts
	_      [64]byte
}

// counts are a shard's metrics that are counted under its lock.
type counts struct {
	misses, waits, evictions, bypasses, failures [Kinds]int64
	blocks                                       [Kinds]int64
}

func (sh *shard) init(c *Blocks, first uint32, p policy) {
	size := uint32(1)
	for size/3*2 <= c.each {
		size *= 2
	}
	sh.c, sh.policy, sh.free = c, p, none
	sh.table, sh.mask = make([]atomic.Uint64, size), size-1
	sh.heads, sh.loads = make(map[uint64]uint32), make(map[Key]*flight)
	for i := first + c.each; i > first; i-- { // the lowest first, so that memory is used densely
		c.slots[i-1].state.Store(closed)
		c.slots[i-1].next = sh.free
		sh.free = i - 1
	}
}

// pin finds a block and pins it. It needs no lock; without it a block that is there may be missed.
func (sh *shard) pin(k Key, h uint64) (uint32, bool) {
	at := uint32(h) & sh.mask
	for range sh.table {
		e := sh.table[at].Load()
		if e == 0 {
			return none, false
		}
		if e>>32 == h>>32 {
			i := uint32(e) - 1
			if sh.c.slots[i].tryPin(k) {
				return i, true
			}
			sh.c.unpin(i)
		}
		at = (at + 1) & sh.mask
	}
	return none, false
}

// insertLocked puts a slot into the table.
func (sh *shard) insertLocked(i uint32, h uint64) {
	at := uint32(h) & sh.mask
	for sh.table[at].Load() != 0 {
		at = (at + 1) & sh.mask
	}
	sh.table[at].Store(h>>32<<32 | uint64(i+1))
}

// deleteLocked takes a slot out of the table, and moves what follows so that nothing lies behind a hole.
func (sh *shard) deleteLocked(i uint32, h uint64) {
	at := uint32(h) & sh.mask
	for uint32(sh.table[at].Load()) != i+1 {
		at = (at + 1) & sh.mask
	}
	hole := at
	for {
		at = (at + 1) & sh.mask
		e := sh.table[at].Load()
		if e == 0 {
			break
		}
		home := uint32(sh.c.slots[uint32(e)-1].hash) & sh.mask
		if (at-home)&sh.mask >= (at-hole)&sh.mask {
			sh.table[hole].Store(e)
			hole = at
		}
	}
	sh.table[hole].Store(0)
}

// takeLocked gives a slot to be filled: a free one, or that of a block that leaves. It gives none if all are
// pinned or being filled.
func (sh *shard) takeLocked() (uint32, bool) {
	if i := sh.free; i != none {
		sh.free = sh.c.slots[i].next
		sh.c.busy.Add(1)
		return i, true
	}
	i, ok := sh.policy.victim()
	if ok {
		s := &sh.c.slots[i]
		sh.dropLocked(i, s)
		sh.counts.evictions[s.kind.Load()]++
	}
	return i, ok
}

// dropLocked takes a slot that the policy has forgotten out of everything else.
func (sh *shard) dropLocked(i uint32, s *slot) {
	sh.deleteLocked(i, s.hash)
	sh.counts.blocks[s.kind.Load()]--
	if s.fileNext != none {
		sh.c.slots[s.fileNext].filePrev = s.filePrev
	}
	switch {
	case s.filePrev != none:
		sh.c.slots[s.filePrev].fileNext = s.fileNext
	case s.fileNext != none:
		sh.heads[s.file.Load()] = s.fileNext
	default:
		delete(sh.heads, s.file.Load())
	}
}

// publishLocked makes a slot that was filled live, with so many pins on it.
func (sh *shard) publishLocked(i uint32, k Key, h uint64, kind Kind, pins uint32) {
	s := &sh.c.slots[i]
	s.file.Store(k.File)
	s.block.Store(k.Block)
	s.kind.Store(uint32(kind))
	s.hash = h
	s.filePrev, s.fileNext = none, none
	if head, ok := sh.heads[k.File]; ok {
		s.fileNext = head
		sh.c.slots[head].filePrev = i
	}
	sh.heads[k.File] = i
	sh.counts.blocks[kind]++
	sh.policy.admit(i)
	s.state.Add(pins - closed)
	sh.insertLocked(i, h)
}

// freeLocked takes back a slot that is closed, and in nothing.
func (sh *shard) freeLocked(i uint32) {
	sh.c.slots[i].next = sh.free
	sh.free = i
	sh.c.release()
}

// forget drops the blocks of one file.
func (sh *shard) forget(file uint64) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for k, f := range sh.loads {
		f.forgotten = f.forgotten || k.File == file
	}
	sh.forgetLocked(file)
}

func (sh *shard) forgetLocked(file uint64) {
	for {
		i, ok := sh.heads[file]
		if !ok {
			return
		}
		s := &sh.c.slots[i]
		sh.policy.remove(i)
		sh.dropLocked(i, s)
		s.state.Or(closed | doomed)
		sh.buryLocked(i, s)
	}
}

// buryLocked frees a doomed slot if there are no pins on it, and nobody else has freed it.
func (sh *shard) buryLocked(i uint32, s *slot) {
	if s.state.CompareAndSwap(closed|doomed, closed) {
		sh.freeLocked(i)
	}
}

// close drops all blocks and lets no more in.
func (sh *shard) close() {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.closed = true
	for file := range sh.heads {
		sh.forgetLocked(file)
	}
}
