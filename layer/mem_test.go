package layer

import (
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	shares "github.com/stratapg/strata/internal/budget"
	"github.com/stratapg/strata/internal/offheap"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

// memPutRaw puts any bytes as a value.
func memPutRaw(t require.TestingT, m *Mem, k page.Key, lsn page.LSN, willInit bool, value []byte) {
	w := &m.writer
	for len(value) > len(w.tail.buf)-w.tail.used || !w.tail.open {
		place, err := m.putSlowly(context.Background(), value)
		require.NoError(t, err)
		if place != 0 {
			m.index([]page.BatchEntry{{Key: k, LSN: lsn, WillInit: willInit}}, []uint64{place})
			return
		}
	}
	place := placeOf(int64(w.tail.slot)<<m.mu.values.shift+int64(w.tail.used), len(value))
	w.tail.used += copy(w.tail.buf[w.tail.used:], value)
	m.index([]page.BatchEntry{{Key: k, LSN: lsn, WillInit: willInit}}, []uint64{place})
}

// memDisk is a Disk in memory, and a folder on it.
func memDisk(t require.TestingT, fs virtualfile.FS) *virtualfile.Disk {
	require.NoError(t, fs.MkdirAll("mem"))
	d, err := virtualfile.NewDisk(fs, virtualfile.DiskOptions{Validate: true})
	require.NoError(t, err)
	return d
}

func memPool(t require.TestingT, d *virtualfile.Disk, bytes int64, chunk int) *MemPool {
	share, err := shares.New(bytes).Share("mem", bytes)
	require.NoError(t, err)
	p, err := NewMemPool(MemPoolOptions{Disk: d, Dir: "mem", Budget: share, Chunk: chunk})
	require.NoError(t, err)
	return p
}

// memAt names a version.
type memAt struct {
	key page.Key
	lsn page.LSN
}

// memModel is what a layer must hold, by the payload of images.
type memModel map[memAt]string

// drawMemKey draws from few keys of several prefixes, so that some collide, and some from the ends of a field.
func drawMemKey(t *rapid.T) page.Key {
	k := page.Key{F1: uint8(rapid.IntRange(0, 1).Draw(t, "f1")), F4: uint32(rapid.IntRange(0, 2).Draw(t, "f4"))}
	k.F6 = uint32(rapid.IntRange(0, 40).Draw(t, "f6"))
	if rapid.IntRange(0, 9).Draw(t, "far") == 0 {
		k.F6 = -k.F6
	}
	return k
}

func drawMemRange(t *rapid.T) page.Range {
	r := page.Range{Start: drawMemKey(t)}
	switch rapid.IntRange(0, 3).Draw(t, "range") {
	case 0:
		r.End = r.Start.Next()
	case 1:
		r.End = r.Start.Add(uint32(rapid.IntRange(1, 3000).Draw(t, "width")))
	case 2:
		r = page.FullRange
	default:
		r.End = drawMemKey(t)
	}
	return r
}

// expect gives what a Collect of keys within lsns must give: images, so the newest of each key.
func (m memModel) expect(keys page.Set, lsns page.LSNRange) map[page.Key]string {
	newest := map[page.Key]page.LSN{}
	for a := range m {
		if keys.Contains(a.key) && lsns.Contains(a.lsn) {
			newest[a.key] = max(newest[a.key], a.lsn)
		}
	}
	out := map[page.Key]string{}
	for k, l := range newest {
		out[k] = m[memAt{k, l}]
	}
	return out
}

func collectImages(t require.TestingT, m *Mem, keys page.Set, lsns page.LSNRange) map[page.Key]string {
	c := NewCollector(keys, lsns.End-1)
	defer c.Release()
	require.NoError(t, m.Collect(context.Background(), c, keys, lsns))
	require.NoError(t, c.Fetch(context.Background()))
	out := map[page.Key]string{}
	for k, found := range c.Results() {
		require.Len(t, found, 1)
		require.NoError(t, found[0].Err)
		v, err := page.DecodeValue(found[0].Value)
		require.NoError(t, err)
		out[k] = string(v.Bytes)
	}
	return out
}

// iterateImages checks the order and gives all values.
func iterateImages(t require.TestingT, m *Mem) memModel {
	got := memModel{}
	var last memAt
	sizes := map[memAt]int{}
	var order []memAt
	require.NoError(t, m.Sizes(context.Background(), func(k page.Key, l page.LSN, size int) error {
		order = append(order, memAt{k, l})
		sizes[memAt{k, l}] = size
		return nil
	}))
	require.NoError(t, m.Iterate(context.Background(), func(k page.Key, l page.LSN, willInit bool, value []byte) error {
		c := last.key.Compare(k)
		require.True(t, len(got) == 0 || c < 0 || c == 0 && last.lsn < l, "ascending")
		last = memAt{k, l}
		v, err := page.DecodeValue(value)
		require.NoError(t, err)
		require.True(t, willInit)
		require.Equal(t, order[len(got)], last)
		require.Equal(t, sizes[last], len(value))
		got[last] = string(v.Bytes)
		return nil
	}))
	require.Len(t, order, len(got))
	return got
}

// Batches of random values, of all sizes, in memory or partly on disk: reads of ranges and the walk give what
// a map gives, and in the end nothing is left.
func TestMemEqualsAMap(t *testing.T) {
	inUse := offheap.InUse()
	rapid.Check(t, func(t *rapid.T) {
		fs := virtualfile.NewMem()
		d := memDisk(t, fs)
		var pool *MemPool
		if rapid.Bool().Draw(t, "pool") {
			pool = memPool(t, d, int64(rapid.IntRange(1, 1<<20).Draw(t, "budget")), 4096<<rapid.IntRange(0, 3).Draw(t, "chunk"))
		}
		m := NewMem(0x10, pool)
		want := memModel{}
		lsn := page.LSN(0x10)
		check := func() {
			keys := page.NewSet(drawMemRange(t), drawMemRange(t))
			lsns := page.LSNRange{Start: 0x10, End: lsn + 1}
			if rapid.Bool().Draw(t, "part") {
				lsns.Start += page.LSN(rapid.IntRange(0, 64).Draw(t, "from"))
			}
			require.Equal(t, want.expect(keys, lsns), collectImages(t, m, keys, lsns))
		}
		for range rapid.IntRange(0, 20).Draw(t, "batches") {
			var b page.Batch
			lsn += 8
			for range rapid.IntRange(0, 30).Draw(t, "values") {
				// Also backwards within a batch, and the same place twice.
				a := memAt{drawMemKey(t), lsn + 8*page.LSN(rapid.IntRange(0, 3).Draw(t, "lsn"))}
				size := rapid.SampledFrom([]int{0, 5, 5, 100, 100, 1000, 5000, 40000}).Draw(t, "size")
				v := fmt.Sprintf("%*d", size, len(want))
				b.PutImage(a.key, a.lsn, []byte(v))
				want[a] = v
			}
			lsn += 24
			require.NoError(t, m.Put(context.Background(), &b))
			if rapid.Bool().Draw(t, "read") {
				check()
			}
		}
		if rapid.Bool().Draw(t, "freeze") {
			m.Freeze(lsn + 1)
			require.ErrorIs(t, m.Put(context.Background(), new(page.Batch)), ErrFrozen)
		}
		check()
		got := iterateImages(t, m)
		require.Equal(t, len(want), len(got))
		require.True(t, maps.Equal(want, got))
		m.Release()
		if pool != nil {
			s := pool.Stats()
			require.Zero(t, s.Memory+s.Beyond+s.Spilled+s.Files)
			pool.Close()
			require.Zero(t, pool.o.Budget.Used())
		}
		names, err := fs.List("mem")
		require.NoError(t, err)
		require.Empty(t, names, "ephemeral files")
		require.NoError(t, d.Close())
	})
	require.Equal(t, inUse, offheap.InUse())
}

func TestMemRefuses(t *testing.T) {
	m := NewMem(0x20, nil)
	defer m.Release()
	var b page.Batch
	b.PutImage(page.Key{}, 0x18, nil)
	require.ErrorContains(t, m.Put(t.Context(), &b), "below the in-memory layer's start")
	require.Zero(t, m.Len())
	m.Freeze(0x29)
	require.Equal(t, page.LSNRange{Start: 0x20, End: 0x29}, m.LSNs())
	require.ErrorIs(t, m.Put(t.Context(), &b), ErrFrozen)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, m.Put(ctx, &b), context.Canceled)
}

// Values around the sizes at which a value gets memory of its own, and of several chunks.
func TestMemKeepsLargeAndEmptyValues(t *testing.T) {
	const chunk = defaultMemChunk
	inUse := offheap.InUse()
	m := NewMem(1, nil)
	sizes := []int{0, 0, 1, chunk/4 + 1, chunk, 3 * chunk, chunk / 4, 0, 100, firstMemChunk, firstMemChunk + 1}
	for i, n := range sizes {
		memPutRaw(t, m, page.Key{F6: uint32(i)}, 8, true, make([]byte, n))
	}
	i := 0
	require.NoError(t, m.Iterate(t.Context(), func(k page.Key, _ page.LSN, _ bool, value []byte) error {
		require.Len(t, value, sizes[i])
		i++
		return nil
	}))
	require.Equal(t, len(sizes), i)
	m.Release()
	require.Equal(t, inUse, offheap.InUse())
}

// Readers run beside the writer; each must see all that was put before it began, also while values go to disk.
func TestMemReadersSeeWhatWasPut(t *testing.T) {
	for name, budget := range map[string]int64{"memory": 1 << 30, "disk": 1} {
		t.Run(name, func(t *testing.T) {
			d := memDisk(t, virtualfile.NewMem())
			pool := memPool(t, d, budget, minMemChunk)
			m := NewMem(8, pool)
			const batches, perBatch, readers = 300, 10, 8
			var done sync.WaitGroup
			steps := make(chan page.LSN, batches*readers)
			for i := range readers {
				done.Go(func() {
					keys := page.NewSet(page.Range{Start: modelKey(0), End: modelKey(batches*perBatch + i%2<<20)})
					for lsn := range steps {
						checkPut(t, m, keys, lsn, perBatch)
					}
				})
			}
			order := rand.New(rand.NewPCG(1, 2)).Perm(batches * perBatch)
			for i := range batches {
				var b page.Batch
				lsn := page.LSN(8 * (i + 1))
				for _, blk := range order[i*perBatch : (i+1)*perBatch] {
					b.PutImage(modelKey(blk), lsn, binary.BigEndian.AppendUint32(nil, uint32(blk)))
				}
				require.NoError(t, m.Put(t.Context(), &b))
				for range i % 3 {
					steps <- lsn
				}
			}
			close(steps)
			done.Wait()
			require.Equal(t, budget == 1, pool.Stats().Written > 0)
			m.Release()
			pool.Close()
			require.NoError(t, d.Close())
		})
	}
}

func checkPut(t *testing.T, m *Mem, keys page.Set, lsn page.LSN, perBatch int) {
	c := NewCollector(keys, lsn)
	defer c.Release()
	if err := m.Collect(context.Background(), c, c.Keys(), page.LSNRange{Start: 8, End: lsn + 1}); err != nil {
		t.Error(err)
	}
	if err := c.Fetch(context.Background()); err != nil {
		t.Error(err)
	}
	if c.Len() != int(lsn/8)*perBatch {
		t.Errorf("at %s: %d keys", lsn, c.Len())
	}
	for k, f := range c.Results() {
		if f[0].Err != nil || binary.BigEndian.Uint32(f[0].Value[12:]) != k.F6 {
			t.Errorf("value of another key, or %v", f[0].Err)
		}
	}
}

// Chains: what a read of records finds, newest first down to one that initializes.
func TestMemCollectsChains(t *testing.T) {
	m := NewMem(8, nil)
	defer m.Release()
	var b page.Batch
	k := modelKey(7)
	for i, willInit := range []bool{false, true, false, false} {
		b.PutRecord(k, page.LSN(8*(i+1)), willInit, []byte{byte(i)})
	}
	b.PutRecord(k, 24, false, []byte{9}) // in place of what was there
	require.NoError(t, m.Put(t.Context(), &b))
	for end, want := range map[page.LSN][]byte{9: {0}, 17: {1}, 25: {9, 1}, 33: {3, 9, 1}, 99: {3, 9, 1}} {
		c := NewCollector(page.SetOfKeys(k), end-1)
		require.NoError(t, m.Collect(t.Context(), c, c.Keys(), page.LSNRange{Start: 8, End: end}))
		var got []byte
		for _, found := range c.Results() {
			for _, f := range found {
				v, err := page.DecodeValue(f.Value)
				require.NoError(t, err)
				got = append(got, v.Bytes...)
			}
		}
		require.Equal(t, want, got, "below %s", end)
		c.Release()
	}
}

// Many keys in several orders, so that slots split and bins are divided.
func TestMemSortsAndFinds(t *testing.T) {
	const n = 60_000
	keys := map[string]func(i int) uint32{
		"ascending":  func(i int) uint32 { return uint32(i) },
		"descending": func(i int) uint32 { return uint32(n - i) },
		"scattered":  func(i int) uint32 { return uint32(i) * 2654435761 }, // odd, so that all differ
		"two heaps":  func(i int) uint32 { return uint32(i/2 + i%2*n/2) },
		"crowded":    func(i int) uint32 { return uint32(i*7919%n) | uint32(i%1000/999)<<31 },
		"few":        func(i int) uint32 { return uint32(i*7919) % 3 },
	}
	for name, key := range keys {
		t.Run(name, func(t *testing.T) {
			m := NewMem(1, nil)
			defer m.Release()
			var want []memAt
			for i := range n {
				a := memAt{page.Key{F4: key(i) % 2, F6: key(i)}, page.LSN(i + 1)}
				memPutRaw(t, m, a.key, a.lsn, true, binary.BigEndian.AppendUint32(nil, uint32(i)))
				want = append(want, a)
			}
			slices.SortFunc(want, func(a, b memAt) int {
				if c := a.key.Compare(b.key); c != 0 {
					return c
				}
				return int(a.lsn) - int(b.lsn)
			})
			i := 0
			require.NoError(t, m.Iterate(t.Context(), func(k page.Key, lsn page.LSN, _ bool, value []byte) error {
				if want[i] != (memAt{k, lsn}) || page.LSN(binary.BigEndian.Uint32(value)+1) != lsn {
					t.Fatalf("%d: %v at %s", i, k, lsn)
				}
				i++
				return nil
			}))
			require.Equal(t, n, i)
			for i := range n {
				id, ok := m.mu.index.prefixes.find(page.Key{F4: key(i) % 2})
				require.True(t, ok)
				require.NotZero(t, m.mu.index.head(id, key(i)))
				if name != "few" {
					require.EqualValues(t, i+1, m.mu.index.head(id, key(i)))
				}
			}
		})
	}
}

// Where the bits that tell segments apart are used up, a segment grows instead of being split for ever.
func TestMemSlotsWithoutBits(t *testing.T) {
	var x memIndex
	x.arena.pool = new(MemPool)
	defer x.arena.release(x.arena.pool)
	x.slots.init(&x.arena)
	const tag = 0xABCDE5 << 8
	for id := range uint32(3 * segmentSlots) {
		g, s := x.slots.grow(&x.arena, tag|id&15)
		*s = memSlot{tag | id&15, id + 1}
		g.n++
	}
	found := map[uint32]bool{}
	for _, s := range x.slots.segment(tag).slots {
		found[s.id] = true
	}
	for id := range uint32(3 * segmentSlots) {
		require.True(t, found[id+1])
	}
	require.LessOrEqual(t, len(x.slots.dir), 1<<maxSlotDepth)
}
