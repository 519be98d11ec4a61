package cache

import (
	"context"
	"errors"
	"sync/atomic"
)

// Loader fills dst, which is BlockSize bytes, and must not keep it: when it returns, with an error too, nothing
// may write to dst any more. What it leaves unwritten holds whatever was there before.
type Loader = func(ctx context.Context, dst []byte) error

// Pin holds a block. The zero Pin holds none.
type Pin struct {
	c    *Blocks
	slot uint32
	own  *private // instead of the slot
}

// private is a block that found no room in the cache.
type private struct {
	b    [BlockSize]byte
	pins atomic.Int32
}

// Bytes gives the block, BlockSize bytes, to be read until Release and not to be written.
func (p Pin) Bytes() []byte {
	switch {
	case p.own != nil:
		return p.own.b[:]
	case p.c == nil:
		return nil
	}
	return p.c.bytes(p.slot)
}

// Release gives the block back. It is called once for every pin that was given, of which a copy is no other.
func (p Pin) Release() {
	switch {
	case p.own != nil:
		if p.own.pins.Add(-1) == 0 {
			p.c.bypassed.Add(-BlockSize)
		}
	case p.c != nil:
		p.c.unpin(p.slot)
	}
}

// unpin takes a pin off, and frees a doomed slot with the last.
func (c *Blocks) unpin(i uint32) {
	s := &c.slots[i]
	n := s.state.Add(^uint32(0))
	if n == closed|doomed {
		sh := &c.shards[i/c.each]
		sh.mu.Lock()
		sh.buryLocked(i, s)
		sh.mu.Unlock()
	}
	if n&(doomed-1) == doomed-1 { // it went below zero: the next reader would read what is being overwritten
		panic("cache: Pin released more often than given")
	}
}

// Get gives a block, and calls load to fill it if the cache does not have it. Of several who want the same
// block one loads; if that fails, or its context ends, the error is its own, and one of the others loads.
// If all blocks that could make room are pinned, the block is loaded into memory of its own, which
// goes with its last pin.
func (c *Blocks) Get(ctx context.Context, k Key, kind Kind, load Loader) (Pin, error) {
	if c.options.Observe != nil {
		c.options.Observe(k, kind)
	}
	h := k.hash()
	if p, ok := c.lookup(k, h); ok {
		return p, nil
	}
	return c.miss(ctx, wanted{k, h, min(kind, Kinds-1)}, load)
}

// TryGet gives a block if the cache has it.
func (c *Blocks) TryGet(k Key) (Pin, bool) {
	p, ok := c.lookup(k, k.hash())
	if ok && c.options.Observe != nil {
		c.options.Observe(k, Kind(c.slots[p.slot].kind.Load()))
	}
	return p, ok
}

func (c *Blocks) lookup(k Key, h uint64) (Pin, bool) {
	sh := c.shardOf(h)
	i, ok := sh.pin(k, h)
	if !ok {
		return Pin{}, false
	}
	s := &c.slots[i]
	s.use()
	sh.hits[s.kind.Load()].Add(1)
	return Pin{c: c, slot: i}, true
}

// wanted is a block that is asked for.
type wanted struct {
	k    Key
	h    uint64
	kind Kind
}

// flight is a block on its way. All but done is guarded by the shard's lock until done is closed.
type flight struct {
	done      chan struct{}
	waiters   uint32 // who get a pin each if it arrives
	forgotten bool   // its file was: it is given to those who wait, and not kept
	arrived   bool
	pin       Pin
}

// miss loads a block or waits for whoever does.
func (c *Blocks) miss(ctx context.Context, w wanted, load Loader) (Pin, error) {
	sh := c.shardOf(w.h)
	for {
		if err := ctx.Err(); err != nil {
			return Pin{}, err
		}
		sh.mu.Lock()
		if sh.closed {
			sh.mu.Unlock()
			return Pin{}, ErrClosed
		}
		if p, ok := c.lookup(w.k, w.h); ok {
			sh.mu.Unlock()
			return p, nil
		}
		f := sh.loads[w.k]
		if f == nil {
			f = sh.leadLocked(w)
			sh.mu.Unlock()
			return sh.lead(ctx, w, f, load)
		}
		f.waiters++
		sh.counts.waits[w.kind]++
		sh.mu.Unlock()
		select {
		case <-f.done:
			if f.arrived {
				return f.pin, nil
			}
		case <-ctx.Done():
			sh.leave(f)
			return Pin{}, ctx.Err()
		}
	}
}

// leave gives up the wait for a block; if it has just arrived, its pin is released.
func (sh *shard) leave(f *flight) {
	sh.mu.Lock()
	select {
	case <-f.done:
		sh.mu.Unlock()
		if f.arrived {
			f.pin.Release()
		}
	default:
		f.waiters--
		sh.mu.Unlock()
	}
}

// leadLocked begins a load: into a slot, or around the cache if there is none to be had.
func (sh *shard) leadLocked(w wanted) *flight {
	f := &flight{done: make(chan struct{})}
	sh.loads[w.k] = f
	sh.counts.misses[w.kind]++
	if i, ok := sh.takeLocked(); ok {
		f.pin = Pin{c: sh.c, slot: i}
	} else {
		f.pin = Pin{c: sh.c, own: new(private)}
		sh.counts.bypasses[w.kind]++
		sh.c.bypassed.Add(BlockSize)
	}
	return f
}

// lead loads, and tells those who wait, whether load succeeds, fails or panics.
func (sh *shard) lead(ctx context.Context, w wanted, f *flight, load Loader) (p Pin, err error) {
	ok := false
	defer func() {
		if !sh.land(w, f, ok) && ok {
			p, err = Pin{}, ErrClosed
		}
	}()
	if err = load(ctx, f.pin.Bytes()); err != nil {
		return Pin{}, err
	}
	ok = true
	return f.pin, nil
}

// land ends a load. It says whether the leader and those who wait have a pin now.
func (sh *shard) land(w wanted, f *flight, ok bool) bool {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	delete(sh.loads, w.k)
	defer close(f.done)
	pins := f.waiters + 1
	f.arrived = ok && !sh.closed
	switch {
	case !f.arrived:
		sh.counts.failures[w.kind]++
		if f.pin.own != nil {
			sh.c.bypassed.Add(-BlockSize)
		} else {
			sh.freeLocked(f.pin.slot)
		}
	case f.pin.own != nil:
		f.pin.own.pins.Store(int32(pins))
	case f.forgotten:
		sh.c.slots[f.pin.slot].state.Add(doomed + pins)
	default:
		sh.publishLocked(f.pin.slot, w.k, w.h, w.kind, pins)
	}
	return f.arrived
}

// errSize is what Add says of a slice that is no block.
var errSize = errors.New("cache: a block must be BlockSize bytes")

// Add offers a block that was read otherwise, together with others for instance; b is copied. Nothing happens
// if the cache has the block or loads it, or has no room that is not pinned.
func (c *Blocks) Add(k Key, kind Kind, b []byte) error {
	if len(b) != BlockSize {
		return errSize
	}
	kind = min(kind, Kinds-1)
	if c.options.Observe != nil {
		c.options.Observe(k, kind)
	}
	h := k.hash()
	sh := c.shardOf(h)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.closed {
		return ErrClosed
	}
	if i, ok := sh.pin(k, h); ok {
		// The last pin of a doomed slot takes the lock, but no slot is doomed while we have it.
		c.slots[i].state.Add(^uint32(0))
		return nil
	}
	if sh.loads[k] != nil {
		return nil
	}
	sh.counts.misses[kind]++
	i, ok := sh.takeLocked()
	if !ok {
		sh.counts.bypasses[kind]++
		return nil
	}
	copy(c.bytes(i), b)
	sh.publishLocked(i, k, h, kind, 0)
	return nil
}
