package xlogrec

import (
	"encoding/binary"
	"fmt"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

// Operations of the commit log and of commit timestamps (access/clog.h, access/commit_ts.h).
const (
	ClogZeroPage     = 0x00
	ClogTruncate     = 0x10
	CommitTsZeroPage = 0x00
	CommitTsTruncate = 0x10
)

// Operations of the multixact manager (access/multixact.h).
const (
	MultiXactZeroOffsets = 0x00
	MultiXactZeroMembers = 0x10
	MultiXactCreate      = 0x20
	MultiXactTruncate    = 0x30
)

// pageNo reads a page number: 32 bits, since 17 64.
func (r *reader) pageNo(v pg.Version) uint32 {
	if v < pg.V17 {
		return r.u32("page number")
	}
	n := r.u64("page number")
	if r.err == nil && n > 0xFFFFFFFF {
		r.err = fmt.Errorf("%w: %s: page number %d", ErrMalformed, r.what, n)
	}
	return uint32(n)
}

// ParseZeroPage reads the record of a new page of any SLRU.
func ParseZeroPage(v pg.Version, main []byte) (pageNo uint32, err error) {
	r := reader{b: main, what: "new SLRU page"}
	pageNo = r.pageNo(v)
	return pageNo, r.err
}

// SLRUTruncation removes the pages before one. OldestDB is of the commit log only.
type SLRUTruncation struct {
	Page      uint32
	OldestXid uint32
	OldestDB  uint32
}

// ParseClogTruncate reads xl_clog_truncate.
func ParseClogTruncate(v pg.Version, main []byte) (SLRUTruncation, error) {
	r := reader{b: main, what: "commit log truncation"}
	return SLRUTruncation{r.pageNo(v), r.u32("oldest transaction id"), r.u32("its database")}, r.err
}

// ParseCommitTsTruncate reads xl_commit_ts_truncate.
func ParseCommitTsTruncate(v pg.Version, main []byte) (SLRUTruncation, error) {
	r := reader{b: main, what: "commit timestamp truncation"}
	return SLRUTruncation{Page: r.pageNo(v), OldestXid: r.u32("oldest transaction id")}, r.err
}

// Members is an array of multixact members in a record.
type Members []byte

const (
	memberSize      = 8
	maxMemberStatus = 5 // MultiXactStatusUpdate
)

// Len is the number of members, At the i-th.
func (m Members) Len() int { return len(m) / memberSize }
func (m Members) At(i int) page.Member {
	b := m[memberSize*i:]
	return page.Member{Xid: binary.LittleEndian.Uint32(b), Status: binary.LittleEndian.Uint32(b[4:])}
}

// NewMultiXact is a multixact with its members, the first of which is at Offset.
type NewMultiXact struct {
	Multi, Offset uint32
	Members       Members
}

// ParseMultiXactCreate reads xl_multixact_create.
func ParseMultiXactCreate(main []byte) (NewMultiXact, error) {
	r := reader{b: main, what: "new multixact"}
	m := NewMultiXact{Multi: r.u32("multixact"), Offset: r.u32("offset")}
	m.Members = r.array(r.u32("number of members"), memberSize, "members")
	for i := 0; r.err == nil && i < m.Members.Len(); i++ {
		if s := m.Members.At(i).Status; s > maxMemberStatus {
			return m, fmt.Errorf("%w: member %d of multixact %d has status %d", ErrMalformed, i, m.Multi, s)
		}
	}
	return m, r.err
}

// MultiXactTruncation removes multixacts below EndMulti and members below EndMember.
type MultiXactTruncation struct {
	OldestDB               uint32
	StartMulti, EndMulti   uint32
	StartMember, EndMember uint32
}

// ParseMultiXactTruncate reads xl_multixact_truncate.
func ParseMultiXactTruncate(main []byte) (MultiXactTruncation, error) {
	r := reader{b: main, what: "multixact truncation"}
	return MultiXactTruncation{
		OldestDB:   r.u32("database"),
		StartMulti: r.u32("first multixact"), EndMulti: r.u32("end of multixacts"),
		StartMember: r.u32("first member"), EndMember: r.u32("end of members"),
	}, r.err
}
