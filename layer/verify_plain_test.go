package layer

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

// plainKeys are kinds of keys whose suffixes in a leaf have from one byte to more than two words.
var plainKeys = []func(i int) page.Key{
	modelKey,
	func(i int) page.Key { return page.Key{F6: uint32(i)} },
	func(i int) page.Key { return page.Key{F4: uint32(i / 7), F6: uint32(i * 77)} },
	func(i int) page.Key { return page.Key{F1: uint8(i >> 8), F3: uint32(i), F6: 5} },
}

// uncheckedLayer is a layer without checksums, in which nothing but Verify's own comparisons finds damage.
func uncheckedLayer(t testing.TB, r *rand.Rand, i int) (Desc, []byte) {
	fs := virtualfile.NewMem()
	disk := diskFor(t, fs)
	o := WriterOptions{Unchecked: true, Compression: Compression{Disabled: i%3 == 0}}
	key := plainKeys[i/2%len(plainKeys)]
	versions := []int{1, 3, 300}[r.IntN(3)]
	value := func() []byte { return make([]byte, r.IntN([]int{3, 100, 200}[r.IntN(3)])) }
	entries := 1 + r.IntN(1500)
	var d Desc
	if i%2 == 0 {
		w, err := NewDeltaWriter(disk, "/", testID, page.MinKey, page.LSNRange{Start: 8, End: 0x100000}, 1, o)
		require.NoError(t, err)
		for j := range entries {
			require.NoError(t, w.Add(key(j/versions), page.LSN(16+8*(j%versions)), r.IntN(2) == 0, value()))
		}
		d, err = w.Finish(context.Background(), page.MaxKey)
		require.NoError(t, err)
	} else {
		w, err := NewImageWriter(disk, "/", testID, page.FullRange, 0x40, 1, o)
		require.NoError(t, err)
		for j := range entries {
			require.NoError(t, w.Add(key(j), value()))
		}
		d, err = w.Finish(context.Background(), page.MaxKey)
		require.NoError(t, err)
	}
	return d, get(t, fs, d.FileName())
}

// What goes over entries as words passes and refuses what the close look at each entry does, and says the same:
// that look is all there is when values are asked for.
func TestVerifyOfWordsIsThatOfBytes(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 11))
	refused := 0
	for i := range testkit.Size(16, 48, 400) {
		d, content := uncheckedLayer(t, r, i)
		for n := range 40 {
			damaged := append([]byte(nil), content...)
			for range n % 3 { // none, one or two bytes
				at := dataStart + r.IntN(len(content)-dataStart)
				if n%2 == 0 { // of the index
					at = len(content) - 1 - r.IntN(min(3*blockSize, len(content)-dataStart))
				}
				damaged[at] += byte(1 + r.IntN(3))
			}
			disk := diskOn(fileFS(d, damaged))
			words, err := Verify(context.Background(), disk, "/", testID, d, nil)
			bytes, want := Verify(context.Background(), disk, "/", testID, d, func(page.Key, page.LSN, bool, Stored) error { return nil })
			require.Equal(t, fmt.Sprint(want), fmt.Sprint(err), "layer %d, case %d", i, n)
			require.Equal(t, bytes, words)
			if err != nil {
				refused++
			}
			require.NoError(t, disk.Close())
		}
	}
	require.Greater(t, refused, 100)
}
