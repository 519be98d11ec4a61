package offheap

import (
	"bytes"
	"math"
	"math/rand/v2"
	"os"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAreaIsAlignedAndZero(t *testing.T) {
	before := InUse()
	sum := int64(0)
	var areas [][]byte
	for _, n := range []int{1, 511, os.Getpagesize() - 1, os.Getpagesize(), os.Getpagesize() + 1, 3 << 20, 33 << 20} {
		b, err := Alloc(n)
		require.NoError(t, err)
		require.Len(t, b, n)
		require.Equal(t, n, cap(b), "append must not run into what follows")
		require.Zero(t, address(b)%4096)
		require.Equal(t, n, bytes.Count(b, []byte{0}))
		b[0], b[n-1] = 1, 1
		sum += int64(n)
		require.Equal(t, before+sum, InUse())
		areas = append(areas, b)
	}
	for _, b := range areas {
		Free(b[:0])
	}
	require.Equal(t, before, InUse())
}

func TestSizesAreChecked(t *testing.T) {
	for _, n := range []int{0, -1, math.MinInt, MaxArea + 1, math.MaxInt} {
		_, err := Alloc(n)
		require.ErrorContains(t, err, "offheap: an area of")
	}
}

func TestFalseFreeIsCaught(t *testing.T) {
	Free(nil)
	b, err := Alloc(100)
	require.NoError(t, err)
	before := InUse()
	require.Panics(t, func() { Free(b[1:]) })
	require.Panics(t, func() { Free(b[:50:50]) })
	require.Panics(t, func() { Free(make([]byte, 100)) })
	require.Equal(t, before, InUse())
	b[99] = 1 // it is still there
	Free(b)
	require.Panics(t, func() { Free(b) })
}

func TestConcurrent(t *testing.T) {
	before := InUse()
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(g), 1))
			for range 100 {
				b, err := Alloc(rng.IntN(1<<16) + 1)
				if err != nil || b[0] != 0 || b[len(b)-1] != 0 {
					t.Errorf("not zero, or %v", err)
					return
				}
				b[0], b[len(b)-1] = 1, 1
				Free(b)
			}
		})
	}
	wg.Wait()
	require.Equal(t, before, InUse())
}
