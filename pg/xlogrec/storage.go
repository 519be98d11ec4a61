package xlogrec

import (
	"bytes"
	"fmt"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

// Operations of the storage manager (catalog/storage_xlog.h).
const (
	SmgrCreate   = 0x10
	SmgrTruncate = 0x20
)

// Forks that a truncation is about (SMGR_TRUNCATE_*).
const (
	TruncateHeap = 1
	TruncateVM   = 2
	TruncateFSM  = 4
)

// ParseSmgrCreate reads xl_smgr_create: the fork that is made.
func ParseSmgrCreate(main []byte) (page.RelTag, error) {
	r := reader{b: main, what: "relation creation"}
	rel := r.rel()
	fork := r.u32("fork")
	if r.err == nil && fork > uint32(page.ForkInit) {
		return rel, fmt.Errorf("%w: creation of relation %s: fork %d", ErrMalformed, rel, fork)
	}
	return rel.WithFork(page.Fork(fork)), r.err
}

// Truncation shortens a relation's main fork to Blocks, its map forks to what covers them.
type Truncation struct {
	Blocks uint32
	Rel    page.RelTag
	Flags  uint32
}

// ParseSmgrTruncate reads xl_smgr_truncate.
func ParseSmgrTruncate(main []byte) (Truncation, error) {
	r := reader{b: main, what: "relation truncation"}
	return Truncation{Blocks: r.u32("blocks"), Rel: r.rel(), Flags: r.u32("flags")}, r.err
}

// DBaseOp is what a record of the database manager does.
type DBaseOp int

// The operations. Their numbers in WAL changed with 15.
const (
	DBaseUnknown  DBaseOp = iota
	DBaseFileCopy         // the directory is copied
	DBaseWALLog           // the content follows as records of its own
	DBaseDrop
)

// DBaseOperation tells a record's operation from the high bits of its info (commands/dbcommands_xlog.h).
func DBaseOperation(v pg.Version, op uint8) DBaseOp {
	switch {
	case op == 0x00:
		return DBaseFileCopy
	case op == 0x10 && v >= pg.V15:
		return DBaseWALLog
	case op == 0x10 || op == 0x20 && v >= pg.V15:
		return DBaseDrop
	}
	return DBaseUnknown
}

// DBaseCreate makes a database in one tablespace; the source is of DBaseFileCopy only.
type DBaseCreate struct{ DB, Spc, SrcDB, SrcSpc uint32 }

// ParseDBaseCreate reads xl_dbase_create_*_rec.
func ParseDBaseCreate(op DBaseOp, main []byte) (DBaseCreate, error) {
	r := reader{b: main, what: "database creation"}
	c := DBaseCreate{DB: r.u32("database"), Spc: r.u32("tablespace")}
	if op == DBaseFileCopy {
		c.SrcDB, c.SrcSpc = r.u32("source database"), r.u32("source tablespace")
	}
	return c, r.err
}

// DBaseRemoval removes a database from tablespaces.
type DBaseRemoval struct {
	DB   uint32
	Spcs Xids // tablespaces
}

// ParseDBaseDrop reads xl_dbase_drop_rec.
func ParseDBaseDrop(main []byte) (DBaseRemoval, error) {
	r := reader{b: main, what: "database removal"}
	d := DBaseRemoval{DB: r.u32("database")}
	d.Spcs = r.array(r.u32("number of tablespaces"), 4, "tablespaces")
	return d, r.err
}

// Operations of the tablespace manager (commands/tablespace.h).
const (
	TblspcCreate = 0x00
	TblspcDrop   = 0x10
)

// ParseTblspc reads xl_tblspc_create_rec or xl_tblspc_drop_rec; path is of the former only.
func ParseTblspc(op uint8, main []byte) (oid uint32, path string, err error) {
	r := reader{b: main, what: "tablespace"}
	oid = r.u32("tablespace")
	if r.err == nil && op == TblspcCreate {
		n := bytes.IndexByte(r.b, 0)
		if n < 0 {
			return 0, "", fmt.Errorf("%w: tablespace %d: path does not end", ErrMalformed, oid)
		}
		path = string(r.b[:n])
	}
	return oid, path, r.err
}

// RelMapUpdate is a new pg_filenode.map.
type RelMapUpdate struct {
	DB, Spc uint32
	File    []byte
}

// ParseRelMap reads xl_relmap_update (utils/relmapper.h) and checks the file's size.
func ParseRelMap(v pg.Version, main []byte) (RelMapUpdate, error) {
	r := reader{b: main, what: "relation map"}
	m := RelMapUpdate{DB: r.u32("database"), Spc: r.u32("tablespace")}
	m.File = r.array(r.u32("length"), 1, "bytes")
	if want := RelMapSize(v); r.err == nil && len(m.File) != want {
		return m, fmt.Errorf("%w: relation map of %d bytes, want %d", ErrMalformed, len(m.File), want)
	}
	return m, r.err
}

// RelMapSize is the size of pg_filenode.map (RelMapFile of utils/cache/relmapper.c).
func RelMapSize(v pg.Version) int {
	if v >= pg.V16 {
		return 524
	}
	return 512
}
