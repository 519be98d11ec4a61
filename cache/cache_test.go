package cache

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/stratapg/strata/internal/budget"
	"github.com/stratapg/strata/internal/offheap"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newCache makes a cache of so many blocks; at the end of the test nothing may be pinned and all memory is back.
func newCache(t testing.TB, blocks int) *Blocks {
	t.Helper()
	before := offheap.InUse()
	c, err := New(Options{Bytes: int64(blocks) * (BlockSize + metadata)})
	require.NoError(t, err)
	t.Cleanup(func() {
		if !t.Failed() {
			check(t, c)
			require.Zero(t, c.Pinned())
			require.NoError(t, c.Close())
			require.NoError(t, c.Close())
			require.Equal(t, before, offheap.InUse())
		}
	})
	return c
}

// fill writes what the block of a key is made of, one word over and over.
func fill(k Key, dst []byte) {
	for at := 0; at < len(dst); at += 8 {
		binary.LittleEndian.PutUint64(dst[at:], k.hash())
	}
}

// whole says whether a block is that of the key.
func whole(k Key, b []byte) bool {
	for at := 0; at < BlockSize; at += 8 {
		if binary.LittleEndian.Uint64(b[at:]) != k.hash() {
			return false
		}
	}
	return true
}

func loader(k Key) Loader {
	return func(_ context.Context, dst []byte) error {
		fill(k, dst)
		return nil
	}
}

func mustNotLoad(context.Context, []byte) error { return errors.New("loaded though it was there") }

func get(t testing.TB, c *Blocks, k Key) Pin {
	t.Helper()
	p, err := c.Get(t.Context(), k, Index, loader(k))
	require.NoError(t, err)
	require.True(t, whole(k, p.Bytes()))
	return p
}

// check looks at a cache that nobody uses: every slot is in exactly the lists that it should be in.
func check(t testing.TB, c *Blocks) {
	t.Helper()
	busy, blocks := 0, int64(0)
	for i := range c.shards {
		sh := &c.shards[i]
		sh.mu.Lock()
		free := 0
		for at := sh.free; at != none; at = c.slots[at].next {
			require.EqualValues(t, closed, c.slots[at].state.Load())
			free++
		}
		live, inTable := 0, 0
		for n := range c.each {
			at := uint32(i)*c.each + n
			s := &c.slots[at]
			if s.state.Load()&closed != 0 {
				continue
			}
			live++
			k := Key{s.file.Load(), s.block.Load()}
			found, ok := sh.pin(k, k.hash())
			require.True(t, ok, "slot %d is not found by its key", at)
			require.Equal(t, at, found)
			c.unpin(found)
		}
		for at := range sh.table {
			if sh.table[at].Load() != 0 {
				inTable++
			}
		}
		inFiles := 0
		for file, head := range sh.heads {
			for at, prev := head, none; at != none; prev, at = at, c.slots[at].fileNext {
				require.Equal(t, file, c.slots[at].file.Load())
				require.Equal(t, prev, c.slots[at].filePrev)
				inFiles++
			}
		}
		require.Equal(t, live, inTable, "table")
		require.Equal(t, live, inFiles, "files")
		if p, ok := sh.policy.(*s3fifo); ok {
			require.Equal(t, live, p.small.len+p.main.len, "queues")
		}
		require.Empty(t, sh.loads)
		busy += int(c.each) - free
		for _, n := range sh.counts.blocks {
			blocks += n
		}
		require.GreaterOrEqual(t, int(c.each)-free, live)
		sh.mu.Unlock()
	}
	require.EqualValues(t, busy, c.busy.Load())
	require.LessOrEqual(t, blocks, int64(busy))
}

func TestGetLoadsOnce(t *testing.T) {
	c := newCache(t, 100)
	k := Key{NewFile(), 7}
	_, ok := c.TryGet(k)
	require.False(t, ok)
	p := get(t, c, k)
	q, err := c.Get(t.Context(), k, Index, mustNotLoad)
	require.NoError(t, err)
	require.Equal(t, p.Bytes(), q.Bytes())
	p.Release()
	q.Release()
	p, ok = c.TryGet(k)
	require.True(t, ok)
	require.Equal(t, 1, c.Pinned())
	p.Release()
	st := c.Stats()
	require.EqualValues(t, 2, st.Hits[Index])
	require.EqualValues(t, 1, st.Misses[Index])
	require.EqualValues(t, BlockSize, st.Bytes[Index])
}

func TestZeroPinIsNone(t *testing.T) {
	require.Nil(t, Pin{}.Bytes())
	Pin{}.Release()
}

func TestOptionsAreChecked(t *testing.T) {
	for _, bytes := range []int64{-1, MinBytes - 1, offheap.MaxArea + 1} {
		_, err := New(Options{Bytes: bytes})
		require.ErrorContains(t, err, "Options.Bytes")
	}
	for _, bytes := range []int64{MinBytes, 10 * MinBytes, 0, 300 << 20} {
		c, err := New(Options{Bytes: bytes})
		require.NoError(t, err)
		if bytes > 0 {
			require.LessOrEqual(t, int64(len(c.area)+len(c.slots)*metadata), bytes)
		}
		table := 0
		for i := range c.shards {
			table += 8*len(c.shards[i].table) + 8*len(c.shards[i].policy.(*s3fifo).ghosts.entries)
			require.LessOrEqual(t, int(c.each), len(c.shards[i].table)/3*2)
		}
		require.LessOrEqual(t, table+64*len(c.slots), metadata*len(c.slots))
		require.NoError(t, c.Close())
	}
}

func TestBudgetIsCharged(t *testing.T) {
	share, err := budget.New(3*MinBytes).Share("blocks", 3*MinBytes)
	require.NoError(t, err)
	c, err := New(Options{Bytes: 2 * MinBytes, Budget: share})
	require.NoError(t, err)
	require.EqualValues(t, 2*MinBytes, share.Used())
	_, err = New(Options{Bytes: 2 * MinBytes, Budget: share})
	require.ErrorContains(t, err, `share "blocks"`)
	p := get(t, c, Key{1, 1})
	require.Error(t, c.Close())
	require.EqualValues(t, 2*MinBytes, share.Used(), "the memory is still there")
	p.Release()
	require.Zero(t, share.Used())
}

func TestAddedBlockIsFound(t *testing.T) {
	c := newCache(t, 100)
	k := Key{NewFile(), 1}
	b := make([]byte, BlockSize)
	fill(k, b)
	require.Error(t, c.Add(k, Checksums, b[1:]))
	require.NoError(t, c.Add(k, Checksums, b))
	clear(b)
	require.NoError(t, c.Add(k, Checksums, b), "what is there stays")
	p, ok := c.TryGet(k)
	require.True(t, ok)
	require.True(t, whole(k, p.Bytes()))
	p.Release()
	require.EqualValues(t, BlockSize, c.Stats().Bytes[Checksums])
}

// TestPinnedIsNotReused shows that a pinned block keeps its bytes while ten times the cache is loaded.
func TestPinnedIsNotReused(t *testing.T) {
	c := newCache(t, 32)
	file := NewFile()
	kept := get(t, c, Key{file, 0})
	for b := range uint32(320) {
		get(t, c, Key{file, b + 1}).Release()
	}
	require.True(t, whole(Key{file, 0}, kept.Bytes()))
	again, err := c.Get(t.Context(), Key{file, 0}, Index, mustNotLoad)
	require.NoError(t, err)
	again.Release()
	kept.Release()
	st := c.Stats()
	require.EqualValues(t, 321-32, st.Evictions[Index])
	require.EqualValues(t, 32*BlockSize, st.Bytes[Index])
}

// TestAllPinnedGoesAround shows that a cache full of pins still gives blocks, counts them, and recovers.
func TestAllPinnedGoesAround(t *testing.T) {
	c := newCache(t, 16)
	file := NewFile()
	var pins []Pin
	for b := range uint32(20) {
		pins = append(pins, get(t, c, Key{file, b}))
	}
	st := c.Stats()
	require.EqualValues(t, 4, st.Bypasses[Index])
	require.EqualValues(t, 4*BlockSize, st.Bypassed)
	require.EqualValues(t, st.Limit, st.Bytes[Index])
	require.Equal(t, 20, c.Pinned())
	b := make([]byte, BlockSize)
	require.NoError(t, c.Add(Key{file, 100}, Index, b))
	_, ok := c.TryGet(Key{file, 100})
	require.False(t, ok)
	for b, p := range pins {
		require.True(t, whole(Key{file, uint32(b)}, p.Bytes()))
		p.Release()
	}
	require.Zero(t, c.Stats().Bypassed)
	get(t, c, Key{file, 50}).Release()
	require.EqualValues(t, 5, c.Stats().Bypasses[Index], "Add went around too")
}

func TestForgetKeepsWhatIsPinned(t *testing.T) {
	c := newCache(t, 16)
	a, b := NewFile(), NewFile()
	for n := range uint32(5) {
		get(t, c, Key{a, n}).Release()
		get(t, c, Key{b, n}).Release()
	}
	p := get(t, c, Key{a, 3})
	c.Forget(a)
	check(t, c)
	for n := range uint32(5) {
		_, ok := c.TryGet(Key{a, n})
		require.False(t, ok)
		q, ok := c.TryGet(Key{b, n})
		require.True(t, ok)
		q.Release()
	}
	require.Equal(t, 1, c.Pinned())
	for n := range uint32(40) {
		get(t, c, Key{b, n + 10}).Release()
	}
	require.True(t, whole(Key{a, 3}, p.Bytes()))
	p.Release()
	require.Zero(t, c.Pinned())
	require.EqualValues(t, 15*BlockSize, c.Stats().Bytes[Index])
	get(t, c, Key{b, 100}).Release()
	require.EqualValues(t, 16*BlockSize, c.Stats().Bytes[Index], "the slot is used again")
}

// TestForgottenWhileLoading shows that a load on its way when its file is forgotten serves those who wait,
// and leaves nothing.
func TestForgottenWhileLoading(t *testing.T) {
	c := newCache(t, 16)
	k := Key{NewFile(), 1}
	p, err := c.Get(t.Context(), k, Index, func(_ context.Context, dst []byte) error {
		c.Forget(k.File)
		fill(k, dst)
		return nil
	})
	require.NoError(t, err)
	require.True(t, whole(k, p.Bytes()))
	_, ok := c.TryGet(k)
	require.False(t, ok)
	p.Release()
	require.Zero(t, c.busy.Load())
}

// TestOneLoads shows that of many who want a block one loads and all get it.
func TestOneLoads(t *testing.T) {
	for _, full := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			c := newCache(t, 16)
			if full {
				for b := range uint32(16) {
					defer get(t, c, Key{1 << 60, b}).Release()
				}
			}
			k := Key{NewFile(), 1}
			var loads atomic.Int32
			goOn := make(chan struct{})
			got := make(chan error, 8)
			for range 8 {
				go func() {
					p, err := c.Get(context.Background(), k, Summary, func(_ context.Context, dst []byte) error {
						loads.Add(1)
						<-goOn
						fill(k, dst)
						return nil
					})
					if err == nil && !whole(k, p.Bytes()) {
						err = errors.New("wrong bytes")
					}
					p.Release()
					got <- err
				}()
			}
			synctest.Wait()
			close(goOn)
			for range 8 {
				require.NoError(t, <-got)
			}
			require.EqualValues(t, 1, loads.Load())
			require.EqualValues(t, 7, c.Stats().Waits[Summary])
			require.Zero(t, c.Stats().Bypassed)
		})
	}
}

// TestFailureIsTheLoadersOwn shows that a loader that fails, is cancelled or panics fails nobody else.
func TestFailureIsTheLoadersOwn(t *testing.T) {
	faults := map[string]func(context.Context) error{
		"error":  func(context.Context) error { return errors.New("no such luck") },
		"cancel": func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
		"panic":  func(context.Context) error { panic("no such luck") },
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCache(t, 16)
				k := Key{NewFile(), 1}
				ctx, cancel := context.WithCancel(context.Background())
				leading, goOn := make(chan struct{}), make(chan struct{})
				first := make(chan error, 1)
				go func() {
					defer func() {
						if r := recover(); r != nil {
							first <- fmt.Errorf("panic: %v", r)
						}
					}()
					p, err := c.Get(ctx, k, Index, func(ctx context.Context, dst []byte) error {
						close(leading)
						<-goOn
						return fault(ctx)
					})
					p.Release()
					first <- err
				}()
				<-leading
				var loads atomic.Int32
				others := make(chan error, 4)
				for range 4 {
					go func() {
						p, err := c.Get(context.Background(), k, Index, func(_ context.Context, dst []byte) error {
							loads.Add(1)
							fill(k, dst)
							return nil
						})
						if err == nil && !whole(k, p.Bytes()) {
							err = errors.New("wrong bytes")
						}
						p.Release()
						others <- err
					}()
				}
				synctest.Wait()
				close(goOn)
				cancel()
				require.Error(t, <-first)
				for range 4 {
					require.NoError(t, <-others)
				}
				require.EqualValues(t, 1, loads.Load())
				require.EqualValues(t, 1, c.Stats().Failures[Index])
			})
		})
	}
}

// TestWaiterGivesUp shows that a context ends the wait for another one's load, and the load goes on.
func TestWaiterGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t, 16)
		k := Key{NewFile(), 1}
		goOn := make(chan struct{})
		first := make(chan error, 1)
		go func() {
			p, err := c.Get(context.Background(), k, Index, func(_ context.Context, dst []byte) error {
				<-goOn
				fill(k, dst)
				return nil
			})
			p.Release()
			first <- err
		}()
		synctest.Wait()
		ctx, cancel := context.WithCancel(context.Background())
		second := make(chan error, 1)
		go func() {
			_, err := c.Get(ctx, k, Index, mustNotLoad)
			second <- err
		}()
		synctest.Wait()
		cancel()
		require.ErrorIs(t, <-second, context.Canceled)
		close(goOn)
		require.NoError(t, <-first)
		_, err := c.Get(ctx, Key{k.File, 2}, Index, mustNotLoad)
		require.ErrorIs(t, err, context.Canceled)
	})
}

func TestCloseWaitsForPins(t *testing.T) {
	before := offheap.InUse()
	c, err := New(Options{Bytes: MinBytes})
	require.NoError(t, err)
	k := Key{NewFile(), 1}
	p := get(t, c, k)
	require.ErrorContains(t, c.Close(), "1 blocks are pinned")
	require.True(t, whole(k, p.Bytes()))
	require.Greater(t, offheap.InUse(), before)
	_, err = c.Get(t.Context(), k, Index, loader(k))
	require.ErrorIs(t, err, ErrClosed)
	require.ErrorIs(t, c.Add(k, Index, make([]byte, BlockSize)), ErrClosed)
	_, ok := c.TryGet(k)
	require.False(t, ok)
	c.Forget(k.File)
	p.Release()
	require.Equal(t, before, offheap.InUse())
	require.NoError(t, c.Close())
}

func TestClosedWhileLoading(t *testing.T) {
	before := offheap.InUse()
	c, err := New(Options{Bytes: MinBytes})
	require.NoError(t, err)
	_, err = c.Get(t.Context(), Key{1, 1}, Index, func(context.Context, []byte) error {
		require.Error(t, c.Close())
		return nil
	})
	require.ErrorIs(t, err, ErrClosed)
	require.Equal(t, before, offheap.InUse())
}

func TestReleasedTooOften(t *testing.T) {
	c, err := New(Options{Bytes: MinBytes})
	require.NoError(t, err)
	p := get(t, c, Key{1, 1})
	p.Release()
	require.Panics(t, p.Release)
}

func TestKindNames(t *testing.T) {
	require.Equal(t, "index summary checksums kind3", fmt.Sprintf("%v %v %v %v", Index, Summary, Checksums, Kinds))
}
