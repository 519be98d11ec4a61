//go:build !race

package offheap

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// BenchmarkRandomRead reads single bytes of a gigabyte, with the pages that Alloc asks for and with small ones.
func BenchmarkRandomRead(b *testing.B) {
	for _, pages := range []string{"huge", "small"} {
		b.Run(pages, func(b *testing.B) {
			const size = 1 << 30
			area, err := Alloc(size)
			require.NoError(b, err)
			defer Free(area)
			if pages == "small" {
				require.NoError(b, unix.Madvise(area, unix.MADV_NOHUGEPAGE))
			}
			touch(area)
			rng := rand.NewPCG(1, 1)
			sum := byte(0)
			for b.Loop() {
				sum += area[rng.Uint64()%size]
			}
			area[0] = sum
		})
	}
}

// BenchmarkAlloc is an area taken, touched at one place and given back.
func BenchmarkAlloc(b *testing.B) {
	for b.Loop() {
		area, err := Alloc(1 << 20)
		require.NoError(b, err)
		area[0] = 1
		Free(area)
	}
}
