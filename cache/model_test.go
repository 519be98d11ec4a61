package cache

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestModel runs random gets, pins, releases, additions and forgettings beside a set of keys that are held:
// what is pinned has its own bytes to the end, what is forgotten is gone, what is loaded was not there, and the
// cache never holds more than it may.
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		blocks := rapid.IntRange(16, 300).Draw(rt, "blocks")
		c, err := New(Options{Bytes: int64(blocks) * (BlockSize + metadata)})
		require.NoError(rt, err)
		runModel(rt, c, blocks)
		require.NoError(rt, c.Close())
	})
}

type held struct {
	k    Key
	p    Pin
	live bool // in the cache: neither beside it nor forgotten since
}

func runModel(rt *rapid.T, c *Blocks, blocks int) {
	const numFiles = 4
	key := rapid.Custom(func(t *rapid.T) Key {
		return Key{rapid.Uint64Range(1, numFiles).Draw(t, "file"), rapid.Uint32Range(0, uint32(blocks)).Draw(t, "block")}
	})
	var pins []held
	pinned := func(k Key) bool { // it must be in the cache then
		return slices.ContainsFunc(pins, func(h held) bool { return h.k == k && h.live })
	}
	release := func(at int) {
		h := pins[at]
		pins = slices.Delete(pins, at, at+1)
		if !whole(h.k, h.p.Bytes()) {
			rt.Fatalf("a pinned block of %v changed", h.k)
		}
		h.p.Release()
	}
	failed := errors.New("failed")
	for range rapid.IntRange(1, 300).Draw(rt, "steps") {
		switch op := rapid.IntRange(0, 19).Draw(rt, "op"); {
		case op < 12:
			k := key.Draw(rt, "get")
			fails := op == 0
			p, err := c.Get(context.Background(), k, Kind(k.File%3), func(_ context.Context, dst []byte) error {
				if pinned(k) {
					rt.Fatalf("%v is pinned and was loaded", k)
				}
				if fails {
					return failed
				}
				fill(k, dst)
				return nil
			})
			if err != nil {
				require.ErrorIs(rt, err, failed)
				require.True(rt, fails)
				continue
			}
			if !whole(k, p.Bytes()) {
				rt.Fatalf("wrong bytes for %v", k)
			}
			pins = append(pins, held{k, p, p.own == nil})
			if op > 3 {
				release(len(pins) - 1)
			}
		case op < 14 && len(pins) > 0:
			release(rapid.IntRange(0, len(pins)-1).Draw(rt, "release"))
		case op < 16:
			k := key.Draw(rt, "add")
			b := make([]byte, BlockSize)
			fill(k, b)
			require.NoError(rt, c.Add(k, Checksums, b))
		case op < 19:
			k := key.Draw(rt, "try")
			p, ok := c.TryGet(k)
			if !ok {
				require.False(rt, pinned(k))
				continue
			}
			require.True(rt, whole(k, p.Bytes()))
			p.Release()
		default:
			file := rapid.Uint64Range(1, numFiles).Draw(rt, "forget")
			c.Forget(file)
			for i := range pins {
				pins[i].live = pins[i].live && pins[i].k.File != file
			}
			require.False(rt, slices.ContainsFunc(c.held(), func(k Key) bool { return k.File == file }))
		}
		require.LessOrEqual(rt, len(c.held()), blocks)
	}
	for len(pins) > 0 {
		release(len(pins) - 1)
	}
	require.Zero(rt, c.Pinned())
	require.Zero(rt, c.Stats().Bypassed)
}

// held lists the keys of all live blocks.
func (c *Blocks) held() (keys []Key) {
	for i := range c.slots {
		if s := &c.slots[i]; s.state.Load()&closed == 0 {
			keys = append(keys, Key{s.file.Load(), s.block.Load()})
		}
	}
	return keys
}

// TestConcurrent runs everything at once on a small cache, from 16 goroutines: no block is other than its key
// says for as long as it is pinned, and in the end all is in order.
func TestConcurrent(t *testing.T) {
	for _, blocks := range []int{16, 64, 600} {
		c := newCache(t, blocks)
		var wg sync.WaitGroup
		for g := range 16 {
			wg.Go(func() {
				rng := rand.New(rand.NewPCG(uint64(g), uint64(blocks)))
				for range 400 {
					if err := randomStep(c, rng, blocks); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		require.LessOrEqual(t, c.Stats().Bytes[Index], c.Stats().Limit)
	}
}

func randomStep(c *Blocks, rng *rand.Rand, blocks int) error {
	// Squares make low blocks hot.
	k := Key{rng.Uint64N(3) + 1, uint32(rng.IntN(blocks)*rng.IntN(blocks)/blocks) * 2}
	fails := rng.IntN(10) == 0
	switch rng.IntN(20) {
	case 0:
		c.Forget(k.File)
		return nil
	case 1:
		b := make([]byte, BlockSize)
		fill(k, b)
		return c.Add(k, Index, b)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if rng.IntN(10) == 0 {
		cancel()
	}
	p, err := c.Get(ctx, k, Index, func(_ context.Context, dst []byte) error {
		fill(k, dst)
		if fails {
			clear(dst)
			return errFailed
		}
		return nil
	})
	if errors.Is(err, errFailed) || errors.Is(err, context.Canceled) {
		return nil
	}
	if err != nil {
		return err
	}
	defer p.Release()
	other, err := c.Get(context.Background(), Key{k.File, k.Block + 1}, Index, loader(Key{k.File, k.Block + 1}))
	if err != nil {
		return err
	}
	defer other.Release()
	if !whole(k, p.Bytes()) || !whole(Key{k.File, k.Block + 1}, other.Bytes()) {
		return errors.New("a pinned block has bytes of another")
	}
	return nil
}

var errFailed = errors.New("failed on purpose")

// FuzzOps reads operations from bytes, two each, on the smallest cache.
func FuzzOps(f *testing.F) {
	f.Add([]byte{0, 1, 64, 2, 128, 3, 192, 0})
	seq := make([]byte, 0, 200)
	for i := range 100 {
		seq = append(seq, byte(i*37), byte(i))
	}
	f.Add(seq)
	f.Fuzz(func(t *testing.T, ops []byte) {
		c := newCache(t, minSlots)
		var pins []held
		for ; len(ops) >= 2; ops = ops[2:] {
			k := Key{uint64(ops[0]&3) + 1, uint32(ops[1])}
			switch ops[0] >> 6 {
			case 0:
				get(t, c, k).Release()
			case 1:
				pins = append(pins, held{k: k, p: get(t, c, k)})
			case 2:
				if len(pins) > 0 {
					h := pins[0]
					pins = pins[1:]
					require.True(t, whole(h.k, h.p.Bytes()))
					h.p.Release()
				}
			case 3:
				c.Forget(k.File)
			}
		}
		for _, h := range pins {
			require.True(t, whole(h.k, h.p.Bytes()))
			h.p.Release()
		}
	})
}
