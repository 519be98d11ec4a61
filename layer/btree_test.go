package layer

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stratapg/strata/cache"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

type treePair struct {
	key   []byte
	value uint64
}

func readPairs(t *testing.T, name string) (out []treePair) {
	f, err := os.Open(fixture(t, name))
	require.NoError(t, err)
	defer f.Close()
	sc := bufio.NewScanner(f)
	for sc.Scan() {
		k, v, ok := strings.Cut(sc.Text(), " ")
		require.True(t, ok, sc.Text())
		key, err := hex.DecodeString(k)
		require.NoError(t, err)
		value, err := strconv.ParseUint(v, 16, 64)
		require.NoError(t, err)
		out = append(out, treePair{key, value})
	}
	require.NoError(t, sc.Err())
	return out
}

// spread are the keys u32 BE (i*2000000) and zeros.
func spread(keyLen int) (out []treePair) {
	for i := range 2000 {
		key := binary.BigEndian.AppendUint32(nil, uint32(i*2000000))
		out = append(out, treePair{append(key, make([]byte, keyLen-4)...), uint64(i)})
	}
	return out
}

func newTestTree(t require.TestingT, keyLen int) *treeBuilder {
	return newTreeBuilder(keyLen, newBlockList(diskFor(t, virtualfile.NewMem()), "/tree", &WriterOptions{}))
}

func buildTree(t require.TestingT, pairs []treePair) (blocks []byte, root uint32) {
	b := newTestTree(t, len(pairs[0].key))
	defer b.blocks.release()
	for _, p := range pairs {
		require.NoError(t, b.append(p.key, p.value))
	}
	root, err := b.finish()
	require.NoError(t, err)
	require.NoError(t, b.blocks.each(context.Background(), func(p []byte) error { blocks = append(blocks, p...); return nil }))
	return blocks, root
}

// The hashes are those of trees that Neon's own builder gave.
func TestTreeEqualsNeons(t *testing.T) {
	var odd, blocks []treePair
	for i := range uint64(1000) {
		odd = append(odd, treePair{binary.BigEndian.AppendUint64(nil, 2*i+1), i})
	}
	rel := page.RelTag{Spc: 1663, DB: 5, Rel: 16384}
	for i := range uint32(20000) {
		blocks = append(blocks, treePair{rel.Block(i).Append(nil), 8192 + 8196*uint64(i)})
	}
	for _, c := range []struct {
		name  string
		pairs func(t *testing.T) []treePair
		root  uint32
		sum   string
	}{
		{"particular data", func(t *testing.T) []treePair { return readPairs(t, "disk-btree/particular-data.txt") }, 4,
			"efdf5219bff984a70d4dd22db4349a238b498e8192848bb7538a160affdf8aa5"},
		{"basic", func(t *testing.T) []treePair { return readPairs(t, "disk-btree/basic.txt") }, 0,
			"c282b987f7edfc4b04f305429fd66d2f92a41099ac17ad85d9e5c18f66071b7d"},
		{"odd numbers", func(*testing.T) []treePair { return odd }, 0,
			"a38e9a0fa6023d881a7c4d5c865ed994560cbaf73df957f8cfb571c4eea4ece1"},
		{"blocks of a relation", func(*testing.T) []treePair { return blocks }, 18,
			"380a0c27df08bb5b248838db8722d44334f41407b8211f314d016a6bb895102a"},
		{"spread 18", func(*testing.T) []treePair { return spread(18) }, 6,
			"99f8355c03ee4f73fd665f9183d56262a8d94e38708b752a32def57ea4d5e020"},
		{"spread 26", func(*testing.T) []treePair { return spread(26) }, 8,
			"5dee316dceba042e15e74cb91b568a743709c5c9d4dd40fe1ac4bd2ef44015d1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, root := buildTree(t, c.pairs(t))
			require.Equal(t, c.root, root)
			require.Len(t, got, int(root+1)*blockSize)
			require.Equal(t, c.sum, fmt.Sprintf("%x", sha256.Sum256(got)))
		})
	}
}

// memBlocks reads a tree from memory.
type memBlocks []byte

func (m memBlocks) block(_ context.Context, n uint32) ([]byte, cache.Pin, error) {
	if uint64(n) >= uint64(len(m)/blockSize) {
		return nil, cache.Pin{}, m.corrupt(n, "beyond the end")
	}
	return m[int(n)*blockSize : (int(n)+1)*blockSize], cache.Pin{}, nil
}

func (m memBlocks) corrupt(n uint32, format string, args ...any) error {
	return corruptf("memory", int64(n)*blockSize, format, args...)
}

func TestTreeSearchFindsWhatAModelFinds(t *testing.T) {
	ctx := context.Background()
	rapid.Check(t, func(t *rapid.T) {
		keyLen := rapid.SampledFrom([]int{2, 8, 18, 26}).Draw(t, "keyLen")
		n := rapid.IntRange(1, 3000).Draw(t, "n")
		step := rapid.Uint64Range(1, 15).Draw(t, "step")
		if keyLen == 2 {
			step = 1
		}
		shift := rapid.SampledFrom([]int{0, 20}).Draw(t, "shift")
		var pairs []treePair
		at := uint64(0)
		for i := range n {
			at += 1 + uint64(i)*7919%step
			key := make([]byte, keyLen)
			if keyLen == 2 {
				binary.BigEndian.PutUint16(key, uint16(at))
			} else {
				binary.BigEndian.PutUint64(key[keyLen-8:], at<<shift)
			}
			pairs = append(pairs, treePair{key, uint64(i)})
		}
		blocks, root := buildTree(t, pairs)
		var c treeCursor
		c.init(memBlocks(blocks), root, keyLen)
		for range 20 {
			from := rapid.IntRange(0, n-1).Draw(t, "from")
			key := bytes.Clone(pairs[from].key)
			if rapid.Bool().Draw(t, "below") && from > 0 {
				from-- // just above the entry before: the same answer as from+1
				key = append(bytes.Clone(pairs[from].key[:keyLen-1]), pairs[from].key[keyLen-1]+1)
				from++
				if bytes.Compare(key, pairs[from-1].key) <= 0 {
					continue
				}
			}
			require.NoError(t, c.seek(ctx, key))
			for i := from; i < min(n, from+rapid.IntRange(0, 800).Draw(t, "run")); i++ {
				k, v, ok, err := c.next(ctx)
				require.NoError(t, err)
				require.True(t, ok)
				require.Equal(t, pairs[i].key, k)
				require.Equal(t, pairs[i].value, v)
			}
		}
		above := bytes.Repeat([]byte{0xFF}, keyLen)
		require.NoError(t, c.seek(ctx, above))
		for range 2 {
			_, _, ok, err := c.next(ctx)
			require.NoError(t, err)
			require.False(t, ok)
		}
	})
}

func TestTreeSearchAllocatesNothing(t *testing.T) {
	ctx := context.Background()
	pairs := spread(26)
	blocks, root := buildTree(t, pairs)
	var src blockReader = memBlocks(blocks)
	var c treeCursor
	i := 0
	require.Zero(t, testing.AllocsPerRun(100, func() {
		c.init(src, root, 26)
		if c.seek(ctx, pairs[i%len(pairs)].key) != nil {
			t.Fail()
		}
		if _, v, ok, err := c.next(ctx); !ok || err != nil || v != uint64(i%len(pairs)) {
			t.Fail()
		}
		i += 37
	}))
}

func TestTreeRefusesWhatCannotBeStored(t *testing.T) {
	b := newTestTree(t, 2)
	require.NoError(t, b.append([]byte{0, 1}, 1))
	require.ErrorIs(t, b.append([]byte{0, 1}, 1), errTreeOrder)
	require.ErrorIs(t, b.append([]byte{0, 0}, 1), errTreeOrder)
	require.Error(t, b.append([]byte{0, 2}, maxTreeValue+1))
	require.Error(t, b.append([]byte{0}, 1))
	_, err := newTestTree(t, 2).finish()
	require.Error(t, err)
}

// Every byte of a small tree is damaged in several ways: a walk must end, with an error or in order.
func TestTreeWalkEndsOnDamagedBlocks(t *testing.T) {
	ctx := context.Background()
	pairs := spread(18)
	blocks, root := buildTree(t, pairs)
	for blk := 0; blk <= int(root); blk++ {
		for off := 0; off < 64; off += testkit.Size(3, 1, 1) {
			for _, flip := range []byte{0x01, 0x80, 0xFF} {
				bad := bytes.Clone(blocks)
				bad[blk*blockSize+off] ^= flip
				var c treeCursor
				c.init(memBlocks(bad), root, 18)
				if err := c.seek(ctx, make([]byte, 18)); err != nil {
					require.ErrorIs(t, err, ErrCorrupt)
					continue
				}
				for n := 0; ; n++ {
					_, _, ok, err := c.next(ctx)
					if err != nil {
						require.ErrorIs(t, err, ErrCorrupt)
						break
					}
					if !ok {
						break
					}
					if n == 1<<20 {
						t.Fatal("no end")
					}
				}
			}
		}
	}
}
