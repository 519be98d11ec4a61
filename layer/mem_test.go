package layer

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stratapg/strata/page"
)

func TestMemEqualsAMap(t *testing.T) {
	type at struct {
		key page.Key
		lsn page.LSN
	}
	rapid.Check(t, func(t *rapid.T) {
		m := NewMem(0x10, nil)
		want := map[at]string{}
		lsn := page.LSN(0x10)
		for range rapid.IntRange(0, 20).Draw(t, "batches") {
			var b page.Batch
			lsn += 8
			for range rapid.IntRange(0, 30).Draw(t, "values") {
				// Also backwards within a batch, and the same place twice.
				l := lsn + 8*page.LSN(rapid.IntRange(0, 3).Draw(t, "lsn"))
				k := page.Key{F1: uint8(rapid.IntRange(0, 1).Draw(t, "f1")), F6: uint32(rapid.IntRange(0, 40).Draw(t, "f6"))}
				v := fmt.Sprint(len(want), " ", rapid.IntRange(0, 1<<20).Draw(t, "v"))
				b.PutImage(k, l, []byte(v))
				want[at{k, l}] = v
			}
			lsn += 24
			require.NoError(t, m.Put(context.Background(), &b))
		}
		got := map[at]string{}
		var last at
		require.NoError(t, m.Iterate(context.Background(), func(k page.Key, l page.LSN, willInit bool, value []byte) error {
			c := last.key.Compare(k)
			require.True(t, len(got) == 0 || c < 0 || c == 0 && last.lsn < l, "ascending")
			last = at{k, l}
			v, err := page.DecodeValue(value)
			require.NoError(t, err)
			require.True(t, willInit)
			got[last] = string(v.Bytes)
			return nil
		}))
		require.Equal(t, want, got)
		for range 5 {
			k := page.Key{F1: uint8(rapid.IntRange(0, 1).Draw(t, "f1")), F6: uint32(rapid.IntRange(0, 41).Draw(t, "f6"))}
			leaf, i := m.mu.keys.seek(k)
			if i == leaf.n {
				leaf, i = m.mu.keys.nextLeaf(leaf), 0
			}
			for a := range want {
				if leaf == nil {
					require.True(t, a.key.Less(k))
				} else {
					require.False(t, !a.key.Less(k) && a.key.Less(leaf.keys[i]), "seek passed a key")
				}
			}
		}
	})
}

func TestMemRefuses(t *testing.T) {
	m := NewMem(0x20, nil)
	var b page.Batch
	b.PutImage(page.Key{}, 0x18, nil)
	require.ErrorContains(t, m.Put(context.Background(), &b), "below the in-memory layer's start")
	require.Zero(t, m.Len())
	m.Freeze(0x29)
	require.Equal(t, page.LSNRange{Start: 0x20, End: 0x29}, m.LSNs())
	require.ErrorIs(t, m.Put(context.Background(), &b), ErrFrozen)
}

func TestMemKeepsLargeAndEmptyValues(t *testing.T) {
	m := NewMem(1, nil)
	sizes := []int{0, 0, 1, valueChunk/4 + 1, valueChunk, 3 * valueChunk, valueChunk / 4, 0, 100}
	for i, n := range sizes {
		m.putLocked(page.Key{F6: uint32(i)}, 8, true, make([]byte, n))
	}
	i := 0
	require.NoError(t, m.Iterate(context.Background(), func(k page.Key, _ page.LSN, _ bool, value []byte) error {
		require.Len(t, value, sizes[i])
		i++
		return nil
	}))
	require.Equal(t, len(sizes), i)
}

// Readers run beside the writer; each must see all that was put before it began.
func TestMemReadersSeeWhatWasPut(t *testing.T) {
	m := NewMem(8, nil)
	var done sync.WaitGroup
	const batches = 300
	steps := make(chan page.LSN, batches)
	for range 2 {
		done.Go(func() {
			for lsn := range steps {
				c := NewCollector(page.NewSet(page.Range{Start: modelKey(0), End: modelKey(1 << 20)}), lsn)
				if err := m.Collect(context.Background(), c, c.Keys(), page.LSNRange{Start: 8, End: lsn + 1}); err != nil {
					t.Error(err)
				}
				if uint64(c.Len()) != uint64(lsn/8)*10 {
					t.Errorf("at %s: %d keys", lsn, c.Len())
				}
				for k, f := range c.Results() {
					if binary.BigEndian.Uint32(f[0].Value[12:]) != k.F6 {
						t.Errorf("value of another key")
					}
				}
			}
		})
	}
	order := rand.New(rand.NewPCG(1, 2)).Perm(batches * 10)
	for i := range batches {
		var b page.Batch
		lsn := page.LSN(8 * (i + 1))
		for _, blk := range order[i*10 : i*10+10] {
			b.PutImage(modelKey(blk), lsn, binary.BigEndian.AppendUint32(nil, uint32(blk)))
		}
		require.NoError(t, m.Put(context.Background(), &b))
		steps <- lsn
	}
	close(steps)
	done.Wait()
}

// 100-byte values in batches of 1000, as a WAL stream brings them: some relations, hot and cold blocks.
func BenchmarkMemPut(bench *testing.B) {
	value := make([]byte, 100)
	for name, blocks := range map[string]int{"hot": 1 << 10, "cold": 1 << 20} {
		bench.Run(name, func(bench *testing.B) {
			rnd := rand.New(rand.NewPCG(1, 2))
			var b page.Batch
			m := NewMem(1, nil)
			lsn := page.LSN(8)
			bench.ReportAllocs()
			for i := 0; bench.Loop(); i++ {
				if b.Len() == 1000 {
					if m.Put(context.Background(), &b) != nil {
						bench.Fatal()
					}
					b.Reset()
				}
				if m.Size() > 256<<20 {
					m = NewMem(1, nil)
				}
				lsn += 8
				b.PutRecord(modelKey(rnd.IntN(blocks)), lsn, false, value)
			}
		})
	}
}

// Many keys in several orders, so that leaves and inner nodes split at either end and in the middle.
func TestMemTreeKeepsKeysInOrder(t *testing.T) {
	const n = 60_000
	orders := map[string]func(i int) int{
		"ascending":  func(i int) int { return i },
		"descending": func(i int) int { return n - 1 - i },
		"scattered":  func(i int) int { return i * 7919 % n }, // 7919 is prime and no factor of n
		"two heaps":  func(i int) int { return i/2 + i%2*n/2 },
	}
	for name, order := range orders {
		t.Run(name, func(t *testing.T) {
			var tree memTree
			for i := range n {
				head, isNew := tree.findOrAdd(modelKey(order(i)))
				require.True(t, isNew)
				*head = uint32(order(i) + 1)
			}
			for i := range n {
				head, isNew := tree.findOrAdd(modelKey(order(n - 1 - i)))
				require.False(t, isNew)
				require.EqualValues(t, order(n-1-i)+1, *head)
			}
			leaf, i := tree.seek(modelKey(0))
			for want := range n {
				if i == leaf.n {
					leaf, i = tree.nextLeaf(leaf), 0
				}
				require.Equal(t, modelKey(want), leaf.keys[i])
				i++
			}
			require.Equal(t, leaf.n, i)
			require.Nil(t, tree.nextLeaf(leaf))
		})
	}
}
