package workload

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestWeights compares the integer powers with the mathematical ones.
func TestWeights(t *testing.T) {
	for _, theta := range []int{500, 990, 1200} {
		for _, rank := range []uint64{1, 2, 3, 10, 127, 1000, 54321, 10_000_000} {
			want := math.Exp2(weightShift) / math.Pow(float64(rank), float64(theta)/1000)
			require.InEpsilon(t, want, float64(weight(rank, theta)), 1e-4, "rank %d, theta %d", rank, theta)
		}
	}
}

// TestZipf compares how often ranks are drawn with their weights.
func TestZipf(t *testing.T) {
	const n, draws = 100_000, 2_000_000
	z := newZipf(n, 990, false)
	total := 0.0
	for i := 1; i <= n; i++ {
		total += math.Pow(float64(i), -0.99)
	}
	r := NewRand(1, "zipf")
	seen := make([]int, n)
	for range draws {
		seen[z.next(r)]++
	}
	for _, span := range [][2]int{{0, 1}, {1, 2}, {2, 10}, {10, 100}, {100, 1000}, {1000, 10_000}, {10_000, n}} {
		want, got := 0.0, 0
		for i := span[0]; i < span[1]; i++ {
			want += math.Pow(float64(i+1), -0.99) / total
			got += seen[i]
		}
		require.InEpsilon(t, want, float64(got)/draws, 0.02, "ranks %v", span)
	}
}

// TestScatter shows that scattered ranks are all keys, each once.
func TestScatter(t *testing.T) {
	z := newZipf(30_030, 990, true)
	seen := make(map[uint64]bool)
	for rank := range uint64(30_030) {
		seen[rank*z.step%z.n] = true
	}
	require.Len(t, seen, 30_030)
}
