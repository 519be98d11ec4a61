package datadir

import (
	"context"
	"fmt"
	"slices"

	"github.com/stratapg/strata/page"
)

// directories are the decoded directories of a Modification. nil means not read yet. A dirty one is
// written when the record ends; dirty says that there may be one.
type directories struct {
	dirty    bool
	dbs      []Database
	dbsRead  bool
	dbsDirty bool
	rels     map[dbID]*relDir
	entries  map[page.RelTag]bool // relations' own keys that change: whether they exist now
	slru     map[page.SLRU]*slruDir
	segPages map[segmentID]uint32

	twoPhase      []uint64
	twoPhaseRead  bool
	twoPhaseDirty bool
}

type dbID struct{ spc, db uint32 }

type segmentID struct {
	kind    page.SLRU
	segment uint32
}

// Bounds on what is kept between commits.
const (
	maxKeptRelDirs  = 64
	maxKeptSegments = 4096
)

func newDirectories() directories {
	return directories{
		rels:     make(map[dbID]*relDir),
		entries:  make(map[page.RelTag]bool),
		slru:     make(map[page.SLRU]*slruDir),
		segPages: make(map[segmentID]uint32),
	}
}

// committed forgets what is more than the bounds allow; the store has it all.
func (d *directories) committed() {
	if len(d.rels) > maxKeptRelDirs {
		clear(d.rels)
	}
	if len(d.segPages) > maxKeptSegments {
		clear(d.segPages)
	}
}

// flushDirectories writes the directories that the current record changed, in key order.
func (m *Modification) flushDirectories() {
	d := &m.dirs
	if !d.dirty {
		return
	}
	d.dirty = false
	if d.dbsDirty {
		m.batch.PutImage(page.DBDirKey, m.cur.End, EncodeDatabases(d.dbs))
		d.dbsDirty = false
	}
	var dirty []dbID
	for id, rd := range d.rels {
		if rd.dirty {
			dirty = append(dirty, id)
		}
	}
	slices.SortFunc(dirty, func(a, b dbID) int {
		return compareDatabases(Database{Spc: a.spc, DB: a.db}, Database{Spc: b.spc, DB: b.db})
	})
	for _, id := range dirty {
		rd := d.rels[id]
		m.putRelDir(id, rd)
	}
	m.flushEntries()
	for _, kind := range page.SLRUs {
		if sd := d.slru[kind]; sd != nil && sd.dirty {
			m.batch.PutImage(kind.DirKey(), m.cur.End, EncodeSegments(sd.segments))
			sd.dirty = false
		}
	}
	if d.twoPhaseDirty {
		m.batch.PutImage(page.TwoPhaseDirKey, m.cur.End, EncodeTwoPhase(m.version, d.twoPhase))
		d.twoPhaseDirty = false
	}
}

// databases reads the directory of databases once.
func (m *Modification) databases(ctx context.Context) ([]Database, error) {
	if !m.dirs.dbsRead {
		b, err := m.get(ctx, page.DBDirKey)
		if err != nil {
			return nil, err
		}
		if m.dirs.dbs, err = DecodeDatabases(b); err != nil {
			return nil, err
		}
		m.dirs.dbsRead = true
	}
	return m.dirs.dbs, nil
}

// relDir is the directory of relations of one database in one tablespace.
type relDir struct {
	rels  []RelFork // sorted
	dirty bool
	fresh bool  // of a database that the record made
	any   *bool // set with dirty
}

func (d *relDir) find(rel page.RelTag) (int, bool) {
	return slices.BinarySearchFunc(d.rels, RelFork{rel.Rel, uint8(rel.Fork)}, compareRelForks)
}

func (d *relDir) has(rel page.RelTag) bool { _, ok := d.find(rel); return ok }

func (d *relDir) add(rel page.RelTag) bool {
	i, ok := d.find(rel)
	if !ok {
		d.rels = slices.Insert(d.rels, i, RelFork{rel.Rel, uint8(rel.Fork)})
		d.dirty, *d.any = true, true
	}
	return !ok
}

func (d *relDir) remove(rel page.RelTag) bool {
	i, ok := d.find(rel)
	if ok {
		d.rels = slices.Delete(d.rels, i, i+1)
		d.dirty, *d.any = true, true
	}
	return ok
}

// relDir gives the directory of a database's relations, nil if there is no such database.
func (m *Modification) relDir(ctx context.Context, spc, db uint32) (*relDir, error) {
	if d := m.dirs.rels[dbID{spc, db}]; d != nil {
		return d, nil
	}
	dbs, err := m.databases(ctx)
	if err != nil {
		return nil, err
	}
	if _, ok := slices.BinarySearchFunc(dbs, Database{Spc: spc, DB: db}, compareDatabases); !ok {
		return nil, nil
	}
	rels, err := m.storedRelations(ctx, spc, db)
	if err != nil {
		return nil, err
	}
	d := &relDir{rels: rels, any: &m.dirs.dirty}
	m.dirs.rels[dbID{spc, db}] = d
	return d, nil
}

// addDatabase makes a database known, with an empty directory of relations if it is new.
func (m *Modification) addDatabase(ctx context.Context, spc, db uint32, hasRelMap bool) (*relDir, error) {
	dbs, err := m.databases(ctx)
	if err != nil {
		return nil, err
	}
	i, ok := slices.BinarySearchFunc(dbs, Database{Spc: spc, DB: db}, compareDatabases)
	if !ok {
		if err := m.clearEntries(ctx, spc, db); err != nil {
			return nil, err
		}
		m.dirs.dbs = slices.Insert(dbs, i, Database{spc, db, hasRelMap})
		m.dirs.dbsDirty, m.dirs.dirty = true, true
		d := &relDir{dirty: true, fresh: true, any: &m.dirs.dirty}
		m.dirs.rels[dbID{spc, db}] = d
		return d, nil
	}
	if hasRelMap && !dbs[i].HasRelMap {
		dbs[i].HasRelMap = true
		m.dirs.dbsDirty, m.dirs.dirty = true, true
	}
	return m.relDir(ctx, spc, db)
}

// HasDatabase reports whether a database is known in a tablespace.
func (m *Modification) HasDatabase(ctx context.Context, spc, db uint32) (bool, error) {
	d, err := m.relDir(ctx, spc, db)
	return d != nil, err
}

// DropDatabase removes a database from one tablespace, relations and all. An unknown one is no error.
func (m *Modification) DropDatabase(ctx context.Context, spc, db uint32) error {
	dbs, err := m.databases(ctx)
	if err != nil {
		return err
	}
	i, ok := slices.BinarySearchFunc(dbs, Database{Spc: spc, DB: db}, compareDatabases)
	if !ok {
		return nil
	}
	d, err := m.relDir(ctx, spc, db)
	if err != nil {
		return err
	}
	if err := m.dropRelations(ctx, spc, db, d); err != nil {
		return err
	}
	m.dirs.dbs = slices.Delete(dbs, i, i+1)
	m.dirs.dbsDirty, m.dirs.dirty = true, true
	delete(m.dirs.rels, dbID{spc, db})
	return nil
}

// PutRelMap stores a database's pg_filenode.map and makes the database known.
func (m *Modification) PutRelMap(ctx context.Context, spc, db uint32, file []byte) error {
	k := page.RelMapKey(spc, db)
	if !k.Storable() || k == page.DBDirKey {
		return fmt.Errorf("relation map of database %d/%d: no valid name", spc, db)
	}
	if _, err := m.addDatabase(ctx, spc, db, true); err != nil {
		return err
	}
	m.batch.PutImage(k, m.cur.End, file)
	return nil
}
