package basebackup

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/bits"

	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/control"
	"github.com/stratapg/strata/pg/wal"
)

// Changes is what a source must be besides for incremental backups.
type Changes interface {
	// EachChanged calls fn for the keys of a range that have a version above from, and at or below to: in any order, some
	// more than once. It may give keys that have not changed.
	EachChanged(ctx context.Context, keys page.Range, from, to page.LSN, fn func(k page.Key) error) error
}

// errNoChanges says that a source cannot tell what has changed.
var errNoChanges = errors.New("the source cannot tell what has changed since an LSN")

// changedFork says which blocks of a relation's fork have changed since the parent backup.
type changedFork struct {
	blocks uint32 // now
	before uint32 // in the parent
	bits   []uint64
}

const wordBits = 64

func (c *changedFork) mark(block uint32) {
	if block >= c.blocks {
		return // it was there in between
	}
	if c.bits == nil {
		c.bits = make([]uint64, (c.blocks+wordBits-1)/wordBits)
	}
	c.bits[block/wordBits] |= 1 << (block % wordBits)
}

// changed reports whether a block has to be in the backup. What the parent has not is changed.
func (c *changedFork) changed(block uint32) bool {
	return block >= c.before || c.bits != nil && c.bits[block/wordBits]>>(block%wordBits)&1 == 1
}

// count counts the blocks of [first, end) that have changed.
func (c *changedFork) count(first, end uint32) (n uint32) {
	for b := first; b < end; {
		if b%wordBits == 0 && b+wordBits <= min(end, c.before) {
			if c.bits != nil {
				n += uint32(bits.OnesCount64(c.bits[b/wordBits]))
			}
			b += wordBits
			continue
		}
		if c.changed(b) {
			n++
		}
		b++
	}
	return n
}

// runs gives the runs of changed blocks in [first, end).
func (c *changedFork) runs(first, end uint32) iter.Seq2[uint32, uint32] {
	return func(yield func(first, n uint32) bool) {
		for b := first; b < end; b++ {
			start := b
			for b < end && c.changed(b) {
				b++
			}
			if b > start && !yield(start, b-start) {
				return
			}
		}
	}
}

// planChanges finds out what has changed since the parent backup, if this is to be an incremental one.
func (b *backup) planChanges() error {
	if b.o.Parent == page.InvalidLSN {
		return nil
	}
	src, ok := b.src.(Changes)
	if !ok {
		return errNoChanges
	}
	record, _, err := datadir.At(b.src, b.o.Parent, b.o.Version).RecordBefore(b.ctx, b.o.Parent)
	if err != nil {
		return err
	}
	from := record.End
	if from > b.lsn {
		return fmt.Errorf("the parent backup is of LSN %s, behind %s", from, b.lsn)
	}
	snap := datadir.At(b.src, from, b.o.Version)
	if err := b.labelParent(snap); err != nil {
		return err
	}
	before, err := planDatabases(b.ctx, snap, b.o.Format)
	if err != nil {
		return fmt.Errorf("parent backup at %s: %w", from, err)
	}
	b.changes = pairForks(before, b.dbs)
	if from == b.lsn {
		return nil
	}
	return src.EachChanged(b.ctx, relationKeys, from, b.lsn, func(k page.Key) error {
		if rel, block, ok := k.RelBlock(); ok {
			if c := b.changes[rel]; c != nil {
				c.mark(block)
			}
		}
		return nil
	})
}

// relationKeys are those of relations, and some others.
var relationKeys = page.Range{Start: page.MinKey, End: page.Clog.DirKey()}

// labelParent says in the label what the parent is: its WAL begins at its generated checkpoint.
func (b *backup) labelParent(snap *datadir.Snapshot) error {
	raw, err := snap.CheckPoint(b.ctx)
	if err != nil {
		return fmt.Errorf("parent backup: %w", err)
	}
	cp, err := control.ParseCheckPoint(raw)
	if err != nil {
		return fmt.Errorf("parent backup: checkpoint at LSN %s: %w", snap.LSN(), err)
	}
	b.label.parent, b.label.parentTLI = wal.RecordStart(snap.LSN(), b.control.WALSegSize()), cp.Timeline()
	return nil
}

// pairForks finds the forks that both backups have as they are: not those that are made of init forks.
func pairForks(before, now []database) map[page.RelTag]*changedFork {
	sizes := make(map[page.RelTag]uint32)
	for _, d := range before {
		for _, f := range d.files {
			if f.from == f.rel.Fork {
				sizes[f.rel] = f.blocks
			}
		}
	}
	out := make(map[page.RelTag]*changedFork)
	for _, d := range now {
		for _, f := range d.files {
			if n, ok := sizes[f.rel]; ok && f.from == f.rel.Fork {
				out[f.rel] = &changedFork{blocks: f.blocks, before: n}
			}
		}
	}
	return out
}

// piece is one file of a relation's fork: at most 1 GiB of it.
type piece struct {
	file    relFile
	number  uint32
	first   uint32       // block of the fork
	blocks  uint32       // in the file as it is to be
	changes *changedFork // what has changed, if that alone is in the backup
	count   uint32       // of blocks that are in the backup
}

// pieces gives the files of a fork: one of no bytes for an empty one.
func (b *backup) pieces(f relFile) iter.Seq[piece] {
	return func(yield func(piece) bool) {
		for number, left := uint32(0), f.blocks; number == 0 || left > 0; number++ {
			p := piece{file: f, number: number, first: number * pg.RelSegBlocks, blocks: min(left, pg.RelSegBlocks)}
			left -= p.blocks
			p.count = p.blocks
			if c := b.changes[f.rel]; c != nil && f.from == f.rel.Fork && p.blocks > 0 && (number == 0 || c.before > p.first) {
				// A file of which nearly all has changed is sent whole, as PostgreSQL does.
				if n := c.count(p.first, p.first+p.blocks); uint64(n)*10 <= uint64(p.blocks)*9 {
					p.changes, p.count = c, n
				}
			}
			if !yield(p) {
				return
			}
		}
	}
}

// spans gives the blocks of a piece that are in the backup.
func (p *piece) spans(yield func(span) bool) bool {
	rel := p.file.rel.WithFork(p.file.from)
	if p.changes == nil {
		return p.blocks == 0 || yield(span{rel.Block(p.first), p.blocks})
	}
	for first, n := range p.changes.runs(p.first, p.first+p.blocks) {
		if !yield(span{rel.Block(first), n}) {
			return false
		}
	}
	return true
}
