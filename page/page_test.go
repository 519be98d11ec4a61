package page

import (
	"encoding/hex"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestAuxKeyVectors(t *testing.T) {
	// Vectors of Neon's own tests (pageserver/src/aux_file.rs).
	for path, want := range map[string]string{
		"pg_logical/mappings/test1":        "62000001017F8B83D94F7081693471ABF91C",
		"pg_logical/snapshots/test2":       "62000001027F8E83D94F7081693471ABFCCD",
		"pg_logical/replorigin_checkpoint": "62000001032E07BB014262B821756295C58D",
		"pg_logical/unsupported":           "62000001FF4F38E1C74754E7D03C1A660178",
		"pg_replslot/test3":                "62000002017F8D83D94F7081693471ABFB92",
		"other_file_not_supported":         "620000FFFF2B6ECC8AEF93F643DC44F15E03",
		"pg_stat/pgstat.stat":              "62000003014A14AF1BD3D02542B00AA75B8E",
	} {
		require.Equal(t, want, AuxKey(path).String(), path)
	}
	require.Equal(t, "67", ClusterFileKey("postgresql.conf").String()[:2])
}

func TestValueVectors(t *testing.T) {
	// Vectors of Neon's own tests (libs/wal_decoder/src/models/value.rs).
	for _, c := range []struct {
		v    Value
		want string
	}{
		{Value{Kind: KindImage, Bytes: []byte("foobar")}, "000000000000000000000006666f6f626172"},
		{Value{Kind: KindPostgres, WillInit: true, Bytes: []byte("foobar")}, "0000000100000000010000000000000006666f6f626172"},
		{Value{Kind: KindClearVM, NewHeapBlock: 0x11, OldHeapBlock: NoBlock, Flags: 3}, "000000010000000101000000110003"},
	} {
		enc := c.v.Append(nil)
		require.Equal(t, c.want, hex.EncodeToString(enc))
		got, err := DecodeValue(enc)
		require.NoError(t, err)
		require.Equal(t, c.v, got)
		init, err := ValueInitializes(enc)
		require.NoError(t, err)
		require.Equal(t, c.v.Initializes(), init)
	}
}

func genKey(t *rapid.T) Key {
	var b [KeySize]byte
	for i := range b {
		b[i] = rapid.SampledFrom([]byte{0, 1, 0x7F, 0xFE, 0xFF}).Draw(t, "byte")
	}
	return KeyFromBytes(b[:])
}

func TestKeyOrderIsByteOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := genKey(t), genKey(t)
		require.Equal(t, slices.Compare(a.Append(nil), b.Append(nil)), a.Compare(b))
		p, err := ParseKey(a.String())
		require.NoError(t, err)
		require.Equal(t, a, p)
		if a != MaxKey {
			require.True(t, a.Less(a.Next()))
			require.False(t, a.Less(b) && b.Less(a.Next()), "%s lies between %s and its successor", b, a)
		}
	})
}

func TestLSN(t *testing.T) {
	for in, want := range map[string]LSN{"0/16B3748": 0x16B3748, " 1/a ": 1<<32 | 10, "FFFFFFFF/FFFFFFFF": MaxLSN} {
		got, err := ParseLSN(in)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	require.Equal(t, "1/A", LSN(1<<32|10).String())
	for _, bad := range []string{"", "1", "/", "0/", "1/2/3", "100000000/0", "0/-1", "+0/1", "0/0x1"} {
		_, err := ParseLSN(bad)
		require.Error(t, err, bad)
	}
}

func TestSetAgainstModel(t *testing.T) {
	genRange := func(t *rapid.T) Range {
		a, b := rapid.Uint32Range(0, 20).Draw(t, "a"), rapid.Uint32Range(0, 20).Draw(t, "b")
		return Range{Key{F6: a}, Key{F6: b}}
	}
	rapid.Check(t, func(t *rapid.T) {
		as, bs := rapid.SliceOf(rapid.Custom(genRange)).Draw(t, "as"), rapid.SliceOf(rapid.Custom(genRange)).Draw(t, "bs")
		cut := genRange(t)
		in := func(rs []Range, k Key) bool {
			return slices.ContainsFunc(rs, func(r Range) bool { return r.Contains(k) })
		}
		a, b := NewSet(as...), NewSet(bs...)
		union, diff, inter := a.Union(b), a.Subtract(b), a.Intersect(cut)
		overlaps := false
		for i := range uint32(22) {
			k := Key{F6: i}
			require.Equal(t, in(as, k), a.Contains(k))
			require.Equal(t, in(as, k) || in(bs, k), union.Contains(k))
			require.Equal(t, in(as, k) && !in(bs, k), diff.Contains(k))
			require.Equal(t, in(as, k) && cut.Contains(k), inter.Contains(k))
			overlaps = overlaps || in(as, k) && cut.Contains(k)
		}
		require.Equal(t, overlaps, a.Overlaps(cut))
	})
}

func TestBatchCheckNamesTheFault(t *testing.T) {
	k := RelTag{1663, 5, 16384, ForkMain}.Block(7)
	for name, put := range map[string]func(*Batch){
		"not above":      func(b *Batch) { b.PutImage(k, 0x100, nil) },
		"multiple of 8":  func(b *Batch) { b.PutImage(k, 0x10A, nil); b.End = 0x110 },
		"no valid form":  func(b *Batch) { b.PutImage(Key{F2: 0x10000}, 0x108, nil) },
		"relation 1663/": func(b *Batch) { b.PutImage(k, 0x100, nil) },
	} {
		var b Batch
		put(&b)
		require.ErrorContains(t, b.Check(0x100), name)
	}
	var b Batch
	b.PutImage(k, 0x108, []byte("x"))
	require.NoError(t, b.Check(0x100))
}

func FuzzValue(f *testing.F) {
	for _, v := range []Value{
		{Kind: KindImage, Bytes: []byte("page")},
		{Kind: KindPostgres, WillInit: true, Bytes: []byte("record")},
		{Kind: KindClearVM, NewHeapBlock: 1, OldHeapBlock: NoBlock, Flags: 3},
		{Kind: KindClogCommitted, Xids: []uint32{3, 4}, Timestamp: -1},
		{Kind: KindMultixactMembers, Offset: 9, Members: []Member{{5, 1}}},
		{Kind: KindTruncateVM, TruncByte: 3, TruncBits: 2},
	} {
		f.Add(v.Append(nil))
	}
	f.Add((&Value{Bytes: []byte("image")}).Append(nil)[:14])
	f.Add(append((&Value{Bytes: []byte("image")}).Append(nil), 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := DecodeValue(b)
		require.Equal(t, err == nil && v.Kind == KindImage, IsImage(b))
		if err != nil {
			require.ErrorIs(t, err, ErrBadValue)
			return
		}
		if v.Kind == KindAuxFile { // obsolete: never written again
			return
		}
		if (v.NewHeapBlock == NoBlock || v.OldHeapBlock == NoBlock) && v.Kind == KindClearVM {
			again, err := DecodeValue(v.Append(nil))
			require.NoError(t, err)
			require.Equal(t, v, again)
			return
		}
		require.Equal(t, b, v.Append(nil))
	})
}
