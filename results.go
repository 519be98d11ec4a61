package strata

import (
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

// IngestOptions say which WAL to take in.
type IngestOptions struct {
	// Dir holds WAL segments, as pg_wal or an archive does.
	Dir string
	// Until, if not 0, is where to stop: at the last record that ends at or before it.
	Until page.LSN
	// AncestorWAL takes WAL whoever wrote it. Without it a branch to which nothing was written takes that of a server started
	// from its base backup, not that of the server whose WAL the timeline has that it branches from; and none takes that of a
	// server started from another timeline's backup (ErrOrigin). With it a branch may go the way of its ancestor.
	AncestorWAL bool
	// Progress, if set, is called now and then, from the goroutine that called Ingest.
	Progress func(IngestProgress)
}

// IngestProgress says how far ingest is.
type IngestProgress struct {
	LSN        page.LSN
	Records    int64
	Bytes      int64 // of WAL
	TotalBytes int64 // to the end that is known, 0 if none is
}

// IngestResult is what was taken in by one call.
type IngestResult struct {
	LSN     page.LSN // where the timeline ends now
	Records int64
	Bytes   int64 // of WAL
}

// BranchOptions say where a branch begins and what it is called.
type BranchOptions struct {
	// Name is the branch's name, unique in its tenant. It must be set.
	Name string
	// ID is the branch's id; default: a random one.
	ID page.TimelineID
	// At is the LSN to branch at; default: the parent's last. Inside a record, in padding or at a page
	// header it means the last whole record before it.
	At page.LSN
}

// CreateOptions describe an empty timeline for embedders who Put themselves.
type CreateOptions struct {
	// Name is the timeline's name, unique in its tenant. It must be set.
	Name string
	// ID is the timeline's id; default: a random one.
	ID page.TimelineID
	// Version is the cluster's major version. It must be set.
	Version pg.Version
	// Flavour says whose WAL the records put are of; default pg.Stock.
	Flavour pg.Flavour
	// WALSegSize is the size of a WAL segment in bytes; default 16 MiB.
	WALSegSize uint32
	// SystemID is the cluster's system identifier, 0 if unknown.
	SystemID uint64
	// Checksums says that the cluster has data checksums.
	Checksums bool
	// HintBits says that hint bits are WAL-logged: checksums, or wal_log_hints. Redo needs to know.
	HintBits bool
	// RelDirs is how the timeline, and every branch of it, lists its relations, as in ImportOptions.
	RelDirs page.RelDirForm
	// InitialLSN is where the timeline begins: the first value must lie above. It must be set, and a
	// multiple of 8.
	InitialLSN page.LSN
}
