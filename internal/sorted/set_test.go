package sorted_test

import (
	"cmp"
	"maps"
	"runtime"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stratapg/strata/internal/sorted"
)

type pair struct{ key, value int }

func byKey(a, b *pair) int { return cmp.Compare(a.key, b.key) }

// TestAgainstMap does the same to sets and to maps; clones of both must not change with them.
func TestAgainstMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		span := rapid.SampledFrom([]int{10, 1000}).Draw(t, "span")
		model := map[int]int{}
		var values []pair
		for i := range rapid.IntRange(0, span).Draw(t, "values") {
			model[i*3] = i
			values = append(values, pair{i * 3, i})
		}
		s, twice := sorted.Collect(byKey, values)
		require.Nil(t, twice)
		clone, was := s.Clone(), maps.Clone(model)
		same := func(s *sorted.Set[pair], model map[int]int) {
			require.Equal(t, len(model), s.Len())
			keys := slices.Sorted(maps.Keys(model))
			i := 0
			for p := range s.All() {
				require.Equal(t, pair{keys[i], model[keys[i]]}, *p)
				i++
			}
			require.Equal(t, len(keys), i)
		}
		for range rapid.IntRange(0, 400).Draw(t, "steps") {
			k := rapid.IntRange(0, 3*span).Draw(t, "key")
			switch rapid.IntRange(0, 4).Draw(t, "what") {
			case 0, 1:
				v := rapid.Int().Draw(t, "value")
				s.Put(pair{k, v})
				model[k] = v
			case 2, 3:
				_, there := model[k]
				require.Equal(t, there, s.Delete(&pair{key: k}))
				delete(model, k)
			default:
				v, there := model[k]
				p, ok := s.Find(&pair{key: k})
				require.Equal(t, there, ok)
				require.Equal(t, v, p.value)
			}
		}
		same(s, model)
		same(clone, was)
	})
}

// TestTwice: two that are the same are told of.
func TestTwice(t *testing.T) {
	_, twice := sorted.Collect(byKey, []pair{{1, 1}, {2, 2}, {1, 3}})
	require.NotNil(t, twice)
	require.Equal(t, 1, twice.key)
}

// TestMemory: a value takes little more than its size, whether it came with others or alone.
func TestMemory(t *testing.T) {
	const n, size = 100_000, 16
	grown := func(fill func() *sorted.Set[pair]) float64 {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		s := fill()
		runtime.GC()
		runtime.ReadMemStats(&after)
		require.Equal(t, n, s.Len())
		return float64(int64(after.HeapAlloc)-int64(before.HeapAlloc)) / n
	}
	require.Less(t, grown(func() *sorted.Set[pair] {
		values := make([]pair, n)
		for i := range values {
			values[i].key = i
		}
		s, _ := sorted.Collect(byKey, values)
		return s
	}), 1.1*size)
	require.Less(t, grown(func() *sorted.Set[pair] {
		s := sorted.New(byKey)
		for i := range n {
			s.Put(pair{i, i})
		}
		return s
	}), 1.1*size)
}
