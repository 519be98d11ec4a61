package basebackup

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

// Layout of pg_multixact (access/transam/multixact.c): a page of offsets holds the offset of the first
// member of 2048 multixacts; a page of members holds groups of four, each a word of flags and four xids.
const (
	offsetSize     = 4
	offsetsPerPage = pg.BlockSize / offsetSize
	memberGroup    = 4
	groupFlags     = 4
	groupSize      = groupFlags + memberGroup*4
	membersPerPage = pg.BlockSize / groupSize * memberGroup
	firstMultixact = 1 // 0 is no multixact; numbers go on with 1 after the highest
)

// MultixactLimits are the multixacts that exist: from Oldest up to, not including, Next. NextOffset is where
// Next's members will begin.
type MultixactLimits struct{ Oldest, Next, NextOffset uint32 }

// FillNextOffsets completes a page of pg_multixact/offsets. The record that creates a multixact says where
// its members begin and how many they are, and so also where the next one's begin; servers since the minors
// of late 2025 store that too when they create (or replay) it, and refuse to read members without it. What
// Strata keeps of the record is the first number alone, so that a slot whose own multixact has not been
// logged yet, though one after it has, would be empty.
//
// firstMulti is the page's first multixact. before is the offset of the one before it as it is stored,
// not as this function completed it; 0 if unknown or none.
// memberXid gives a member by its offset, 0 for one that was never written; it is called only for slots in
// doubt, which are rare. FillNextOffsets reports whether it changed p.
func FillNextOffsets(p []byte, firstMulti, before uint32, lim MultixactLimits, memberXid func(offset uint32) (uint32, error)) (bool, error) {
	if len(p) != pg.BlockSize {
		return false, fmt.Errorf("page of multixact offsets has %d bytes", len(p))
	}
	changed := false
	for i := range uint32(offsetsPerPage) {
		multi := firstMulti + i
		if multi < firstMultixact {
			continue
		}
		slot := p[i*offsetSize:]
		own := binary.LittleEndian.Uint32(slot)
		prev := before
		before = own
		if own != 0 || prev == 0 || !lim.created(prevMulti(multi)) {
			continue
		}
		next := lim.NextOffset
		if multi != max(lim.Next, firstMultixact) {
			var err error
			if next, err = membersEnd(prev, memberXid); err != nil {
				return changed, fmt.Errorf("end of members of multixact %d: %w", prevMulti(multi), err)
			}
		}
		if next == prev {
			continue // the slot before is complete, but its own multixact is not logged yet
		}
		if next == 0 {
			next = 1 // offset 0 means "not set", and so is never used
		}
		binary.LittleEndian.PutUint32(slot, next)
		changed = true
	}
	return changed, nil
}

// created reports whether multi lies in [Oldest, Next), modulo 2^32.
func (l MultixactLimits) created(multi uint32) bool { return multi-l.Oldest < l.Next-l.Oldest }

func prevMulti(multi uint32) uint32 {
	if multi == firstMultixact {
		return ^uint32(0)
	}
	return multi - 1
}

// maxMembers bounds the search for a multixact's end. A multixact holds at most a member for each
// transaction that may run at once; pages of zeros end any search long before.
const maxMembers = 1 << 20

// membersEnd finds the end of the members that begin at offset start: those behind it belong to a multixact
// that was not logged, and are zero. Offset 0 is skipped, as when they were written.
func membersEnd(start uint32, memberXid func(uint32) (uint32, error)) (uint32, error) {
	end := start
	for range maxMembers {
		if end != 0 {
			xid, err := memberXid(end)
			if err != nil {
				return 0, err
			}
			if xid == 0 {
				return end, nil
			}
		}
		end++
	}
	return 0, fmt.Errorf("more than %d members from offset %d", maxMembers, start)
}

// storedOffset gives the offset of a multixact's first member as it is stored, 0 if its page does not exist.
func storedOffset(ctx context.Context, src datadir.Reader, lsn page.LSN, multi uint32) (uint32, error) {
	p := multi / offsetsPerPage
	k := page.MultixactOffsets.Block(p/slruSegPages, p%slruSegPages)
	b, err := src.Get(ctx, k, lsn)
	switch {
	case errors.Is(err, page.ErrNotFound):
		return 0, nil
	case err != nil:
		return 0, fmt.Errorf("%s at LSN %s: %w", k.Describe(), lsn, err)
	case len(b) != pg.BlockSize:
		return 0, fmt.Errorf("%s at LSN %s: %d bytes", k.Describe(), lsn, len(b))
	}
	return binary.LittleEndian.Uint32(b[multi%offsetsPerPage*offsetSize:]), nil
}

// memberPlace says where the xid of the member at an offset is.
func memberPlace(offset uint32) (segment, block uint32, at int) {
	pg, in := offset/membersPerPage, int(offset%membersPerPage)
	return pg / slruSegPages, pg % slruSegPages, in/memberGroup*groupSize + groupFlags + in%memberGroup*4
}

// MemberReader reads members of multixacts as of an LSN, keeping the page read last. It belongs to one
// goroutine.
type MemberReader struct {
	src  datadir.Reader
	lsn  page.LSN
	key  page.Key
	data []byte
}

// NewMemberReader gives a reader of src's members as of lsn.
func NewMemberReader(src datadir.Reader, lsn page.LSN) *MemberReader {
	return &MemberReader{src: src, lsn: lsn}
}

// Xid gives the transaction of the member at offset, 0 if none was written there.
func (m *MemberReader) Xid(ctx context.Context, offset uint32) (uint32, error) {
	segment, block, at := memberPlace(offset)
	k := page.MultixactMembers.Block(segment, block)
	if m.data == nil || m.key != k {
		b, err := m.src.Get(ctx, k, m.lsn)
		switch {
		case errors.Is(err, page.ErrNotFound):
			b = make([]byte, pg.BlockSize) // the page that the next member will begin
		case err != nil:
			return 0, fmt.Errorf("%s at LSN %s: %w", k.Describe(), m.lsn, err)
		case len(b) != pg.BlockSize:
			return 0, fmt.Errorf("%s at LSN %s: %d bytes", k.Describe(), m.lsn, len(b))
		}
		m.key, m.data = k, b
	}
	return binary.LittleEndian.Uint32(m.data[at:]), nil
}
