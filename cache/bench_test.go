package cache

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// spread runs a benchmark's operations in so many goroutines; each has its own random numbers.
func spread(b *testing.B, goroutines int, op func(rng *rand.PCG)) {
	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			rng := rand.NewPCG(uint64(g), 1)
			for range b.N / goroutines {
				op(rng)
			}
		})
	}
	wg.Wait()
}

// BenchmarkHit gets and releases blocks that are there: always the same one, the index blocks of a small
// store, and of one that exceeds every processor cache.
func BenchmarkHit(b *testing.B) {
	for _, blocks := range []uint64{1, 1024, 128 << 10} {
		c := newCache(b, int(blocks)*2+minSlots)
		for n := range blocks {
			get(b, c, Key{1, uint32(n)}).Release()
		}
		for _, goroutines := range []int{1, 2} {
			b.Run(fmt.Sprintf("blocks=%d/goroutines=%d", blocks, goroutines), func(b *testing.B) {
				ctx := context.Background()
				var loads atomic.Int64
				spread(b, goroutines, func(rng *rand.PCG) {
					k := Key{1, uint32(rng.Uint64() % blocks)}
					p, err := c.Get(ctx, k, Index, func(_ context.Context, dst []byte) error {
						loads.Add(1)
						fill(k, dst)
						return nil
					})
					if err != nil {
						return
					}
					p.Release()
				})
				require.Zero(b, loads.Load())
			})
		}
	}
}

// BenchmarkHitRead is BenchmarkHit on the largest, with the first bytes of the block read.
func BenchmarkHitRead(b *testing.B) {
	const blocks = 128 << 10
	c := newCache(b, blocks*2)
	for n := range uint32(blocks) {
		get(b, c, Key{1, n}).Release()
	}
	sum := 0
	spread(b, 1, func(rng *rand.PCG) {
		if p, ok := c.TryGet(Key{1, uint32(rng.Uint64() % blocks)}); ok {
			sum += int(p.Bytes()[rng.Uint64()%BlockSize])
			p.Release()
		}
	})
}

// BenchmarkMiss is what a miss costs beside its load, with a block leaving for each that comes.
func BenchmarkMiss(b *testing.B) {
	for _, goroutines := range []int{1, 2} {
		b.Run(fmt.Sprintf("goroutines=%d", goroutines), func(b *testing.B) {
			c := newCache(b, 4096)
			ctx := context.Background()
			var next atomic.Uint64
			load := func(context.Context, []byte) error { return nil }
			spread(b, goroutines, func(*rand.PCG) {
				n := next.Add(1)
				if p, err := c.Get(ctx, Key{n >> 7, uint32(n & 127)}, Index, load); err == nil {
					p.Release()
				}
			})
		})
	}
}

// BenchmarkForget is Forget of a file with one block, beside many others.
func BenchmarkForget(b *testing.B) {
	c := newCache(b, 128<<10)
	for n := range uint64(100 << 10) {
		get(b, c, Key{n / 64, uint32(n % 64)}).Release()
	}
	for n := uint64(1 << 40); b.Loop(); n++ {
		get(b, c, Key{n, 0}).Release()
		c.Forget(n)
	}
}
