package datadir

import (
	"context"
	"fmt"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

// DefaultSizeCache is the number of relation sizes that a Modification keeps in memory, about 60 bytes
// each.
const DefaultSizeCache = 65536

// Modification gathers the changes of consecutive WAL records into one batch. Each record is put between
// Begin and End; Commit stores the batch. Directories and sizes are kept decoded and see every change at
// once; blocks are not to be read through it.
//
// A Modification belongs to one goroutine, and while it is in use nothing else may write to its store. When
// a call between Begin and End fails, Abort forgets that record and stores those before it.
type Modification struct {
	store   Store
	shard   page.ShardIdentity // whose store it is
	version pg.Version
	listing listing // how relations are listed
	batch   page.Batch
	index   RecordIndex
	first   page.LSN   // end of the batch's first record
	done    RecordSpan // last record that ended
	cur     RecordSpan // record between Begin and End
	mark    int        // number of values before cur
	ends    bool       // cur ends a transaction
	aborts  bool       // by aborting it
	endTime int64      // at this time

	sizes    *sizeCache
	resized  []page.RelTag        // sizes changed by cur
	changes  page.RelationChanges // of the batch
	before   page.RelationChanges // of it, what came before cur
	listed   listing              // before cur
	dirs     directories
	pending  map[page.Key][]byte // sparse values of the batch, so that they are read back
	gapPages int64
}

// NewModification starts behind the last record of store. sizeCache bounds the relation sizes kept in
// memory; 0 means DefaultSizeCache.
func NewModification(store Store, version pg.Version, sizeCache int) *Modification {
	if sizeCache <= 0 {
		sizeCache = DefaultSizeCache
	}
	return &Modification{
		store:   store,
		shard:   ShardOf(store),
		version: version,
		listing: listing{form: relDirsOf(store).At(store.LastRecordLSN())},
		done:    RecordSpan{store.PrevRecordLSN(), store.LastRecordLSN()},
		sizes:   newSizeCache(sizeCache),
		dirs:    newDirectories(),
		pending: make(map[page.Key][]byte),
	}
}

// LSN is the end of the last whole record, stored or not.
func (m *Modification) LSN() page.LSN { return m.done.End }

// Prev is where that record begins, 0 if unknown.
func (m *Modification) Prev() page.LSN { return m.done.Start }

// Records and Bytes say how much waits for Commit. GapPages counts the zero pages put between a relation's
// old end and a block beyond it, ever.
func (m *Modification) Records() int    { return m.index.Len() }
func (m *Modification) Bytes() int      { return m.batch.Bytes() }
func (m *Modification) GapPages() int64 { return m.gapPages }

// Begin starts a record.
func (m *Modification) Begin(span RecordSpan) error {
	if span.End <= m.done.End || span.Start < m.done.End || span.End <= span.Start || !span.End.Aligned() || !span.Start.Aligned() {
		return fmt.Errorf("WAL record from %s to %s does not follow the record ending at %s", span.Start, span.End, m.done.End)
	}
	m.cur, m.mark, m.before, m.listed, m.ends = span, m.batch.Len(), m.changes, m.listing, false
	return nil
}

// EndTransaction says that the record ends a transaction, at a time in microseconds since 2000-01-01.
func (m *Modification) EndTransaction(micros int64, aborted bool) {
	m.ends, m.endTime, m.aborts = true, micros, aborted
}

// End finishes the record: directories and sizes that it changed get their value at its LSN.
func (m *Modification) End() {
	for _, rel := range m.resized {
		if n, ok := m.sizes.get(rel); ok {
			m.putSize(rel.SizeKey(), n)
		}
	}
	m.resized = m.resized[:0]
	m.flushDirectories()
	if m.index.Len() == 0 {
		m.first = m.cur.End
	}
	m.index.Add(m.cur)
	if m.ends {
		m.index.AddEnd(m.endTime, m.aborts)
	}
	m.done = m.cur
}

// Abort forgets the record since Begin and stores those before it.
func (m *Modification) Abort(ctx context.Context) error {
	m.batch.Truncate(m.mark)
	m.changes, m.listing = m.before, m.listed
	err := m.Commit(ctx)
	m.forget()
	return err
}

// Commit stores what has gathered. Without a record since the last Commit it does nothing. After an error
// the Modification holds nothing any more and continues at the store's last record.
func (m *Modification) Commit(ctx context.Context) error {
	if m.index.Len() == 0 {
		return nil
	}
	m.batch.PutImage(page.RecordsKey(m.first), m.first, m.index.Bytes())
	m.batch.End, m.batch.Prev, m.batch.Relations, m.batch.RelDirs = m.done.End, m.done.Start, &m.changes, m.listing.change
	end := m.batch.End
	err := m.store.Put(ctx, &m.batch)
	m.batch.Reset()
	m.index.Reset()
	m.changes = page.RelationChanges{Dropped: m.changes.Dropped[:0]}
	m.listing.change = nil
	clear(m.pending)
	m.mark = 0
	if err != nil {
		m.forget()
		m.done = RecordSpan{m.store.PrevRecordLSN(), m.store.LastRecordLSN()}
		m.listing = listing{form: relDirsOf(m.store).At(m.done.End)}
		return fmt.Errorf("store the records up to %s: %w", end, err)
	}
	m.sizes.committed()
	m.dirs.committed()
	return nil
}

// forget drops everything that is kept decoded, so that it is read from the store again.
func (m *Modification) forget() {
	m.sizes = newSizeCache(m.sizes.limit)
	m.dirs = newDirectories()
	m.resized = m.resized[:0]
	clear(m.pending)
}

// get reads a value as of the current record, its own changes included where they are kept in pending.
func (m *Modification) get(ctx context.Context, k page.Key) ([]byte, error) {
	if v, ok := m.pending[k]; ok {
		return v, nil
	}
	v, err := m.store.Get(ctx, k, m.store.LastRecordLSN())
	if err != nil {
		return nil, fmt.Errorf("%s at LSN %s: %w", k.Describe(), m.store.LastRecordLSN(), err)
	}
	return v, nil
}

// putSmall writes a value and keeps it readable until Commit.
func (m *Modification) putSmall(k page.Key, v []byte) {
	m.batch.PutImage(k, m.cur.End, v)
	m.pending[k] = v
}

func (m *Modification) putSize(k page.Key, n uint32) {
	b := [blockCountBytes]byte{byte(n), byte(n >> 8), byte(n >> 16), byte(n >> 24)}
	m.batch.PutImage(k, m.cur.End, b[:])
}

// Snapshot gives a view of the store after the last Commit.
func (m *Modification) Snapshot() *Snapshot {
	return At(m.store, m.store.LastRecordLSN(), m.version)
}
