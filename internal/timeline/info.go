package timeline

import (
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

// Info describes a timeline at one moment.
type Info struct {
	ID         page.TimelineID `json:"id"`
	Name       string          `json:"name"`
	Tenant     page.TenantID   `json:"tenant"`
	Version    pg.Version      `json:"version"`
	Flavour    pg.Flavour      `json:"flavour"`
	WALSegSize uint32          `json:"wal_segment_size"`
	SystemID   uint64          `json:"system_id"`
	Checksums  bool            `json:"checksums"` // data checksums
	HintBits   bool            `json:"hint_bits"` // hint bits are WAL-logged: checksums, or wal_log_hints
	// RelDirs is how relations are listed, and the LSN from which they are; RelDirsWanted how they are to be from the next
	// record on.
	RelDirs       page.RelDirForm  `json:"rel_dirs,omitzero"`
	RelDirsSince  page.LSN         `json:"rel_dirs_since,omitzero"`
	RelDirsWanted page.RelDirForm  `json:"rel_dirs_wanted,omitzero"`
	Ancestor      *page.TimelineID `json:"ancestor,omitempty"`
	// AncestorLSN is where the branch begins, 0 without an ancestor.
	AncestorLSN page.LSN `json:"ancestor_lsn,omitempty"`
	// InitialLSN is the timeline's first LSN: of its import, or of the branch.
	InitialLSN page.LSN `json:"initial_lsn"`
	// OldestLSN is the first LSN that can be read, also in its ancestors.
	OldestLSN         page.LSN `json:"oldest_lsn"`
	LastRecordLSN     page.LSN `json:"last_record_lsn"`
	PrevRecordLSN     page.LSN `json:"prev_record_lsn"`
	DiskConsistentLSN page.LSN `json:"disk_consistent_lsn"`
	Layers            int      `json:"layers"`
	LayerBytes        int64    `json:"layer_bytes"`
	MemoryBytes       int64    `json:"memory_bytes"` // in layers not yet written
	// DetachedFrom is what it branched from, at DetachedAtLSN, before it was detached from that; nil and 0 if it never was.
	DetachedFrom  *page.TimelineID `json:"detached_from,omitempty"`
	DetachedAtLSN page.LSN         `json:"detached_at_lsn,omitempty"`
	// WriteError is why nothing can be written at present, or empty. Reads go on; DiskConsistentLSN does not.
	WriteError string `json:"write_error,omitempty"`
}
