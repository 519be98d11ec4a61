package layer

import (
	"bytes"
	"context"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// A cursor goes to and fro, and is compared with a position in a sorted slice.
func TestCursorGoesBothWays(t *testing.T) {
	ctx := context.Background()
	rapid.Check(t, func(t *rapid.T) {
		keyLen := rapid.SampledFrom([]int{18, 26}).Draw(t, "keyLen")
		// Spread keys share no prefix, so that nodes are small and the tree is high.
		shift := rapid.SampledFrom([]int{0, 24, 40}).Draw(t, "shift")
		var pairs []treePair
		for i := range rapid.IntRange(1, 6000).Draw(t, "n") {
			key := make([]byte, keyLen)
			binary.BigEndian.PutUint64(key, uint64(2*i+1)<<shift)
			key[keyLen-1] = byte(i)
			pairs = append(pairs, treePair{key, uint64(i)})
		}
		blocks, root := buildTree(t, pairs)
		var c treeCursor
		c.init(memBlocks(blocks), root, keyLen)
		at, sought := 0, false
		t.Repeat(map[string]func(*rapid.T){
			"seek": func(t *rapid.T) {
				i := rapid.IntRange(0, len(pairs)-1).Draw(t, "i")
				key := bytes.Clone(pairs[i].key)
				switch rapid.IntRange(0, 2).Draw(t, "where") {
				case 1:
					key[keyLen-2]++ // just above
				case 2:
					key = bytes.Repeat([]byte{rapid.SampledFrom([]byte{0, 0xFF}).Draw(t, "end")}, keyLen)
				}
				require.NoError(t, c.seek(ctx, key))
				at, _ = slices.BinarySearchFunc(pairs, key, func(p treePair, k []byte) int { return bytes.Compare(p.key, k) })
				sought = true
			},
			"steps": func(t *rapid.T) {
				if !sought {
					t.Skip("nowhere yet")
				}
				back := rapid.Bool().Draw(t, "back")
				for range rapid.SampledFrom([]int{1, 3, 1000}).Draw(t, "steps") {
					want := at
					step := c.next
					if back {
						want--
						step = c.prev
					}
					key, v, ok, err := step(ctx)
					require.NoError(t, err)
					if want < 0 || want >= len(pairs) {
						require.False(t, ok)
						return
					}
					require.True(t, ok)
					require.Equal(t, pairs[want].key, key)
					require.Equal(t, pairs[want].value, v)
					if at++; back {
						at = want
					}
				}
			},
			"peek": func(t *rapid.T) {
				if !sought {
					t.Skip("nowhere yet")
				}
				key, _, ok, err := c.peek(ctx)
				require.NoError(t, err)
				require.Equal(t, at < len(pairs), ok)
				if ok {
					require.Equal(t, pairs[at].key, key)
				}
			},
		})
	})
}

func TestCursorAllocatesNothingBackward(t *testing.T) {
	ctx := context.Background()
	pairs := spread(26)
	blocks, root := buildTree(t, pairs)
	var src blockReader = memBlocks(blocks)
	var c treeCursor
	require.Zero(t, testing.AllocsPerRun(100, func() {
		c.init(src, root, 26)
		if c.seek(ctx, pairs[len(pairs)-1].key) != nil {
			t.Fail()
		}
		for i := len(pairs) - 2; i >= 0; i-- {
			if _, v, ok, err := c.prev(ctx); !ok || err != nil || v != uint64(i) {
				t.Fail()
			}
		}
		c.release()
	}))
}

// walkDamaged goes through a tree of any blocks in both directions: it ends, in order or with an error.
func walkDamaged(t testing.TB, blocks []byte, keyLen int, from []byte) {
	if len(blocks) < blockSize {
		return
	}
	ctx := context.Background()
	root := uint32(len(blocks)/blockSize) - 1
	most := len(blocks) // more entries than fit
	for _, back := range []bool{false, true} {
		var c treeCursor
		c.init(memBlocks(blocks), root, keyLen)
		step := c.next
		if back {
			step = c.prev
		}
		err := c.seek(ctx, from)
		var last []byte
		for n := 0; err == nil; n++ {
			if n == most {
				t.Fatal("no end")
			}
			var key []byte
			var ok bool
			if key, _, ok, err = step(ctx); !ok {
				break
			}
			if last != nil && back != (bytes.Compare(key, last) < 0) {
				t.Fatalf("%x after %x: keys go one way", key, last)
			}
			last = append(last[:0], key...)
		}
		if err != nil {
			require.ErrorIs(t, err, ErrCorrupt)
		}
		c.release()
	}
}

// FuzzTree walks a tree of three levels with bytes changed: at each place of edits (offset, new byte), four
// bytes each.
func FuzzTree(f *testing.F) {
	good, root := buildTree(f, spread(26))
	f.Add([]byte{}, make([]byte, 26))
	for blk := range root + 1 {
		at := binary.BigEndian.AppendUint32(nil, blk*blockSize<<8|0xFF)
		f.Add(at, bytes.Repeat([]byte{0xFF}, 26))               // many entries
		f.Add([]byte{at[0], at[1], 2, 1}, make([]byte, 26))     // another level
		f.Add([]byte{at[0], at[1], 3, 0x10}, make([]byte, 26))  // another prefix
		f.Add([]byte{at[0], at[1], 40, 0x00}, make([]byte, 26)) // another key
	}
	f.Fuzz(func(t *testing.T, edits, from []byte) {
		b := bytes.Clone(good)
		for ; len(edits) >= 4; edits = edits[4:] {
			at := int(edits[0])<<16 | int(edits[1])<<8 | int(edits[2])
			b[at%len(b)] = edits[3]
		}
		from = append(from, make([]byte, 26)...)[:26]
		walkDamaged(t, b, 26, from)
	})
}
