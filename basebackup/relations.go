package basebackup

import (
	"context"
	"fmt"
	"slices"

	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

// relFile is one fork of a relation as it goes into the backup.
type relFile struct {
	rel    page.RelTag // what the file is
	from   page.Fork   // the fork whose blocks it gets: an unlogged main fork is a copy of the init fork
	blocks uint32
}

// database is one database in one tablespace, with its files in the order they are written.
type database struct {
	datadir.Database
	files []relFile
}

// planDatabases finds out every relation that goes into the backup, and its size. The plan takes some 20 bytes a relation.
func planDatabases(ctx context.Context, snap *datadir.Snapshot, format Format) ([]database, error) {
	dbs, err := snap.Databases(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]database, 0, len(dbs))
	for _, d := range dbs {
		if (d.Spc == pg.GlobalTablespace) != (d.DB == 0) {
			return nil, fmt.Errorf("%w: database %d/%d", datadir.ErrCorrupt, d.Spc, d.DB)
		}
		rels, err := snap.Relations(ctx, d.Spc, d.DB)
		if err != nil {
			return nil, err
		}
		if format == FormatCompute {
			if rels, err = computeRelations(d, rels); err != nil {
				return nil, err
			}
		}
		sizes, err := snap.RelSizes(ctx, rels)
		if err != nil {
			return nil, err
		}
		out = append(out, database{d, planRelations(rels, sizes)})
	}
	return out, nil
}

// computeRelations leaves what a compute has itself of a database: init forks, from which it makes unlogged relations.
func computeRelations(d datadir.Database, rels []page.RelTag) ([]page.RelTag, error) {
	if d.Spc != pg.DefaultTablespace && d.Spc != pg.GlobalTablespace && (d.HasRelMap || len(rels) > 0) {
		return nil, fmt.Errorf("database %d in tablespace %d: a Neon compute has no tablespaces of users", d.DB, d.Spc)
	}
	return slices.DeleteFunc(rels, func(r page.RelTag) bool { return r.Fork != page.ForkInit }), nil
}

// planRelations chooses the files of one database. rels are in key order, so that the forks of a relation
// are neighbours.
func planRelations(rels []page.RelTag, sizes []uint32) []relFile {
	files := make([]relFile, 0, len(rels))
	for start := 0; start < len(rels); {
		end := start + 1
		for end < len(rels) && rels[end].Rel == rels[start].Rel {
			end++
		}
		files = planForks(files, rels[start:end], sizes[start:end])
		start = end
	}
	return files
}

// planForks adds the files of one relation. Of an unlogged one, which has an init fork, a server keeps only
// that over a crash (ResetUnloggedRelations), and so does a backup. The free space map is left out: WAL does
// not keep it right, and a server makes it anew.
func planForks(files []relFile, forks []page.RelTag, sizes []uint32) []relFile {
	if i := slices.IndexFunc(forks, func(f page.RelTag) bool { return f.Fork == page.ForkInit }); i >= 0 {
		init := forks[i]
		return append(files, relFile{init.WithFork(page.ForkMain), page.ForkInit, sizes[i]},
			relFile{init, page.ForkInit, sizes[i]})
	}
	for i, f := range forks {
		if f.Fork != page.ForkFSM {
			files = append(files, relFile{f, f.Fork, sizes[i]})
		}
	}
	return files
}

// spans lists the blocks of all databases in the order they are written.
func (b *backup) spans(yield func(span) bool) {
	for _, d := range b.dbs {
		for _, f := range d.files {
			for p := range b.pieces(f) {
				if !p.spans(yield) {
					return
				}
			}
		}
	}
}

func (b *backup) totalBytes() (n int64) {
	for _, d := range b.dbs {
		for _, f := range d.files {
			for p := range b.pieces(f) {
				n += int64(p.count) * pg.BlockSize
			}
		}
	}
	return n
}

// writeDatabases writes the directories of databases, their relation maps and their relations.
func (b *backup) writeDatabases() error {
	b.out.total = b.totalBytes()
	r := newBlockReader(b.ctx, b.src, b.lsn, b.checksums, b.o, b.spans)
	defer r.close()
	for _, d := range b.dbs {
		dir := databaseDir(b.o.Version, d.Spc, d.DB)
		if !d.HasRelMap && len(d.files) == 0 {
			continue
		}
		if err := b.out.dir(dir); err != nil {
			return err
		}
		if err := b.writeRelMap(d.Database, dir); err != nil {
			return err
		}
		for _, f := range d.files {
			if err := b.writeRelation(r, dir, f); err != nil {
				return err
			}
		}
	}
	return nil
}

// writeRelMap writes what says that a directory is a database's: its version and its relation map. The
// shared relations' version is that of the data directory, written elsewhere.
func (b *backup) writeRelMap(d datadir.Database, dir string) error {
	if !d.HasRelMap {
		return nil
	}
	m, err := b.snap.RelMap(b.ctx, d.Spc, d.DB)
	if err != nil {
		return err
	}
	if d.Spc != pg.GlobalTablespace {
		if err := b.out.file(dir+"/"+versionName, []byte(b.o.Version.VersionFile())); err != nil {
			return err
		}
	}
	return b.out.file(dir+"/"+relMapName, m)
}

// writeRelation writes the files of one fork.
func (b *backup) writeRelation(r *blockReader, dir string, f relFile) error {
	for p := range b.pieces(f) {
		name := relFileName(f.rel, p.number)
		var header []byte
		if p.changes != nil {
			name, header = incrementalPrefix+name, p.header()
		}
		if err := b.writeBlocks(r, dir+"/"+name, header, p.count); err != nil {
			return err
		}
	}
	return nil
}

// writeBlocks writes a header and the reader's next n blocks as a file.
func (b *backup) writeBlocks(r *blockReader, name string, header []byte, n uint32) error {
	left := int64(n) * pg.BlockSize
	if err := b.out.begin(name, int64(len(header))+left); err != nil {
		return err
	}
	if _, err := b.out.Write(header); err != nil {
		return err
	}
	for left > 0 {
		p, err := r.next(left)
		if err != nil {
			return err
		}
		if _, err := b.out.Write(p); err != nil {
			return err
		}
		left -= int64(len(p))
	}
	return b.out.end(name)
}
