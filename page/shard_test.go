package page_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stratapg/strata/page"
)

// TestShardVectors compares with what Neon's own unit tests expect.
func TestShardVectors(t *testing.T) {
	k := page.Key{F2: 1663, F3: 5, F4: 0x400c, F6: 0x7d06}
	require.EqualValues(t, 8, page.NewShardIdentity(0, 10, page.LegacyStripeSize).Owner(k))
	k.F5 = uint8(page.ForkInit)
	require.Zero(t, page.NewShardIdentity(0, 10, page.LegacyStripeSize).Owner(k), "init forks are shard 0's")
}

func TestWhoKeepsWhat(t *testing.T) {
	rel := page.RelTag{Spc: 1663, DB: 5, Rel: 0x400c}
	all := []page.Key{page.DBDirKey, page.RelMapKey(1663, 5), page.RelDirKey(1663, 5), rel.SizeKey(), page.TwoPhaseDirKey,
		page.TwoPhaseKey(7), page.ControlFileKey, page.CheckpointKey, page.OriginKey(3), page.RecordsKey(0x1000), page.ClusterFileKey("postgresql.conf"),
		rel.WithFork(page.ForkInit).SizeKey()}
	first := []page.Key{page.Clog.DirKey(), page.Clog.Block(0, 1), page.Clog.SizeKey(0), page.CommitTs.SizeKey(0), page.MultixactMembers.DirKey(),
		page.AuxKey("pg_replslot/a"), rel.WithFork(page.ForkInit).Block(9)}
	for n := range uint8(4) {
		s := page.NewShardIdentity(n, 4, 8)
		for _, k := range all {
			require.True(t, s.Keeps(k), "%s keeps %s", s, k.Describe())
			require.Equal(t, n == 0, s.Owns(k), k.Describe())
		}
		for _, k := range first {
			require.Equal(t, n == 0, s.Keeps(k), "%s keeps %s", s, k.Describe())
		}
	}
}

func TestTenantShardID(t *testing.T) {
	const tenant = "1f359dd625e519a1a4e8d7509690f6fc"
	for _, c := range []struct{ text, binary string }{
		{tenant, "0000"}, {tenant + "-0001", "0001"}, {tenant + "-0102", "0102"}, {tenant + "-0a10", "0a10"},
	} {
		id, err := page.ParseTenantShardID(c.text)
		require.NoError(t, err)
		require.Equal(t, c.text, id.String())
		require.Equal(t, c.binary, id.Shard.String())
		b, err := id.MarshalBinary()
		require.NoError(t, err)
		require.Len(t, b, 18)
		var back page.TenantShardID
		require.NoError(t, back.UnmarshalBinary(b))
		require.Equal(t, id, back)
		require.NoError(t, back.UnmarshalText([]byte(c.text)))
		require.Equal(t, id, back)
		require.Zero(t, id.Compare(back))
	}
	for _, bad := range []string{"", tenant[1:], tenant + "-", tenant + "-00", tenant + "-0000", tenant + "-0202", tenant + "-01020", tenant + "x0102"} {
		_, err := page.ParseTenantShardID(bad)
		require.Error(t, err, bad)
	}
	require.Error(t, new(page.TenantShardID).UnmarshalBinary(make([]byte, 17)))
	require.Error(t, new(page.TenantShardID).UnmarshalBinary(append(make([]byte, 16), 2, 2)))
}

func TestShardChildren(t *testing.T) {
	for _, c := range []struct {
		of      page.ShardIdentity
		count   uint8
		stripe  uint32
		numbers []uint8
	}{
		{page.ShardIdentity{}, 1, 0, []uint8{0}},
		{page.ShardIdentity{}, 4, 8, []uint8{0, 1, 2, 3}},
		{page.NewShardIdentity(0, 1, 8), 2, 16, []uint8{0, 1}},
		{page.NewShardIdentity(1, 2, 8), 8, 0, []uint8{1, 3, 5, 7}},
		{page.NewShardIdentity(2, 3, 8), 6, 8, []uint8{2, 5}},
	} {
		children, err := c.of.Children(c.count, c.stripe)
		require.NoError(t, err)
		var numbers []uint8
		for _, s := range children {
			require.NoError(t, s.Validate())
			numbers = append(numbers, s.Number)
		}
		require.Equal(t, c.numbers, numbers)
	}
	for _, c := range []struct {
		of     page.ShardIdentity
		count  uint8
		stripe uint32
	}{
		{page.ShardIdentity{}, 0, 0}, {page.ShardIdentity{}, 3, 0}, {page.ShardIdentity{}, 255, 0}, {page.NewShardIdentity(0, 4, 8), 4, 0},
		{page.NewShardIdentity(0, 4, 8), 2, 0}, {page.NewShardIdentity(0, 4, 8), 8, 16}, {page.NewShardIdentity(0, 4, 8), 12, 0},
	} {
		_, err := c.of.Children(c.count, c.stripe)
		require.Error(t, err, "%v", c)
	}
}

func anyShard(t *rapid.T) page.ShardIdentity {
	count := rapid.Uint8Range(1, page.MaxShards).Draw(t, "count")
	stripe := rapid.SampledFrom([]uint32{1, 2, 7, 8, 2048, page.LegacyStripeSize, math.MaxUint32}).Draw(t, "stripe")
	return page.NewShardIdentity(rapid.Uint8Range(0, count-1).Draw(t, "number"), count, stripe)
}

func anyShardKey(t *rapid.T) page.Key {
	if rapid.IntRange(0, 3).Draw(t, "kind") > 0 {
		rel := page.RelTag{Spc: 1663, DB: rapid.Uint32Range(1, 9).Draw(t, "db"), Rel: rapid.Uint32Range(1, 1<<20).Draw(t, "rel"), Fork: page.Fork(rapid.Uint8Range(0, 3).Draw(t, "fork"))}
		return rel.Block(rapid.Uint32().Draw(t, "block"))
	}
	return page.Key{F1: rapid.Uint8Range(0, 0x67).Draw(t, "f1"), F2: rapid.Uint32Range(0, 5).Draw(t, "f2"), F3: rapid.Uint32Range(0, 2).Draw(t, "f3"),
		F4: rapid.Uint32Range(0, 2).Draw(t, "f4"), F6: rapid.SampledFrom([]uint32{0, 1, 2, math.MaxUint32}).Draw(t, "f6")}
}

// TestShardsDealOutEveryKey shows that each key belongs to exactly one shard, stays with its stripe, and is kept by its
// owner, by one or by all; and that a split gives it to a child of the shard that had it.
func TestShardsDealOutEveryKey(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, k := anyShard(t), anyShardKey(t)
		owner := s.Owner(k)
		require.Less(t, owner, s.Count)
		keepers := 0
		for n := range s.Count {
			o := s
			o.Number = n
			require.Equal(t, owner, o.Owner(k), "it does not matter who asks")
			require.Equal(t, n == owner, o.Owns(k))
			if o.Keeps(k) {
				keepers++
			}
		}
		o := s
		o.Number = owner
		require.True(t, o.Keeps(k))
		require.Contains(t, []int{1, int(s.Count)}, keepers)
		rel, block, ok := k.RelBlock()
		if !ok {
			return
		}
		other := rel
		other.Spc, other.DB = 1664, 77
		require.Equal(t, owner, s.Owner(other.Block(block)), "copies of a database stay")
		first := block / s.StripeSize * s.StripeSize
		require.Equal(t, owner, s.Owner(rel.Block(first)))
		if last := uint64(first) + uint64(s.StripeSize) - 1; last < math.MaxUint32 {
			require.Equal(t, owner, s.Owner(rel.Block(uint32(last))))
		}
		if s.Count <= page.MaxShards/2 {
			children, err := o.Children(2*s.Count, 0)
			require.NoError(t, err)
			require.True(t, children[0].Owns(k) != children[1].Owns(k), "a child of its owner has it")
		}
	})
}

// TestShardRanges compares what is said of ranges with what is said of each key.
func TestShardRanges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := anyShard(t)
		start := anyShardKey(t)
		if rapid.Bool().Draw(t, "near the end") {
			start.F6 = math.MaxUint32 - rapid.Uint32Range(0, 20).Draw(t, "before")
		}
		n := rapid.Uint32Range(0, 100).Draw(t, "n")
		r := page.Range{Start: start, End: start.Add(n)}
		var want []page.Key
		for k := start; k.Less(r.End); k = k.Next() {
			if s.Keeps(k) {
				want = append(want, k)
			}
		}
		if one := start; r.End.F5 == one.F5 || r.End.F6 == 0 || start.F6 == math.MaxUint32 {
			require.EqualValues(t, len(want), s.Pages(r), "%s %s", s, r)
		}
		got := s.Restrict(page.NewSet(r))
		var kept []page.Key
		for _, g := range got.Ranges() {
			for k := g.Start; k.Less(g.End); k = k.Next() {
				if s.Keeps(k) {
					kept = append(kept, k)
				}
			}
		}
		require.Equal(t, want, kept)
		var owned int
		for k := start; k.Less(r.End); k = k.Next() {
			if s.Owns(k) {
				owned++
			}
		}
		if r.End.F5 == start.F5 {
			require.Equal(t, owned, count(s.Share(page.NewSet(r))))
		}
		if r.End.F5 == start.F5 && !s.Alone() {
			require.EqualValues(t, len(want), count(got), "nothing of others' is left of a run of blocks")
		}
	})
}

func count(s page.Set) (n int) {
	for _, r := range s.Ranges() {
		for k := r.Start; k.Less(r.End); k = k.Next() {
			n++
		}
	}
	return n
}

// TestShardPagesOfLongRanges shows the two bounds: what cannot be told weighs most, and nothing takes long.
func TestShardPagesOfLongRanges(t *testing.T) {
	s := page.NewShardIdentity(1, 4, 1)
	require.EqualValues(t, math.MaxUint32, s.Pages(page.FullRange))
	rel := page.RelTag{Spc: 1663, DB: 5, Rel: 77}
	require.EqualValues(t, 1<<30, s.Pages(page.Range{Start: rel.Block(0), End: rel.WithFork(page.ForkFSM).Block(0)}))
	require.Equal(t, page.NewSet(page.FullRange), s.Restrict(page.NewSet(page.FullRange)))
	sum := int64(0)
	for n := range uint8(4) {
		sum += page.NewShardIdentity(n, 4, 2048).Pages(rel.Blocks(1 << 20))
	}
	require.EqualValues(t, 1<<20, sum)
}

func TestShardValidate(t *testing.T) {
	require.NoError(t, page.ShardIdentity{}.Validate())
	for _, bad := range []page.ShardIdentity{
		{StripeSize: 1}, {ShardIndex: page.ShardIndex{Number: 1, Count: 1}, Layout: 1, StripeSize: 1}, page.NewShardIdentity(0, 129, 8),
		{ShardIndex: page.ShardIndex{Count: 2}, Layout: page.ShardLayoutBroken, StripeSize: 1}, {ShardIndex: page.ShardIndex{Count: 2}, Layout: 1},
	} {
		require.Error(t, bad.Validate(), "%v", bad)
	}
}
