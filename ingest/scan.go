package ingest

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/ingest/source"
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
func (d *DataDir) scanDatabases(context.Context) error {
	if err := d.scanTablespace("base", pg.DefaultTablespace, []string{"pgsql_tmp"}); err != nil {
		return err
	}
	for _, s := range d.spaces {
		if err := d.scanTablespace(d.spaceDir(s.OID), s.OID, []string{"pgsql_tmp"}); err != nil {
			return err
		}
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

// scanTablespace finds the databases of a tablespace.
func (d *DataDir) scanTablespace(dir string, spc uint32, expected []string) error {
	entries, ok := d.files.in(dir)
	if !ok && spc == pg.DefaultTablespace {
		return refuse(d.Dir, dir, "is not there: the cluster is not whole")
	}
	for _, e := range entries {
		base := path.Base(e.Path)
		oid, ok := parseOID(base)
		if !ok {
			if !slices.Contains(expected, base) {
				d.ignore(e.Path)
			}
			continue
		}
		db := dbFiles{Database: datadir.Database{Spc: spc, DB: oid}, dir: e.Path}
		if err := d.scanDatabase(&db); err != nil {
			return err
		}
		d.dbs = append(d.dbs, db)
	}
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
	entries, _ := d.files.in(db.dir)
	segments := make(map[page.RelTag][]segment)
	for _, e := range entries {
		base := path.Base(e.Path)
		n, ok := parseRelName(base)
		switch {
		case base == relMapName:
			db.HasRelMap = true
			continue
		case isTransient(base):
			continue
		case !ok && base[0] >= '0' && base[0] <= '9':
			return refuse(d.Dir, e.Path, "looks like a relation but its name has no known form: remove it if it does not belong to the cluster")
		case !ok:
			d.ignore(e.Path)
			continue
		}
		size, err := d.blocksOf(e)
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

// blocksOf gives a file's size in blocks; a file that ends within a block is refused, but for a base backup, in which it
// was just being extended: WAL has what follows.
func (d *DataDir) blocksOf(e source.Entry) (uint32, error) {
	switch {
	case e.Kind != source.Regular:
		return 0, refuse(d.Dir, e.Path, "is no regular file")
	case e.Size%pg.BlockSize != 0 && d.Backup == nil:
		return 0, refuse(d.Dir, e.Path, "size of %d bytes is no multiple of %d: the file is torn", e.Size, pg.BlockSize)
	case e.Size > pg.RelSegBlocks*pg.BlockSize:
		return 0, refuse(d.Dir, e.Path, "size of %d bytes: a relation's file has at most %d", e.Size, pg.RelSegBlocks*pg.BlockSize)
	}
	return uint32(e.Size / pg.BlockSize), nil
}

// assemble puts files together to relations. Of unlogged relations, which have an init fork, only that is
// taken: a server starts them from it. A relation of a base backup ends with the first file that is not full, as for a
// server: it was cut or dropped meanwhile, which WAL knows.
func (d *DataDir) assemble(db *dbFiles, segments map[page.RelTag][]segment) error {
	for tag, segs := range segments {
		if _, unlogged := segments[tag.WithFork(page.ForkInit)]; unlogged && tag.Fork != page.ForkInit {
			continue
		}
		slices.SortFunc(segs, func(a, b segment) int { return int(a.no) - int(b.no) })
		r := relFiles{rel: tag, path: path.Join(db.dir, relFileName(tag))}
		for n, s := range segs {
			if d.Backup != nil && (s.no != uint32(n) || n > 0 && segs[n-1].blocks < pg.RelSegBlocks) {
				break
			}
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
func (d *DataDir) scanSLRUs(context.Context) error {
	for i, kind := range page.SLRUs {
		dir := kind.String()
		entries, ok := d.files.in(dir)
		if !ok && kind != page.CommitTs {
			return refuse(d.Dir, dir, "is not there: the cluster is not whole")
		}
		for _, e := range entries {
			n, err := strconv.ParseUint(path.Base(e.Path), 16, 32)
			if err != nil || fmt.Sprintf("%04X", n) != path.Base(e.Path) {
				d.ignore(e.Path)
				continue
			}
			pages, err := d.blocksOf(e)
			if err != nil {
				return err
			}
			if pages > pg.SLRUSegPages {
				return refuse(d.Dir, e.Path, "has %d pages, at most %d belong into a file", pages, pg.SLRUSegPages)
			}
			d.slrus[i] = append(d.slrus[i], slruFile{e.Path, uint32(n), pages})
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

// scanTwoPhase finds the prepared transactions: file names are 8 hex digits, 16 since 17. Those of a base backup that were
// prepared behind its checkpoint, or had ended already, are left to WAL, as a server's recovery removes them
// (ProcessTwoPhaseBuffer of access/transam/twophase.c).
func (d *DataDir) scanTwoPhase(ctx context.Context) error {
	const dir = "pg_twophase"
	entries, _ := d.files.in(dir)
	digits := 8
	if datadir.WideTwoPhase(d.Version) {
		digits = 16
	}
	for _, e := range entries {
		name := path.Base(e.Path)
		xid, err := strconv.ParseUint(name, 16, 64)
		if err != nil || fmt.Sprintf("%0*X", digits, xid) != name {
			d.ignore(e.Path)
			continue
		}
		if d.Backup != nil {
			if stale, err := d.hasEnded(ctx, uint32(xid)); err != nil {
				return err
			} else if stale {
				continue
			}
		}
		d.twoPhase = append(d.twoPhase, twoPhaseFile{e.Path, xid})
	}
	return nil // the listing is sorted by name, which is by xid
}
