package chunksum

import (
	"math/rand/v2"
	"testing"

	"github.com/cespare/xxhash/v2"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestEachIsXXH64 compares the sums of chunks of any length, at any address, with those of one chunk at a time.
func TestEachIsXXH64(t *testing.T) {
	const most = 4096
	mem := make([]byte, 16*most)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range mem {
		mem[i] = byte(r.Uint32())
	}
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.OneOf(rapid.IntRange(1, most), rapid.SampledFrom([]int{32, 64, 1024, most})).Draw(t, "size")
		n := rapid.IntRange(0, 13).Draw(t, "chunks")
		off := rapid.IntRange(0, 64).Draw(t, "off")
		b := mem[off : off+n*size : off+n*size]
		want := make([]uint64, n)
		for i := range want {
			want[i] = xxhash.Sum64(b[i*size : (i+1)*size])
		}
		got := make([]uint64, n)
		Each(got, b, size)
		require.Equal(t, want, got)
	})
}

// TestEachSeesEveryBit flips each bit of three chunks, which are taken together: one sum changes, and no other.
func TestEachSeesEveryBit(t *testing.T) {
	const size, n = 64, 3
	b := make([]byte, n*size)
	var want, got [n]uint64
	Each(want[:], b, size)
	for bit := range len(b) * 8 {
		b[bit/8] ^= 1 << (bit % 8)
		Each(got[:], b, size)
		for i := range got {
			require.Equal(t, bit/8/size == i, got[i] != want[i], "bit %d, sum %d", bit, i)
		}
		b[bit/8] ^= 1 << (bit % 8)
	}
}

func TestEachRefusesTooFewBytes(t *testing.T) {
	for n := 1; n <= 2*together; n++ {
		require.Panics(t, func() { Each(make([]uint64, n), make([]byte, n*stripe-1), stripe) })
	}
}

// BenchmarkEach takes the nine chunks in which a page lies, out of as much memory.
func BenchmarkEach(b *testing.B) {
	const size, n = 1024, 9
	for _, span := range []struct {
		name  string
		bytes int
	}{{"near", n * size}, {"far", 512 << 20}} {
		mem := make([]byte, span.bytes)
		for i := range mem {
			mem[i] = byte(i)
		}
		for _, way := range []struct {
			name string
			sums func(sums []uint64, b []byte)
		}{
			{"together", func(sums []uint64, b []byte) { Each(sums, b, size) }},
			{"alone", func(sums []uint64, b []byte) {
				for i := range sums {
					sums[i] = xxhash.Sum64(b[i*size : (i+1)*size])
				}
			}},
		} {
			b.Run(span.name+"/"+way.name, func(b *testing.B) {
				r := rand.New(rand.NewPCG(1, 2))
				var sums [n]uint64
				b.SetBytes(n * size)
				for b.Loop() {
					at := r.IntN(len(mem)-n*size+1) &^ 511
					way.sums(sums[:], mem[at:at+n*size])
				}
			})
		}
	}
}
