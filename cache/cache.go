package cache

import (
	"errors"
	"fmt"
	"math/bits"
	"sync/atomic"

	"github.com/stratapg/strata/internal/budget"
	"github.com/stratapg/strata/internal/offheap"
)

// BlockSize is the size of every block in bytes.
const BlockSize = 8192

// metadata is what a block costs beside its bytes, at most: its slot (64), its places in the hash table (24) and
// among the ghosts (16), and that of its file if it is the only block of it.
const metadata = 160

const (
	defaultBytes = 64 << 20
	// minSlots blocks are the least that a cache has; below that it would be all pins.
	minSlots = 16
	// maxShards is how many parts the cache has at most; misses of different parts do not wait for each other.
	// Hits take no lock, so it need not grow with the machine.
	maxShards = 32
	// shardSlots is how many blocks a part has at least: small parts would be uneven, and full of pins early.
	shardSlots = 128
)

// MinBytes is the least Options.Bytes.
const MinBytes = minSlots * (BlockSize + metadata)

// ErrClosed is returned by a cache that was closed.
var ErrClosed = errors.New("cache: closed")

// Key names a block: a file as NewFile named it, and the number of the block in it.
type Key struct {
	File  uint64
	Block uint32
}

// hash mixes the bits of a key: the upper ones choose the shard, all of them the place in its table.
func (k Key) hash() uint64 {
	const odd1, odd2 = 0x9e3779b97f4a7c15, 0xd6e8feb86659fd93 // odd, with no regularity
	hi, lo := bits.Mul64(k.File^odd2, odd1)
	hi, lo = bits.Mul64(hi^lo^uint64(k.Block), odd2)
	return hi ^ lo
}

var files atomic.Uint64

// NewFile gives a number that no other file of this process has, for the File of its keys. A number is never
// given again, so blocks of a closed file cannot be taken for those of another.
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

// String gives the name that metrics use.
func (k Kind) String() string {
	if k >= Kinds {
		return fmt.Sprintf("kind%d", uint8(k))
	}
	return [Kinds]string{"index", "summary", "checksums"}[k]
}

// Options have useful zeros.
type Options struct {
	// Bytes bounds the memory of the cache, metadata included; at least MinBytes. It is taken from the system as
	// it is used. With less than the index blocks in use, reads load them again and again. Default 64 MiB.
	Bytes int64
	// Budget, if set, is charged with Bytes until the memory is given back; New fails if it has less left.
	Budget *budget.Share
	// Observe is told of every block that is asked for, in the caller's goroutine, for traces. Default none.
	Observe func(k Key, kind Kind)

	newPolicy func(slots []slot, first uint32) policy // tests compare policies
}

// Blocks is a cache of blocks. All methods may be called concurrently. Close must be called.
type Blocks struct {
	options Options
	area    []byte // the blocks, off the Go heap: slot i has the i-th
	slots   []slot
	shards  []shard
	shift   uint // hash >> shift is the shard
	each    uint32

	busy     atomic.Int64 // slots that are not free
	drained  atomic.Bool  // Close has been through all shards
	freed    atomic.Bool
	bypassed atomic.Int64 // bytes of private blocks in use
}

// New makes a cache. The address space for all blocks is taken at once, memory as blocks are filled.
func New(o Options) (*Blocks, error) {
	if o.Bytes == 0 {
		o.Bytes = defaultBytes
	}
	if o.Bytes < MinBytes || o.Bytes > offheap.MaxArea {
		return nil, fmt.Errorf("cache: Options.Bytes is %d; it must be %d to %d", o.Bytes, int64(MinBytes), int64(offheap.MaxArea))
	}
	if o.newPolicy == nil {
		o.newPolicy = newS3FIFO
	}
	if !o.Budget.TryAcquire(o.Bytes) {
		st := o.Budget.Stats()
		return nil, fmt.Errorf("cache: %d bytes wanted of share %q, which has %d of %d left", o.Bytes, st.Name, st.Limit-st.Used, st.Limit)
	}
	slots := o.Bytes / (BlockSize + metadata)
	shards := int64(1)
	for shards < maxShards && slots/(shards*2) >= shardSlots {
		shards *= 2
	}
	each := slots / shards
	area, err := offheap.Alloc(int(shards * each * BlockSize))
	if err != nil {
		o.Budget.Release(o.Bytes)
		return nil, fmt.Errorf("cache: %w", err)
	}
	c := &Blocks{
		options: o,
		area:    area,
		slots:   make([]slot, shards*each),
		shards:  make([]shard, shards),
		shift:   uint(64 - bits.Len64(uint64(shards-1))),
		each:    uint32(each),
	}
	for i := range c.shards {
		first := uint32(i) * c.each
		c.shards[i].init(c, first, o.newPolicy(c.slots[first:first+c.each], first))
	}
	return c, nil
}

// bytes gives the block of a slot.
func (c *Blocks) bytes(i uint32) []byte {
	at := int(i) * BlockSize
	return c.area[at : at+BlockSize : at+BlockSize]
}

// shardOf gives the shard of a hash. A shift by 64, with one shard, gives 0.
func (c *Blocks) shardOf(h uint64) *shard { return &c.shards[h>>c.shift] }

// Forget drops the blocks of a file that is not read any more. Blocks that are pinned stay what they are
// until they are released; loads on their way end as their callers expect, and leave nothing behind.
func (c *Blocks) Forget(file uint64) {
	for i := range c.shards {
		c.shards[i].forget(file)
	}
}

// Close drops everything. It waits for nobody: the memory is given back with the last pin, and the error says
// how many blocks were still pinned or being loaded, which is a leak or a reader that outlives its cache.
// Everything asked for afterwards fails with ErrClosed.
func (c *Blocks) Close() error {
	for i := range c.shards {
		c.shards[i].close()
	}
	c.drained.Store(true)
	if n := c.busy.Load(); n > 0 {
		return fmt.Errorf("cache: closed while %d blocks are pinned or being loaded", n)
	}
	c.freeArea()
	return nil
}

// release counts a slot that became free; after Close the last one takes the memory with it.
func (c *Blocks) release() {
	if c.busy.Add(-1) == 0 && c.drained.Load() {
		c.freeArea()
	}
}

func (c *Blocks) freeArea() {
	if c.freed.CompareAndSwap(false, true) {
		offheap.Free(c.area)
		c.options.Budget.Release(c.options.Bytes)
	}
}
