package trace

import (
	"bytes"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stratapg/strata/cache"
)

func write(t require.TestingT, all []Access, limit int) []byte {
	var b bytes.Buffer
	r := NewRecorder(&b, limit)
	for _, a := range all {
		r.Observe(a.Key, a.Kind)
	}
	require.NoError(t, r.Close())
	return b.Bytes()
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := rapid.SliceOf(rapid.Custom(func(t *rapid.T) Access {
			return Access{cache.Key{File: rapid.Uint64().Draw(t, "file"), Block: rapid.Uint32().Draw(t, "block")},
				cache.Kind(rapid.IntRange(0, int(cache.Kinds)-1).Draw(t, "kind"))}
		})).Draw(t, "accesses")
		limit := rapid.IntRange(0, 10).Draw(t, "limit")
		var got []Access
		for a, err := range Read(bytes.NewReader(write(t, all, limit))) {
			require.NoError(t, err)
			got = append(got, a)
		}
		want := all[:min(limit, len(all))]
		require.Len(t, got, len(want))
		if len(want) > 0 {
			require.Equal(t, want, got)
		}
	})
}

func TestCorruptIsNamed(t *testing.T) {
	whole := write(t, []Access{{cache.Key{File: math.MaxUint64, Block: math.MaxUint32}, cache.Summary}}, 1)
	for name, b := range map[string][]byte{
		"empty": {}, "magic": []byte("somethingelse"), "cut": whole[:len(whole)-1],
		"kind":  append([]byte(magic), byte(cache.Kinds), 0, 0),
		"block": append([]byte(magic), 0, 0, 1),
	} {
		last := error(nil)
		for _, last = range Read(bytes.NewReader(b)) {
		}
		require.ErrorIs(t, last, ErrCorrupt, name)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(magic))
	f.Add([]byte(magic + "\x00\x02\x08\x02\x01\x03"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var all []Access
		for a, err := range Read(bytes.NewReader(b)) {
			if err != nil {
				require.ErrorIs(t, err, ErrCorrupt)
				return
			}
			all = append(all, a)
		}
		n := 0
		for a, err := range Read(bytes.NewReader(write(t, all, len(all)))) {
			require.NoError(t, err)
			require.Equal(t, all[n], a)
			n++
		}
		require.Len(t, all, n)
	})
}
