package layer

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stratapg/strata/page"
)

// append adds a key as it lies in a node.
func (t *treeBuilder) append(key []byte, value uint64) error {
	w := treeKeyOf(key)
	return t.add(&w, value)
}

// A key made of words is the bytes that it stands for: in order, whole, and cut at any place.
func TestTreeKeysAreTheirBytes(t *testing.T) {
	drawKey := func(t *rapid.T) (page.Key, page.LSN, []byte) {
		b := rapid.SliceOfN(rapid.Byte(), deltaKeyLen, deltaKeyLen).Draw(t, "key")
		return page.KeyFromBytes(b), page.LSN(binary.BigEndian.Uint64(b[page.KeySize:])), b
	}
	rapid.Check(t, func(t *rapid.T) {
		k, lsn, b := drawKey(t)
		key := deltaKey(&k, lsn)
		require.Equal(t, treeKeyOf(b), key)
		all := key.bytes()
		require.Equal(t, b, all[:deltaKeyLen])
		cut := rapid.IntRange(0, deltaKeyLen).Draw(t, "cut")
		var room [treeKeyBytes]byte
		key.putFrom(cut, room[:])
		require.Equal(t, b[cut:], room[:deltaKeyLen-cut])
		_, _, o := drawKey(t)
		copy(o, b[:cut]) // so that keys have a beginning in common
		ko, lo := page.KeyFromBytes(o), page.LSN(binary.BigEndian.Uint64(o[page.KeySize:]))
		other := deltaKey(&ko, lo)
		require.Equal(t, bytes.Compare(b, o) < 0, key.less(&other))
	})
}

// A node that is taken apart as a whole gives the keys and values that its accessors give.
func TestNodeTakenApart(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		keyLen := rapid.SampledFrom([]int{1, 8, page.KeySize, deltaKeyLen, treeKeyBytes}).Draw(t, "key length")
		p := rapid.IntRange(0, keyLen-1).Draw(t, "prefix")
		n := rapid.IntRange(1, (blockSize-nodeHeader-p)/(keyLen-p+valueSize)).Draw(t, "entries")
		block := make([]byte, blockSize)
		rand := rapid.SliceOfN(rapid.Byte(), 1<<8, 1<<8).Draw(t, "bytes")
		for i := range block {
			block[i] = rand[(i*i+i>>8)%len(rand)]
		}
		binary.BigEndian.PutUint16(block, uint16(n))
		block[2], block[3], block[4] = 0, byte(p), byte(keyLen-p)
		node, err := parseNode(block, keyLen)
		require.NoError(t, err)
		from := rapid.IntRange(0, n-1).Draw(t, "from")
		before := []leafEntry{{value: 7}}
		entries := node.appendEntries(before, from)
		require.Equal(t, before[0], entries[0])
		require.Len(t, entries, 1+n-from)
		for i, e := range entries[1:] {
			var key [treeKeyBytes]byte
			node.copyKey(key[:], from+i)
			require.Equal(t, key, e.key.bytes())
			require.Equal(t, node.value(from+i), e.value)
			require.Equal(t, page.KeyFromBytes(key[:]), e.key.page())
			require.Equal(t, page.LSN(binary.BigEndian.Uint64(key[page.KeySize:])), e.key.lsn())
		}
	})
}
