package basebackup

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

// multiServer does what a server does to pg_multixact when it replays the creation of a multixact
// (RecordNewMultiXact since late 2025), over the whole number space, sparsely.
type multiServer struct {
	offsets, members map[uint32]uint32
}

func (s *multiServer) create(multi, offset uint32, n int) (next uint32) {
	s.offsets[multi] = offset
	if multi++; multi == 0 {
		multi = 1
	}
	for range n {
		s.members[offset] = 1000
		offset++
	}
	if s.offsets[multi] = offset; offset == 0 {
		s.offsets[multi] = 1
	}
	return offset
}

func offsetsPage(m map[uint32]uint32, first uint32) []byte {
	p := make([]byte, pg.BlockSize)
	for i := range uint32(offsetsPerPage) {
		binary.LittleEndian.PutUint32(p[i*offsetSize:], m[first+i])
	}
	return p
}

// TestFillNextOffsets compares with a server's slots at every moment of a history in which creations are
// logged out of order, pages end, and numbers run over.
func TestFillNextOffsets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		first := rapid.SampledFrom([]uint32{1, 5, offsetsPerPage - 3, 0xFFFFFFFB}).Draw(t, "first")
		offset := rapid.SampledFrom([]uint32{1, 700, membersPerPage - 2, 0xFFFFFFF8}).Draw(t, "offset")
		type creation struct {
			multi, offset uint32
			n             int
		}
		var all []creation
		multi, off := first, offset
		for range rapid.IntRange(1, 8).Draw(t, "count") {
			n := rapid.IntRange(1, 5).Draw(t, "members")
			off = max(off, 1) // 0 is skipped when numbers are given out
			all = append(all, creation{multi, off, n})
			off += uint32(n)
			if multi++; multi == 0 {
				multi = 1
			}
		}
		order := rapid.Permutation(all).Draw(t, "order")
		server := &multiServer{map[uint32]uint32{}, map[uint32]uint32{}}
		kept := map[uint32]uint32{} // what Strata keeps
		lim := MultixactLimits{Oldest: first, Next: first, NextOffset: offset}
		for _, c := range order {
			next := server.create(c.multi, c.offset, c.n)
			kept[c.multi] = c.offset
			if after := c.multi + 1; after-first >= lim.Next-first {
				lim.Next, lim.NextOffset = after, next
			}
			compareOffsets(t, kept, server, lim, first)
		}
	})
}

func compareOffsets(t *rapid.T, kept map[uint32]uint32, server *multiServer, lim MultixactLimits, first uint32) {
	before := uint32(0)
	start := first / offsetsPerPage * offsetsPerPage
	for _, at := range []uint32{start, start + offsetsPerPage} {
		got, want := offsetsPage(kept, at), offsetsPage(server.offsets, at)
		last := binary.LittleEndian.Uint32(got[pg.BlockSize-offsetSize:])
		_, err := FillNextOffsets(got, at, before, lim, func(o uint32) (uint32, error) { return server.members[o], nil })
		require.NoError(t, err)
		before = last
		for i := range uint32(offsetsPerPage) {
			g, w := binary.LittleEndian.Uint32(got[i*offsetSize:]), binary.LittleEndian.Uint32(want[i*offsetSize:])
			if g != w {
				t.Fatalf("slot of multixact %d: %d, the server has %d", at+i, g, w)
			}
		}
	}
}

func TestFillNextOffsetsLeavesTheRest(t *testing.T) {
	none := func(uint32) (uint32, error) { return 0, fmt.Errorf("not to be asked") }
	p := offsetsPage(map[uint32]uint32{1: 1, 2: 3, 3: 7}, 0)
	changed, err := FillNextOffsets(p, 0, 0, MultixactLimits{Oldest: 1, Next: 4, NextOffset: 9}, none)
	require.NoError(t, err)
	require.True(t, changed)
	require.Equal(t, offsetsPage(map[uint32]uint32{1: 1, 2: 3, 3: 7, 4: 9}, 0), p)

	changed, err = FillNextOffsets(p, 0, 0, MultixactLimits{Oldest: 1, Next: 4, NextOffset: 9}, none)
	require.NoError(t, err)
	require.False(t, changed)

	// Slots that a truncation has left, and those of a cluster without multixacts, stay.
	p = offsetsPage(map[uint32]uint32{1: 1}, 0)
	changed, err = FillNextOffsets(p, 0, 0, MultixactLimits{Oldest: 5, Next: 5, NextOffset: 9}, none)
	require.NoError(t, err)
	require.False(t, changed)

	// Neither are those behind a slot that is there before its multixact.
	p = offsetsPage(map[uint32]uint32{1: 1, 2: 3, 4: 9}, 0)
	lim := MultixactLimits{Oldest: 1, Next: 5, NextOffset: 11}
	changed, err = FillNextOffsets(p, 0, 0, lim, func(o uint32) (uint32, error) { return map[uint32]uint32{1: 7, 2: 7, 9: 7, 10: 7}[o], nil })
	require.NoError(t, err)
	require.True(t, changed)
	require.Equal(t, offsetsPage(map[uint32]uint32{1: 1, 2: 3, 4: 9, 5: 11}, 0), p)

	_, err = FillNextOffsets(p[:100], 0, 0, MultixactLimits{}, none)
	require.ErrorContains(t, err, "100 bytes")
}

// TestMemberPlace uses the figures of PostgreSQL's macros for two offsets.
func TestMemberPlace(t *testing.T) {
	seg, blk, at := memberPlace(123456789)
	require.Equal(t, []any{uint32(2358), uint32(75462 % 32), 4788}, []any{seg, blk, at})
	seg, blk, at = memberPlace(0xFFFFFFFF)
	require.Equal(t, []any{uint32(82040), uint32(2625285 % 32), 5176}, []any{seg, blk, at})
}

func TestMemberReader(t *testing.T) {
	m := newModel()
	p := make([]byte, pg.BlockSize)
	binary.LittleEndian.PutUint32(p[4788:], 42)
	m.put(page.MultixactMembers.Block(2358, 75462%32), p)
	r := NewMemberReader(m, 8)
	xid, err := r.Xid(t.Context(), 123456789)
	require.NoError(t, err)
	require.EqualValues(t, 42, xid)
	xid, err = r.Xid(t.Context(), 1)
	require.NoError(t, err)
	require.Zero(t, xid)
	m.put(page.MultixactMembers.Block(0, 0), p[:10])
	_, err = r.Xid(t.Context(), 1)
	require.NoError(t, err, "the page read last is kept")
	_, err = NewMemberReader(m, 8).Xid(t.Context(), 1)
	require.ErrorContains(t, err, "pg_multixact/members segment 0000 page 0 at LSN 0/8: 10 bytes")
}
