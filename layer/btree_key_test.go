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
