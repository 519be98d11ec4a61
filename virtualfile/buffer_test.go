package virtualfile

import (
	"sync"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func newBuffers(poison bool, idle int64) *Buffers { return &Buffers{poison: poison, maxIdle: idle} }

// TestBufferClasses goes through all sizes: a buffer is aligned, holds what was asked for, and wastes at
// most a fifth.
func TestBufferClasses(t *testing.T) {
	last := -1
	for units := 1; units <= 1024; units++ {
		class, size := classOf(units * BufferAlign)
		require.GreaterOrEqual(t, size, units*BufferAlign)
		require.LessOrEqual(t, size*4, units*BufferAlign*5, units)
		require.GreaterOrEqual(t, class, last)
		require.LessOrEqual(t, class, last+1)
		last = class
		again, same := classOf(size)
		require.Equal(t, class, again)
		require.Equal(t, size, same)
	}
	require.Equal(t, bufferClasses-1, last)
	class, size := classOf(4<<20 + 1)
	require.Equal(t, -1, class)
	require.Equal(t, 4<<20+BufferAlign, size)
	class, size = classOf(0)
	require.Zero(t, class)
	require.Equal(t, BufferAlign, size)
}

func TestBufferIsAligned(t *testing.T) {
	p := newBuffers(true, 1<<20)
	defer p.close()
	for _, n := range []int{0, 1, 4096, 4097, 8196, 133120, 5 << 20} {
		b := p.Get(n)
		require.GreaterOrEqual(t, b.Len(), max(n, 1))
		require.Less(t, b.Len()-n, BufferAlign+1)
		require.Zero(t, b.Len()%BufferAlign)
		require.Zero(t, uintptr(unsafe.Pointer(&b.Bytes()[0]))%BufferAlign)
		b.Release()
	}
}

// TestBuffersModel holds the pool against a list: no memory has two owners, and the counters add up.
func TestBuffersModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const idle = 256 << 10
		largest := 5 << 20
		p := newBuffers(rapid.Bool().Draw(t, "poison"), idle)
		if p.poison {
			largest = 300_000 // filling takes its time
		}
		type owned struct {
			b      *Buffer
			owners int
			mark   byte
		}
		var out []owned
		mark := byte(0)
		t.Repeat(map[string]func(*rapid.T){
			"get": func(t *rapid.T) {
				n := rapid.OneOf(rapid.IntRange(0, 20_000), rapid.IntRange(0, largest)).Draw(t, "n")
				b := p.Get(n)
				mark++
				for _, i := range []int{0, b.Len() - 1} {
					b.Bytes()[i] = mark
				}
				out = append(out, owned{b, 1, mark})
			},
			"retain": func(t *rapid.T) {
				if len(out) > 0 {
					i := rapid.IntRange(0, len(out)-1).Draw(t, "i")
					out[i].b.Retain()
					out[i].owners++
				}
			},
			"release": func(t *rapid.T) {
				if len(out) > 0 {
					i := rapid.IntRange(0, len(out)-1).Draw(t, "i")
					out[i].b.Release()
					if out[i].owners--; out[i].owners == 0 {
						out = append(out[:i], out[i+1:]...)
					}
				}
			},
			"": func(t *rapid.T) {
				sum := 0
				for _, o := range out {
					sum += len(o.b.mem)
					require.Equal(t, o.mark, o.b.Bytes()[0])
					require.Equal(t, o.mark, o.b.Bytes()[o.b.Len()-1])
				}
				require.EqualValues(t, sum, p.inUse.Load())
				require.LessOrEqual(t, p.idle.Load(), int64(idle))
			},
		})
		p.close()
		for _, o := range out {
			for range o.owners {
				o.b.Release()
			}
		}
		require.Zero(t, p.inUse.Load())
		require.Zero(t, p.idle.Load())
	})
}

func TestBufferMisuseIsCaught(t *testing.T) {
	p := newBuffers(true, 1<<20)
	b := p.Get(4096)
	stale := b.Bytes()
	b.Release()
	require.Panics(t, b.Retain, "after the last release")
	b.refs.Store(0)
	require.Panics(t, b.Release, "twice")
	require.Nil(t, b.Bytes(), "a stale Buffer stays dead")
	require.Equal(t, poisoned, stale[:BufferAlign], "what was released is not read by mistake")
	stale[17] = 1
	require.PanicsWithValue(t, "virtualfile: a Buffer of 4096 bytes was written to after its last release",
		func() { p.Get(100) })
}

// TestBuffersIdleInTheLargestClassGoFirst keeps a burst of large buffers from crowding out the small ones.
func TestBuffersIdleInTheLargestClassGoFirst(t *testing.T) {
	p := newBuffers(false, 64<<10)
	defer p.close()
	small := p.Get(4096)
	var large []*Buffer
	for range 4 {
		large = append(large, p.Get(32<<10))
	}
	small.Release()
	for _, b := range large {
		b.Release()
	}
	require.EqualValues(t, 36<<10, p.idle.Load())
	allocs := p.allocs.Load()
	p.Get(4096).Release()
	p.Get(32 << 10).Release()
	require.Equal(t, allocs, p.allocs.Load(), "either is kept")
}

func TestBuffersConcurrent(t *testing.T) {
	p := newBuffers(true, 128<<10)
	defer p.close()
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 500 {
				b := p.Get((i*7919 + g*4096) % 40_000)
				b.Bytes()[0], b.Bytes()[b.Len()-1] = byte(g), byte(g)
				b.Retain()
				b.Release()
				if b.Bytes()[0] != byte(g) || b.Bytes()[b.Len()-1] != byte(g) {
					t.Error("two owners")
				}
				b.Release()
			}
		})
	}
	wg.Wait()
	require.Zero(t, p.inUse.Load())
}

func BenchmarkBuffer(b *testing.B) {
	p := newBuffers(false, 1<<20)
	defer p.close()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			p.Get(9000).Release()
		}
	})
}
