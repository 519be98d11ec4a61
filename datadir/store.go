package datadir

import (
	"context"
	"errors"

	"github.com/stratapg/strata/page"
)

// Reader reads values as of an LSN. Implementations may be used from many goroutines.
type Reader interface {
	// Get gives the value of key as of lsn. The error wraps page.ErrNotFound if the key has no version
	// there.
	Get(ctx context.Context, key page.Key, lsn page.LSN) ([]byte, error)
	// GetVectored calls fn in ascending key order for every key of keys that has a version at lsn. The
	// value is valid during the call only. err is set, and value nil, where this one key could not be
	// rebuilt. Keys without a version are left out. An error that fn returns ends the read.
	GetVectored(ctx context.Context, keys page.Set, lsn page.LSN, fn func(k page.Key, value []byte, err error) error) error
}

// SizeCache is what a Reader may be besides: one that remembers the sizes of relations, so that a Snapshot need not
// read two directories first.
type SizeCache interface {
	// CachedRelSize gives the number of blocks that a relation's fork has as of lsn, if that is known; else ok is
	// false. An error says that lsn cannot be read at all.
	CachedRelSize(rel page.RelTag, lsn page.LSN) (blocks uint32, ok bool, err error)
	// KeepRelSize is told what was read instead.
	KeepRelSize(rel page.RelTag, lsn page.LSN, blocks uint32)
}

// Store is a timeline as ingest needs it.
type Store interface {
	Reader
	// LastRecordLSN is the end of the last record stored, PrevRecordLSN where that record begins (0 if
	// unknown).
	LastRecordLSN() page.LSN
	PrevRecordLSN() page.LSN
	// Put stores a batch whole or not at all. The batch may be reused afterwards.
	Put(ctx context.Context, b *page.Batch) error
}

// ErrCorrupt marks a stored value that does not decode: the store holds something that ingest did not
// write.
var ErrCorrupt = errors.New("corrupt metadata value")
