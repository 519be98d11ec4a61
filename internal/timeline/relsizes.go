package timeline

import (
	"slices"

	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/page"
)

var (
	_ datadir.SizeCache = (*Timeline)(nil)
	_ datadir.SizeCache = (*Snapshot)(nil)
)

// CachedRelSize gives the size that a relation has as of lsn, if the caches of the timeline that lsn belongs to know it.
func (t *Timeline) CachedRelSize(rel page.RelTag, lsn page.LSN) (blocks uint32, ok bool, err error) {
	if err := t.checkLSN(lsn); err != nil {
		return 0, false, err
	}
	blocks, ok = t.home(lsn).sizes.Get(rel, lsn)
	return blocks, ok, nil
}

// KeepRelSize is told what was read where CachedRelSize knew nothing.
func (t *Timeline) KeepRelSize(rel page.RelTag, lsn page.LSN, blocks uint32) {
	t.home(lsn).sizes.Keep(rel, lsn, blocks)
}

// CachedRelSize is Timeline.CachedRelSize at an LSN up to the snapshot's.
func (s *Snapshot) CachedRelSize(rel page.RelTag, lsn page.LSN) (blocks uint32, ok bool, err error) {
	if err := s.begin(lsn); err != nil {
		return 0, false, err
	}
	defer s.release()
	blocks, ok = s.t.home(lsn).sizes.Get(rel, lsn)
	return blocks, ok, nil
}

// KeepRelSize is Timeline.KeepRelSize.
func (s *Snapshot) KeepRelSize(rel page.RelTag, lsn page.LSN, blocks uint32) {
	s.t.KeepRelSize(rel, lsn, blocks)
}

// noteSizes tells the cache of newest sizes what a batch changes, and g by how much all relations grow. It runs while the
// batch is stored and cannot be read yet: who reads above it finds the new sizes, who reads below finds that they
// are newer.
func (t *Timeline) noteSizes(b *page.Batch, g *grown) {
	entries := b.Entries()
	var dirs []int // those of relations and databases
	var gone []page.DroppedRelation
	sized, form := false, t.RelDirs().Form
	for i := range entries {
		e := &entries[i]
		if rel, ok := e.Key.RelSize(); ok {
			sized = true
			if n, ok := sizeIn(b, e); ok {
				t.sizes.Changed(rel, e.LSN, n)
			} else {
				t.sizes.Gone(rel, e.LSN+1)
			}
		} else if rel, ok := e.Key.RelEntry(); ok {
			if form == page.RelDirV2 && len(image(b, e)) == 0 {
				gone = append(gone, page.DroppedRelation{Rel: rel, LSN: e.LSN})
			}
		} else if _, _, ok := e.Key.RelDir(); ok && form != page.RelDirV2 || e.Key == page.DBDirKey {
			dirs = append(dirs, i)
		}
	}
	switch {
	case b.Relations != nil:
		g.blocks += b.Relations.Blocks
		for _, d := range b.Relations.Dropped {
			t.sizes.Gone(d.Rel, d.LSN)
		}
	case sized || len(dirs) > 0 || len(gone) > 0:
		g.unknown++
		for _, d := range gone {
			t.sizes.Gone(d.Rel, d.LSN)
		}
		for _, i := range dirs {
			t.pruneSizes(b, &entries[i])
		}
	}
}

// image gives the content of an entry that is an image, else nil.
func image(b *page.Batch, e *page.BatchEntry) []byte {
	if v, err := page.DecodeValue(b.Data(*e)); err == nil && v.Kind == page.KindImage {
		return v.Bytes
	}
	return nil
}

func sizeIn(b *page.Batch, e *page.BatchEntry) (uint32, bool) {
	n, err := datadir.DecodeSize(image(b, e))
	return n, err == nil
}

// pruneSizes forgets the sizes of relations that are not in a directory any more. A directory that does not decode has
// none.
func (t *Timeline) pruneSizes(b *page.Batch, e *page.BatchEntry) {
	if spc, db, ok := e.Key.RelDir(); ok {
		rels, _ := datadir.DecodeRelations(image(b, e))
		left := make(map[datadir.RelFork]bool, len(rels))
		for _, r := range rels {
			left[r] = true
		}
		t.sizes.Prune(e.LSN, func(r page.RelTag) bool {
			return r.Spc == spc && r.DB == db && !left[datadir.RelFork{Rel: r.Rel, Fork: uint8(r.Fork)}]
		})
		return
	}
	dbs, _ := datadir.DecodeDatabases(image(b, e))
	t.sizes.Prune(e.LSN, func(r page.RelTag) bool {
		return !slices.ContainsFunc(dbs, func(d datadir.Database) bool { return d.Spc == r.Spc && d.DB == r.DB })
	})
}
