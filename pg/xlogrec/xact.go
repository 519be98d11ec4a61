package xlogrec

import (
	"bytes"
	"fmt"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

// Operations of the transaction manager (access/xact.h). The operation is Info & XactOpMask.
const (
	XactOpMask         = 0x70
	XactCommit         = 0x00
	XactPrepare        = 0x10
	XactAbort          = 0x20
	XactCommitPrepared = 0x30
	XactAbortPrepared  = 0x40
	XactAssignment     = 0x50
	XactInvalidations  = 0x60

	xactHasInfo = 0x80
)

// Bits of xinfo (access/xact.h). Those not named here announce no data.
const (
	xinfoDBInfo       = 1 << 0
	xinfoSubxacts     = 1 << 1
	xinfoRels         = 1 << 2
	xinfoInvals       = 1 << 3
	xinfoTwoPhase     = 1 << 4
	xinfoOrigin       = 1 << 5
	xinfoGID          = 1 << 7
	xinfoDroppedStats = 1 << 8 // since 15

	statsItemSize = 12
	invalSize     = 16
)

// XactEnd is the end of a transaction, by commit or abort.
type XactEnd struct {
	Time        int64 // microseconds since 2000-01-01
	Subxacts    Xids
	Rels        Rels   // relations whose files are removed
	TwoPhaseXid uint32 // the transaction, where it had been prepared; else 0
	HasOrigin   bool
	OriginLSN   page.LSN
	OriginTime  int64 // as Time, at the origin
}

// CommitTime is the time that pg_commit_ts has of a commit: the origin's, where there is one.
func (x *XactEnd) CommitTime() int64 {
	if x.HasOrigin {
		return x.OriginTime
	}
	return x.Time
}

// CommitTsPerPage is the number of transactions on a page of pg_commit_ts, CommitTsSize the size of an entry:
// the time, 8 bytes, and the replication origin, 2 (access/transam/commit_ts.c).
const (
	CommitTsSize    = 10
	CommitTsPerPage = pg.BlockSize / CommitTsSize
)

// ParseXactEnd reads commit, abort, commit prepared and abort prepared (ParseCommitRecord and
// ParseAbortRecord of access/rmgrdesc/xactdesc.c). info is the record's info, flags and all.
func ParseXactEnd(v pg.Version, info uint8, main []byte) (XactEnd, error) {
	r := reader{b: main, what: "transaction end"}
	x := XactEnd{Time: int64(r.u64("time"))}
	var xinfo uint32
	if info&xactHasInfo != 0 {
		xinfo = r.u32("xinfo")
	}
	if xinfo&xinfoDBInfo != 0 {
		r.take(8, "database")
	}
	if xinfo&xinfoSubxacts != 0 {
		x.Subxacts = r.array(r.u32("number of subtransactions"), 4, "subtransactions")
	}
	if xinfo&xinfoRels != 0 {
		x.Rels = r.array(r.u32("number of relations"), relSize, "relations")
	}
	if xinfo&xinfoDroppedStats != 0 && v >= pg.V15 {
		r.array(r.u32("number of statistics"), statsItemSize, "statistics")
	}
	if xinfo&xinfoInvals != 0 {
		r.array(r.u32("number of invalidations"), invalSize, "invalidations")
	}
	if xinfo&xinfoTwoPhase != 0 {
		x.TwoPhaseXid = r.u32("two-phase transaction id")
		if xinfo&xinfoGID != 0 {
			r.skipString("global transaction id")
		}
	}
	if xinfo&xinfoOrigin != 0 {
		x.HasOrigin = true
		x.OriginLSN = page.LSN(r.u64("origin LSN"))
		x.OriginTime = int64(r.u64("origin time"))
	}
	return x, r.err
}

// skipString skips a string and the zero byte that ends it.
func (r *reader) skipString(field string) {
	n := bytes.IndexByte(r.b, 0)
	if r.err == nil && n < 0 {
		r.err = fmt.Errorf("%w: %s: %s does not end", ErrMalformed, r.what, field)
	}
	r.take(n+1, field)
}

// Prepare is the state of a transaction prepared for two-phase commit.
type Prepare struct {
	Xid       uint32
	Subxacts  Xids
	OriginLSN page.LSN
}

// twoPhaseMagic is TWOPHASE_MAGIC of access/transam/twophase.c, the same in 14 to 17.
const twoPhaseMagic = 0x57F94534

// ParsePrepare reads a prepare record; its main data is the state file without the CRC (xl_xact_prepare of
// access/xact.h; the parts that follow are aligned to 8).
func ParsePrepare(v pg.Version, main []byte) (Prepare, error) {
	r := reader{b: main, what: "prepared transaction"}
	if magic := r.u32("magic"); r.err == nil && magic != twoPhaseMagic {
		return Prepare{}, fmt.Errorf("%w: prepared transaction: magic %08X, want %08X", ErrMalformed, magic, uint32(twoPhaseMagic))
	}
	r.u32("length")
	p := Prepare{Xid: r.u32("transaction id")}
	r.take(4+8+4, "database, time and owner")
	nsub := r.u32("number of subtransactions")
	r.take(8, "numbers of relations")
	if v >= pg.V15 {
		r.take(8, "numbers of statistics")
	}
	r.take(4+2, "invalidations")
	gidLen := int(r.u16("length of the global transaction id"))
	p.OriginLSN = page.LSN(r.u64("origin LSN"))
	r.u64("origin time")
	r.take((gidLen+7)&^7, "global transaction id")
	p.Subxacts = r.array(nsub, 4, "subtransactions")
	return p, r.err
}

// Assignment says which top-level transaction subtransactions belong to.
type Assignment struct {
	Top      uint32
	Subxacts Xids
}

// ParseAssignment reads xl_xact_assignment.
func ParseAssignment(main []byte) (Assignment, error) {
	r := reader{b: main, what: "assignment of subtransactions"}
	a := Assignment{Top: r.u32("top-level transaction id")}
	a.Subxacts = r.array(r.u32("number of subtransactions"), 4, "subtransactions")
	return a, r.err
}
