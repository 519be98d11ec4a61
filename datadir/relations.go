package datadir

import (
	"context"
	"fmt"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

// MaxGapBlocks bounds how far behind a relation's end one record may write: 512 MiB of zero pages, which
// one batch must hold. Servers extend relations by a few MiB at a time.
const MaxGapBlocks = 65536

// zeroPage fills gaps.
var zeroPage [pg.BlockSize]byte

// PutBlockImage makes image the block's next version. The relation is created or extended as needed.
func (m *Modification) PutBlockImage(ctx context.Context, rel page.RelTag, block uint32, image []byte) error {
	if err := m.reach(ctx, rel, block, true); err != nil || !m.shard.Keeps(rel.Block(block)) {
		return err
	}
	m.batch.PutImage(rel.Block(block), m.cur.End, image)
	return nil
}

// PutBlockRecord makes a WAL record the block's next version; the bytes are copied. The relation is created
// or extended as needed. A record that starts from the block's old content finds a zero page where the
// block was not there before, as PostgreSQL's redo does, also if the relation had such a block before it
// was truncated.
func (m *Modification) PutBlockRecord(ctx context.Context, rel page.RelTag, block uint32, willInit bool, record []byte) error {
	if err := m.reach(ctx, rel, block, willInit); err != nil || !m.shard.Keeps(rel.Block(block)) {
		return err
	}
	m.batch.PutRecord(rel.Block(block), m.cur.End, willInit, record)
	return nil
}

// PutBlockValue makes v the block's next version, as PutBlockRecord.
func (m *Modification) PutBlockValue(ctx context.Context, rel page.RelTag, block uint32, v *page.Value) error {
	if err := m.reach(ctx, rel, block, v.Initializes()); err != nil || !m.shard.Keeps(rel.Block(block)) {
		return err
	}
	m.batch.PutValue(rel.Block(block), m.cur.End, v)
	return nil
}

// reach makes sure that rel has the block.
func (m *Modification) reach(ctx context.Context, rel page.RelTag, block uint32, willInit bool) error {
	if n, ok := m.sizes.get(rel); ok && block < n {
		return nil
	}
	return m.extend(ctx, rel, block, willInit)
}

func (m *Modification) extend(ctx context.Context, rel page.RelTag, block uint32, willInit bool) error {
	if err := checkRel(rel); err != nil {
		return err
	}
	if block == 0xFFFFFFFF {
		return fmt.Errorf("relation %s: block number %d is not valid", rel, block)
	}
	n, ok, err := m.RelSize(ctx, rel)
	if err != nil || ok && block < n {
		return err
	}
	if !ok {
		if err := m.CreateRelation(ctx, rel); err != nil {
			return err
		}
	}
	if block-n > MaxGapBlocks {
		return fmt.Errorf("relation %s: block %d lies %d blocks behind the end; at most %d are filled with zeros", rel, block, block-n, MaxGapBlocks)
	}
	for b := n; b < block; b++ {
		if m.putZero(rel.Block(b)) {
			m.gapPages++
		}
	}
	if !willInit {
		m.putZero(rel.Block(block))
	}
	m.setSize(rel, n, block+1)
	return nil
}

// beforeEnd is an LSN inside the current record: a value there is older than what the record makes, also
// where a later part of the same record changes that page, and newer than the record before.
func (m *Modification) beforeEnd() page.LSN { return m.cur.End - recordUnit }

// setSize gives a relation that had old blocks n of them.
func (m *Modification) setSize(rel page.RelTag, old, n uint32) {
	m.changes.Blocks += int64(n) - int64(old)
	m.sizes.put(rel, n, true)
	for _, r := range m.resized {
		if r == rel {
			return
		}
	}
	m.resized = append(m.resized, rel)
}

func checkRel(rel page.RelTag) error {
	if rel.Rel == 0 || uint8(rel.Fork) > maxFork || !rel.Block(0).Storable() {
		return fmt.Errorf("relation %s: no valid name (relation number 0, fork above %d, or tablespace above 65535)", rel, maxFork)
	}
	return nil
}

// RelSize gives the number of blocks of a fork; ok is false if it does not exist.
func (m *Modification) RelSize(ctx context.Context, rel page.RelTag) (n uint32, ok bool, err error) {
	if n, ok := m.sizes.get(rel); ok {
		return n, true, nil
	}
	d, err := m.relDir(ctx, rel.Spc, rel.DB)
	if err != nil || d == nil || !d.has(rel) {
		return 0, false, err
	}
	k := rel.SizeKey()
	b, err := m.get(ctx, k)
	if err == nil {
		n, err = DecodeSize(b)
	}
	if err != nil {
		return 0, false, fmt.Errorf("size of relation %s: %w", rel, err)
	}
	m.sizes.put(rel, n, false)
	return n, true, nil
}

// CreateRelation makes an empty relation fork, and its database where that is not known. One that exists
// stays as it is, as in PostgreSQL's redo.
func (m *Modification) CreateRelation(ctx context.Context, rel page.RelTag) error {
	if err := checkRel(rel); err != nil {
		return err
	}
	d, err := m.relDir(ctx, rel.Spc, rel.DB)
	if err != nil {
		return err
	}
	if d == nil {
		if d, err = m.addDatabase(ctx, rel.Spc, rel.DB, false); err != nil {
			return err
		}
	}
	if d.add(rel) {
		m.setEntry(rel, true)
		m.setSize(rel, 0, 0)
	}
	return nil
}

// TruncateRelation shortens a fork to n blocks. One that is shorter already, or absent, stays as it is.
func (m *Modification) TruncateRelation(ctx context.Context, rel page.RelTag, n uint32) error {
	old, ok, err := m.RelSize(ctx, rel)
	if err == nil && ok && old > n {
		m.setSize(rel, old, n)
	}
	return err
}

// DropRelation removes all forks of a relation that exist.
func (m *Modification) DropRelation(ctx context.Context, rel page.RelTag) error {
	d, err := m.relDir(ctx, rel.Spc, rel.DB)
	if err != nil || d == nil {
		return err
	}
	for fork := page.ForkMain; uint8(fork) <= maxFork; fork++ {
		f := rel.WithFork(fork)
		if !d.has(f) {
			continue
		}
		n, _, err := m.RelSize(ctx, f)
		if err != nil {
			return err
		}
		d.remove(f)
		m.dropped(f, n)
	}
	return nil
}

// dropped notes that a relation of n blocks is gone.
func (m *Modification) dropped(rel page.RelTag, n uint32) {
	m.sizes.remove(rel)
	m.setEntry(rel, false)
	m.changes.Blocks -= int64(n)
	m.changes.Dropped = append(m.changes.Dropped, page.DroppedRelation{Rel: rel, LSN: m.cur.End})
}

// dropRelations notes that all relations of a directory are gone.
func (m *Modification) dropRelations(ctx context.Context, spc, db uint32, d *relDir) error {
	var stored []page.RelTag
	for _, f := range d.rels {
		rel := page.RelTag{Spc: spc, DB: db, Rel: f.Rel, Fork: page.Fork(f.Fork)}
		if n, ok := m.sizes.get(rel); ok {
			m.dropped(rel, n)
		} else {
			stored = append(stored, rel)
		}
	}
	sizes, err := m.Snapshot().RelSizes(ctx, stored)
	if err != nil {
		return err
	}
	for i, rel := range stored {
		m.dropped(rel, sizes[i])
	}
	return nil
}
