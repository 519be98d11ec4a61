package ingest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

// dbFiles are the files of one database.
type dbFiles struct {
	datadir.Database
	dir  string // relative, with slashes
	rels []relFiles
}

// relFiles are the files of one fork of a relation, one for each GiB.
type relFiles struct {
	rel    page.RelTag
	path   string // of the first file, relative
	blocks []uint32
}

// segmentPath is the file of the n-th GiB.
func (r *relFiles) segmentPath(n int) string {
	if n == 0 {
		return r.path
	}
	return r.path + "." + strconv.Itoa(n)
}

// parseOID reads a number as the server writes it in file names.
func parseOID(s string) (uint32, bool) {
	if s == "" || s[0] < '1' || s[0] > '9' {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, 32)
	return uint32(n), err == nil
}

// relName is a relation's file name taken apart.
type relName struct {
	rel     uint32
	fork    page.Fork
	segment uint32
}

var forkSuffixes = map[string]page.Fork{"fsm": page.ForkFSM, "vm": page.ForkVM, "init": page.ForkInit}

// parseRelName reads names such as 16384, 16384_vm and 16384.1 (GetRelationPath of common/relpath.c).
func parseRelName(name string) (n relName, ok bool) {
	base, seg, hasSeg := strings.Cut(name, ".")
	if hasSeg {
		if n.segment, ok = parseOID(seg); !ok || n.segment > 0xFFFFFFFF/pg.RelSegBlocks {
			return n, false
		}
	}
	num, suffix, hasFork := strings.Cut(base, "_")
	if hasFork {
		if n.fork, ok = forkSuffixes[suffix]; !ok {
			return n, false
		}
	}
	n.rel, ok = parseOID(num)
	return n, ok
}

// scanDatabases finds all relations, in the order of their keys.
func (d *DataDir) scanDatabases() error {
	entries, err := os.ReadDir(filepath.Join(d.Dir, "base"))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDataDir, err)
	}
	for _, e := range entries {
		name := "base/" + e.Name()
		oid, ok := parseOID(e.Name())
		if !ok {
			if e.Name() != "pgsql_tmp" {
				d.ignore(name)
			}
			continue
		}
		db := dbFiles{Database: datadir.Database{Spc: pg.DefaultTablespace, DB: oid}, dir: name}
		if err := d.scanDatabase(&db); err != nil {
			return err
		}
		d.dbs = append(d.dbs, db)
	}
	global := dbFiles{Database: datadir.Database{Spc: pg.GlobalTablespace}, dir: "global"}
	if err := d.scanDatabase(&global); err != nil {
		return err
	}
	if !global.HasRelMap {
		return refuse(d.Dir, "global/"+relMapName, "is not there: the cluster is not whole")
	}
	d.dbs = append(d.dbs, global)
	slices.SortFunc(d.dbs, func(a, b dbFiles) int {
		return page.RelDirKey(a.Spc, a.DB).Compare(page.RelDirKey(b.Spc, b.DB))
	})
	return nil
}

const relMapName = "pg_filenode.map"

// isTransient reports whether a server ignores or removes the file when it starts.
func isTransient(name string) bool {
	return strings.HasPrefix(name, "pg_internal.init") || name == "PG_VERSION" || name == "pg_control" ||
		name == relMapName+".tmp" || strings.HasPrefix(name, "pgsql_tmp") || isTempRelation(name)
}

// isTempRelation knows names of temporary relations, such as t3_16384: t, backend, relation.
func isTempRelation(name string) bool {
	rest, ok := strings.CutPrefix(name, "t")
	if !ok {
		return false
	}
	backend, rel, ok := strings.Cut(rest, "_")
	if !ok {
		return false
	}
	if _, ok := parseOID(backend); !ok && backend != "0" {
		return false
	}
	_, ok = parseRelName(rel)
	return ok
}

// maxIgnored bounds the list of files that are told of.
const maxIgnored = 100

func (d *DataDir) ignore(name string) {
	if len(d.Ignored) < maxIgnored {
		d.Ignored = append(d.Ignored, name)
	}
}

func (d *DataDir) scanDatabase(db *dbFiles) error {
	entries, err := os.ReadDir(filepath.Join(d.Dir, filepath.FromSlash(db.dir)))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDataDir, err)
	}
	segments := make(map[page.RelTag][]segment)
	for _, e := range entries {
		name := path.Join(db.dir, e.Name())
		n, ok := parseRelName(e.Name())
		switch {
		case e.Name() == relMapName:
			db.HasRelMap = true
			continue
		case isTransient(e.Name()):
			continue
		case !ok && e.Name()[0] >= '0' && e.Name()[0] <= '9':
			return refuse(d.Dir, name, "looks like a relation but its name has no known form: remove it if it does not belong to the cluster")
		case !ok:
			d.ignore(name)
			continue
		}
		size, err := d.blocksOf(name)
		if err != nil {
			return err
		}
		tag := page.RelTag{Spc: db.Spc, DB: db.DB, Rel: n.rel, Fork: n.fork}
		segments[tag] = append(segments[tag], segment{n.segment, size})
	}
	return d.assemble(db, segments)
}

// segment is one file of a relation's fork.
type segment struct{ no, blocks uint32 }

// blocksOf gives a file's size in blocks; a file that ends within a block is refused.
func (d *DataDir) blocksOf(name string) (uint32, error) {
	info, err := os.Stat(filepath.Join(d.Dir, filepath.FromSlash(name)))
	switch {
	case err != nil:
		return 0, fmt.Errorf("%w: %w", ErrDataDir, err)
	case !info.Mode().IsRegular():
		return 0, refuse(d.Dir, name, "is no regular file")
	case info.Size()%pg.BlockSize != 0:
		return 0, refuse(d.Dir, name, "size of %d bytes is no multiple of %d: the file is torn", info.Size(), pg.BlockSize)
	case info.Size() > pg.RelSegBlocks*pg.BlockSize:
		return 0, refuse(d.Dir, name, "size of %d bytes: a relation's file has at most %d", info.Size(), pg.RelSegBlocks*pg.BlockSize)
	}
	return uint32(info.Size() / pg.BlockSize), nil
}

// assemble puts files together to relations. Of unlogged relations, which have an init fork, only that is
// taken: a server starts them from it.
func (d *DataDir) assemble(db *dbFiles, segments map[page.RelTag][]segment) error {
	for tag, segs := range segments {
		if _, unlogged := segments[tag.WithFork(page.ForkInit)]; unlogged && tag.Fork != page.ForkInit {
			continue
		}
		slices.SortFunc(segs, func(a, b segment) int { return int(a.no) - int(b.no) })
		r := relFiles{rel: tag, path: path.Join(db.dir, relFileName(tag))}
		for n, s := range segs {
			if s.no != uint32(n) {
				return refuse(d.Dir, r.segmentPath(n), "is not there, but %s is: the relation is not whole", r.segmentPath(int(s.no)))
			}
			if before := n - 1; before >= 0 && segs[before].blocks < pg.RelSegBlocks && s.blocks > 0 {
				return refuse(d.Dir, r.segmentPath(before), "has %d blocks, but %s follows: the file is cut off", segs[before].blocks, r.segmentPath(n))
			}
			r.blocks = append(r.blocks, s.blocks)
			d.TotalBytes += int64(s.blocks) * pg.BlockSize
		}
		db.rels = append(db.rels, r)
	}
	slices.SortFunc(db.rels, func(a, b relFiles) int { return a.rel.Compare(b.rel) })
	return nil
}

func relFileName(tag page.RelTag) string {
	name := strconv.FormatUint(uint64(tag.Rel), 10)
	if tag.Fork != page.ForkMain {
		name += "_" + tag.Fork.String()
	}
	return name
}

// slruFile is one segment of an SLRU.
type slruFile struct {
	path    string
	segment uint32
	pages   uint32
}

// scanSLRUs finds the segments of the commit log, of multixacts and of commit timestamps. Names are hex, of four digits or more.
func (d *DataDir) scanSLRUs() error {
	for i, kind := range page.SLRUs {
		dir := kind.String()
		entries, err := os.ReadDir(filepath.Join(d.Dir, filepath.FromSlash(dir)))
		if err != nil && (kind != page.CommitTs || !errors.Is(err, fs.ErrNotExist)) {
			return fmt.Errorf("%w: %w", ErrDataDir, err)
		}
		for _, e := range entries {
			name := path.Join(dir, e.Name())
			n, err := strconv.ParseUint(e.Name(), 16, 32)
			if err != nil || fmt.Sprintf("%04X", n) != e.Name() {
				d.ignore(name)
				continue
			}
			pages, err := d.blocksOf(name)
			if err != nil {
				return err
			}
			if pages > pg.SLRUSegPages {
				return refuse(d.Dir, name, "has %d pages, at most %d belong into a file", pages, pg.SLRUSegPages)
			}
			d.slrus[i] = append(d.slrus[i], slruFile{name, uint32(n), pages})
			d.TotalBytes += int64(pages) * pg.BlockSize
		}
		slices.SortFunc(d.slrus[i], func(a, b slruFile) int { return int(a.segment) - int(b.segment) })
	}
	if len(d.slrus[page.Clog]) == 0 {
		return refuse(d.Dir, "pg_xact", "is empty: the cluster is not whole")
	}
	return nil
}

// twoPhaseFile is the state of a prepared transaction.
type twoPhaseFile struct {
	path string
	xid  uint64
}

// scanTwoPhase finds the prepared transactions: file names are 8 hex digits, 16 since 17.
func (d *DataDir) scanTwoPhase() error {
	const dir = "pg_twophase"
	entries, err := os.ReadDir(filepath.Join(d.Dir, dir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", ErrDataDir, err)
	}
	digits := 8
	if datadir.WideTwoPhase(d.Version) {
		digits = 16
	}
	for _, e := range entries {
		xid, err := strconv.ParseUint(e.Name(), 16, 64)
		if err != nil || fmt.Sprintf("%0*X", digits, xid) != e.Name() {
			d.ignore(dir + "/" + e.Name())
			continue
		}
		d.twoPhase = append(d.twoPhase, twoPhaseFile{dir + "/" + e.Name(), xid})
	}
	return nil // os.ReadDir sorts by name, which is by xid
}
