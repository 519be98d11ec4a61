package ingest

import (
	"context"
	"errors"
	"fmt"

	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/control"
	"github.com/stratapg/strata/pg/wal"
)

// Options say what WAL an Ingester is given.
type Options struct {
	// Version and Flavour of the server that wrote the WAL. Required.
	Version pg.Version
	Flavour pg.Flavour
	// SegSize is wal_segment_size in bytes; 0 takes it from the stored control file.
	SegSize uint32
	// SystemID is the cluster's identifier, which the WAL must carry; 0 takes it from the control file.
	SystemID uint64
	// History, if set, gives the content of a timeline's history file where PostgreSQL's timeline changes;
	// an error that wraps fs.ErrNotExist says that there is none. Dir takes it from the directory.
	History func(timeline uint32) ([]byte, error)
	// Origin says whose WAL it is to be; by default anybody's.
	Origin Origin
	// Shutdown, if set, is told where the checkpoint of a shutdown ends, once the store has it. It must not wait.
	Shutdown func(end page.LSN)
	// BatchBytes and BatchRecords bound what gathers before it is stored; 0 means 1 MiB and 4096. Larger
	// batches are faster and lose more work at a crash; one record is never split.
	BatchBytes   int
	BatchRecords int
	// Recovery, if set, says that the store holds a base backup that is not one state yet.
	Recovery *Recovery
}

// Defaults of Options.
const (
	defaultBatchBytes   = 1 << 20
	defaultBatchRecords = 4096
)

func (o Options) withDefaults() Options {
	if o.BatchBytes == 0 {
		o.BatchBytes = defaultBatchBytes
	}
	if o.BatchRecords == 0 {
		o.BatchRecords = defaultBatchRecords
	}
	return o
}

// Stats count what an Ingester has done since it was made.
type Stats struct {
	Records int64
	Blocks  int64 // versions of blocks that records name
	Images  int64 // of those, pages; the others are records
	Inits   int64 // of those, records that start from nothing
	Gaps    int64 // zero pages between a relation's old end and a block beyond it
	VMClear int64 // records that clear bits of a visibility map
	Created int64 // relation forks made by a record of their own
}

// Ingester puts WAL records into a store, in their order, each at its end LSN.
type Ingester struct {
	store datadir.Store
	o     Options
	m     *datadir.Modification
	cp    checkpoint
	ctl   control.File
	stats Stats
	err   error // what ended it
	// stop is the end of a shutdown's checkpoint that Options.Shutdown is to be told of, 0 if none.
	stop page.LSN
	// recovery is set while, and after, a base backup is made one state.
	recovery *recovery

	image   [pg.BlockSize]byte // scratch for one page
	clog    clogPages
	tsPages []uint32    // pages of commit timestamps that the commit at work is in
	slots   []multiSlot // see multixact.go
}

// NewIngester continues behind the last record of store, whose control file and checkpoint must be there.
func NewIngester(ctx context.Context, store datadir.Store, o Options) (*Ingester, error) {
	if !o.Version.Supported() {
		return nil, fmt.Errorf("ingest: %w: %d", pg.ErrUnsupportedVersion, o.Version)
	}
	snap := datadir.At(store, store.LastRecordLSN(), o.Version)
	i := &Ingester{store: store, o: o.withDefaults(), m: datadir.NewModification(store, o.Version, 0)}
	raw, err := snap.ControlFile(ctx)
	if err != nil {
		return nil, fmt.Errorf("ingest: %w", err)
	}
	ctl, err := control.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("ingest: stored control file: %w", err)
	}
	i.ctl = *ctl
	if i.o.SegSize == 0 {
		i.o.SegSize = ctl.WALSegSize()
	}
	if i.o.SystemID == 0 {
		i.o.SystemID = ctl.SystemID()
	}
	if raw, err = snap.CheckPoint(ctx); err != nil {
		return nil, fmt.Errorf("ingest: %w", err)
	}
	if err := i.cp.load(raw, o); err != nil {
		return nil, fmt.Errorf("ingest: stored checkpoint: %w", err)
	}
	if o.Recovery != nil {
		i.recovery = newRecovery(*o.Recovery)
	}
	return i, nil
}

// LSN is the end of the last record taken in, stored or not.
func (i *Ingester) LSN() page.LSN { return i.m.LSN() }

// Stats gives the counts so far.
func (i *Ingester) Stats() Stats {
	s := i.stats
	s.Gaps = i.m.GapPages()
	return s
}

// RecordError says which record could not be taken in.
type RecordError struct {
	Start, End page.LSN
	Rmgr       pg.Rmgr
	Info       uint8
	Err        error
}

// Error names the record's place and kind.
func (e *RecordError) Error() string {
	return fmt.Sprintf("%s record (info %02X) from %s to %s: %v", e.Rmgr, e.Info, e.Start, e.End, e.Err)
}

// Unwrap gives the reason.
func (e *RecordError) Unwrap() error { return e.Err }

// Record takes in the record that follows the last one. rec is not kept. On an error, a *RecordError, the
// records before it are stored, and the Ingester refuses everything that follows.
func (i *Ingester) Record(ctx context.Context, rec *wal.Record) error {
	if i.err != nil {
		return i.err
	}
	if err := i.record(ctx, rec); err != nil {
		i.err = &RecordError{rec.Start, rec.End, rec.Rmgr, rec.Info, err}
		return i.err
	}
	if i.stop != 0 {
		return i.stopped(ctx)
	}
	if i.m.Bytes() >= i.o.BatchBytes || i.m.Records() >= i.o.BatchRecords {
		return i.Commit(ctx)
	}
	return nil
}

func (i *Ingester) record(ctx context.Context, rec *wal.Record) error {
	change := i.m.RelDirsDue()
	if change || i.readsStore(rec) {
		if err := i.m.Commit(ctx); err != nil {
			return err
		}
	}
	if err := i.m.Begin(datadir.RecordSpan{Start: rec.Start, End: rec.End}); err != nil {
		return err
	}
	if change {
		if err := i.m.ChangeRelDirs(ctx); err != nil {
			return errors.Join(err, i.m.Abort(ctx))
		}
	}
	if err := i.apply(ctx, rec); err != nil {
		return errors.Join(err, i.m.Abort(ctx))
	}
	if err := i.reached(rec.End); err != nil {
		return errors.Join(err, i.m.Abort(ctx))
	}
	i.m.End()
	i.stats.Records++
	return nil
}

// Commit stores what has gathered.
func (i *Ingester) Commit(ctx context.Context) error {
	if i.err != nil {
		return i.err
	}
	if err := i.m.Commit(ctx); err != nil {
		i.err = err
	}
	return i.err
}

// apply puts all that a record changes.
func (i *Ingester) apply(ctx context.Context, rec *wal.Record) error {
	if err := i.checkOrigin(rec); err != nil {
		return err
	}
	i.cp.advanceXid(rec.Xid)
	i.cp.advanceXid(rec.TopXid)
	if err := i.special(ctx, rec); err != nil {
		return err
	}
	if err := i.blocks(ctx, rec); err != nil {
		return err
	}
	if err := i.fillSlots(ctx, rec); err != nil {
		return err
	}
	if b := i.cp.take(); b != nil {
		i.m.PutCheckPoint(b)
	}
	return nil
}

// special handles what a record changes beyond the blocks that it names.
func (i *Ingester) special(ctx context.Context, rec *wal.Record) error {
	switch rec.Rmgr {
	case pg.RmHeap, pg.RmHeap2, pg.RmNeon:
		return i.clearVM(ctx, rec)
	case pg.RmXLOG:
		return i.xlog(ctx, rec)
	case pg.RmXact:
		return i.xact(ctx, rec)
	case pg.RmSMGR:
		return i.smgr(ctx, rec)
	case pg.RmCLOG:
		return i.clogRecord(ctx, rec)
	case pg.RmDBase:
		return i.dbase(ctx, rec)
	case pg.RmTblspc:
		return i.tblspc(ctx, rec)
	case pg.RmMultiXact:
		return i.multixact(ctx, rec)
	case pg.RmRelMap:
		return i.relMap(ctx, rec)
	case pg.RmStandby:
		return i.standby(rec)
	case pg.RmCommitTs:
		return i.commitTs(ctx, rec)
	case pg.RmReplOrigin:
		return i.replOrigin(ctx, rec)
	case pg.RmLogicalMsg:
		return i.logicalMessage(ctx, rec)
	}
	return nil
}
