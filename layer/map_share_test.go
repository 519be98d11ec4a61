package layer

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
)

// blocks are the allocations that a version of a map consists of: their sizes by their addresses.
type blocks map[unsafe.Pointer]int

func addBlock[T any](b blocks, s []T) {
	if cap(s) > 0 {
		b[unsafe.Pointer(unsafe.SliceData(s))] = cap(s) * int(unsafe.Sizeof(s[0]))
	}
}

func (b blocks) leaf(l *leaf) {
	addBlock(b, l.ents)
	addBlock(b, l.words)
}

func (b blocks) stack(s *stack) {
	b.leaf(&s.leaf)
	addBlock(b, s.kids)
	for i := range s.kids {
		b.stack(&s.kids[i])
	}
}

func (b blocks) node(n *mapNode) {
	b.leaf(&n.bucket)
	addBlock(b, n.cells)
	addBlock(b, n.kids)
	for i := range n.cells {
		b.stack(&n.cells[i])
	}
	for i := range n.kids {
		b.node(&n.kids[i])
	}
}

func blocksOf(m *Map) blocks {
	b := blocks{}
	b.node(&m.images)
	b.node(&m.deltas)
	b.stack(&m.l0.s)
	return b
}

// bytes gives the size of what is not in other.
func (b blocks) bytes(other blocks) (n int) {
	for at, size := range b {
		if _, ok := other[at]; !ok {
			n += size
		}
	}
	return n
}

// Two versions that differ in one layer share all but the path to it, in maps of any shape, the real ones too;
// and no version holds more than 200 bytes a layer.
func TestVersionsShareWhatIsEqual(t *testing.T) {
	const limit = 64 << 10
	all := shapes(20_000)
	for _, name := range []string{"odd-brook", "large-layer-map"} {
		t.Run(name, func(t *testing.T) { checkSharing(t, realLayers(t, name), limit) })
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		t.Run(name, func(t *testing.T) { checkSharing(t, all[name], limit) })
	}
}

func checkSharing(t *testing.T, ds []Desc, limit int) {
	m, err := NewMap(ds)
	require.NoError(t, err)
	old, most := blocksOf(m), 0
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 10 {
		d := ds[rnd.IntN(len(ds))]
		n, err := m.Apply(nil, []Desc{d})
		require.NoError(t, err)
		own := blocksOf(n).bytes(old)
		require.NotZero(t, own)
		most = max(most, own)
	}
	whole := old.bytes(nil)
	require.LessOrEqual(t, most, limit)
	require.LessOrEqual(t, whole, 200*len(ds))
	t.Logf("%d layers of %.1f bytes; of %d KiB a version that lacks one has at most %.1f KiB of its own",
		len(ds), float64(whole)/float64(len(ds)), whole>>10, float64(most)/1024)
}
