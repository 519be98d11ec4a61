package ingest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/bufpage"
	"github.com/stratapg/strata/pg/wal"
	"github.com/stratapg/strata/pg/xlogrec"
)

// Recovery says that a store holds the files of a base backup at Redo, from where WAL makes one state of them. Until the
// backup's end
//
//   - a record for a block that is not there, or was never written, changes nothing and is remembered: a later record must
//     cut or drop the relation, as it was when the file was copied (log_invalid_page of access/transam/xlogutils.c);
//   - a page whose checksum was wrong must be replaced by a record that needs nothing of it: the server wrote it while it was
//     copied, and its first change since Redo is logged with the whole page.
//
// What is left of either at the end is an error. That a page may be newer than records of it is redo's business: it skips
// those.
type Recovery struct {
	Redo page.LSN
	// End is where the state is whole at the earliest. 0: at the record that ends the backup which began at Redo.
	End page.LSN
	// Suspect are the pages whose checksum was wrong.
	Suspect []page.Key
}

// ErrIncomplete marks a base backup that its WAL does not make whole.
var ErrIncomplete = errors.New("WAL does not make the base backup whole")

// recovery is one at work.
type recovery struct {
	Recovery
	suspect map[page.Key]struct{}
	// open are blocks that records changed and that are not there, by relation; the LSN is that of the first such record.
	open  map[page.RelTag]map[uint32]page.LSN
	count int // of open; most is how many may be
	most  int
	// seen are the blocks of which a record has been met: one bit each, in words of 64 blocks.
	seen map[seenWord]uint64
	end  page.LSN // where the state is whole; 0 until then
}

type seenWord struct {
	rel  page.RelTag
	word uint32
}

// maxOpen bounds what is remembered of blocks that are not there.
const maxOpen = 4 << 20

func newRecovery(r Recovery) *recovery {
	v := &recovery{Recovery: r, suspect: map[page.Key]struct{}{}, open: map[page.RelTag]map[uint32]page.LSN{}, most: maxOpen, seen: map[seenWord]uint64{}}
	for _, k := range r.Suspect {
		v.suspect[k] = struct{}{}
	}
	return v
}

// Consistent gives the LSN from which a base backup is one state; 0 while WAL has not made it one. Without a Recovery it
// is the store's first.
func (i *Ingester) Consistent() page.LSN {
	if i.recovery == nil {
		return i.LSN()
	}
	return i.recovery.end
}

// admit says whether a record may change a block. init says that it needs nothing of the block.
func (i *Ingester) admit(ctx context.Context, rec *wal.Record, b *wal.Block, init bool) (bool, error) {
	r := i.recovery
	if r == nil || r.end != 0 {
		return true, nil
	}
	// Maps are made on the way, and a hint without an image is for nobody.
	if init || b.Rel.Fork == page.ForkVM || b.Rel.Fork == page.ForkFSM || rec.Rmgr == pg.RmXLOG {
		if init {
			delete(r.suspect, b.Rel.Block(b.Blkno))
		}
		r.see(b.Rel, b.Blkno)
		return true, nil
	}
	n, ok, err := i.m.RelSize(ctx, b.Rel)
	if err != nil {
		return false, err
	}
	there := ok && b.Blkno < n
	if there && !r.see(b.Rel, b.Blkno) {
		// The page is as it was copied, and stored.
		there, err = i.isWritten(ctx, b.Rel.Block(b.Blkno))
		if err != nil {
			return false, err
		}
	}
	if there {
		return true, nil
	}
	return false, r.remember(b.Rel, b.Blkno, rec.End)
}

// isWritten says whether a page was ever more than zeros. Of another shard's it is taken to be.
func (i *Ingester) isWritten(ctx context.Context, k page.Key) (bool, error) {
	if !datadir.ShardOf(i.store).Keeps(k) {
		return true, nil
	}
	b, err := i.store.Get(ctx, k, i.store.LastRecordLSN())
	if datadir.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return len(b) == pg.BlockSize && !bufpage.Page(b).IsNew(), nil
}

// see notes that a record of a block was met, and reports whether one was before.
func (r *recovery) see(rel page.RelTag, block uint32) bool {
	const perWord = 64
	w, bit := seenWord{rel, block / perWord}, uint64(1)<<(block%perWord)
	old := r.seen[w]
	r.seen[w] = old | bit
	return old&bit != 0
}

func (r *recovery) remember(rel page.RelTag, block uint32, lsn page.LSN) error {
	blocks := r.open[rel]
	if blocks == nil {
		blocks = map[uint32]page.LSN{}
		r.open[rel] = blocks
	}
	if _, ok := blocks[block]; ok {
		return nil
	}
	if r.count >= r.most {
		return fmt.Errorf("%w: over %d blocks that records change are not there", ErrIncomplete, r.most)
	}
	blocks[block] = lsn
	r.count++
	return nil
}

// cut forgets the blocks of a fork from one on: it was cut there (forget_invalid_pages).
func (i *Ingester) cut(rel page.RelTag, from uint32) {
	r := i.recovery
	if r == nil {
		return
	}
	for b := range r.open[rel] {
		if b >= from {
			delete(r.open[rel], b)
			r.count--
		}
	}
	for k := range r.suspect {
		if s, b, ok := k.RelBlock(); ok && s == rel && b >= from {
			delete(r.suspect, k)
		}
	}
}

// dropped forgets relations that were dropped.
func (i *Ingester) dropped(is func(page.RelTag) bool) {
	if i.recovery == nil {
		return
	}
	for rel := range i.recovery.open {
		if is(rel) {
			i.cut(rel, 0)
		}
	}
	for k := range i.recovery.suspect {
		if rel, _, ok := k.RelBlock(); ok && is(rel) {
			delete(i.recovery.suspect, k)
		}
	}
}

// backupEnd handles the record that ends a base backup.
func (i *Ingester) backupEnd(rec *wal.Record) error {
	const size = 8
	if i.recovery == nil || i.recovery.End != 0 {
		return nil
	}
	if len(rec.Main) != size {
		return fmt.Errorf("%w: end of a backup in %d bytes", xlogrec.ErrMalformed, len(rec.Main))
	}
	if page.LSN(binary.LittleEndian.Uint64(rec.Main)) == i.recovery.Redo {
		i.recovery.End = rec.End
	}
	return nil
}

// reached looks, behind a record, whether the backup is whole.
func (i *Ingester) reached(end page.LSN) error {
	r := i.recovery
	if r == nil || r.end != 0 || r.End == 0 || end < r.End {
		return nil
	}
	if err := r.complain(end); err != nil {
		return err
	}
	r.end, r.seen = end, nil
	return nil
}

// maxTold bounds what an error lists.
const maxTold = 5

// complain says what is left at the end.
func (r *recovery) complain(end page.LSN) error {
	var told []string
	for rel, blocks := range r.open {
		for b, lsn := range blocks {
			told = append(told, fmt.Sprintf("block %d of relation %s, which the record ending at %s changes, is not there", b, rel, lsn))
		}
	}
	for k := range r.suspect {
		told = append(told, fmt.Sprintf("%s has a wrong checksum, and no WAL replaces it", k.Describe()))
	}
	if len(told) == 0 {
		return nil
	}
	slices.Sort(told)
	more := ""
	if len(told) > maxTold {
		more = fmt.Sprintf(", and %d more", len(told)-maxTold)
		told = told[:maxTold]
	}
	return fmt.Errorf("%w: at the end of the backup, %s: %s%s; the backup is damaged or files of it are missing: take it anew", ErrIncomplete, end, told, more)
}

// Recover replays the WAL of a base backup into the store that its files were put into, up to where they are one state,
// and gives that LSN; all of it is stored then. d.Backup must be set. progress, if set, is called now and then.
func (d *DataDir) Recover(ctx context.Context, store datadir.Store, flavour pg.Flavour, suspect []page.Key, progress func(Progress)) (end page.LSN, err error) {
	b := d.Backup
	i, err := NewIngester(ctx, store, Options{Version: d.Version, Flavour: flavour, SegSize: d.SegSize, SystemID: d.SystemID,
		Recovery: &Recovery{Redo: b.Redo, End: b.End, Suspect: suspect}})
	if err != nil {
		return 0, err
	}
	r, err := b.openWAL(d, b.Redo)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	var rec wal.Record
	for i.Consistent() == 0 {
		ok, err := r.Next(ctx, &rec)
		if err == nil && !ok {
			err = fmt.Errorf("%w: the WAL in %s ends at %s (%w), and the base backup at %s: give all of it, as pg_basebackup with --wal-method=fetch or stream takes it",
				ErrUntil, b.walLabel, r.LSN(), r.Stopped(), b.ends())
		}
		if err == nil {
			err = i.Record(ctx, &rec)
		}
		if err != nil {
			return 0, err
		}
		if n := i.stats.Records; progress != nil && n%progressEvery == 0 {
			progress(Progress{LSN: i.LSN(), Records: n, Bytes: int64(i.LSN() - b.Redo), End: b.End})
		}
	}
	return i.Consistent(), i.Commit(ctx)
}

// ends says where a backup ends, as far as is known.
func (b *Backup) ends() string {
	if b.End == 0 {
		return "the record of its end, further on"
	}
	return b.End.String()
}
