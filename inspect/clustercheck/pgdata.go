package clustercheck

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

// relFile is one fork of a relation on disk: its segment files in order.
type relFile struct {
	tag      page.RelTag
	segments []segment
	blocks   uint32
}

type segment struct {
	path   string
	blocks uint32
}

// dataDir is what a data directory holds, as far as it is compared.
type dataDir struct {
	root string
	rels map[page.RelTag]*relFile
	// maps are the paths of the relation maps, by tablespace and database.
	maps map[dbID]string
}

type dbID struct{ spc, db uint32 }

var (
	relName  = regexp.MustCompile(`^([1-9][0-9]*)(?:_(fsm|vm|init))?(?:\.([1-9][0-9]*))?$`)
	tempName = regexp.MustCompile(`^t[0-9]+_[0-9]+(?:_(?:fsm|vm|init))?(?:\.[0-9]+)?$`)
	oidName  = regexp.MustCompile(`^[1-9][0-9]*$`)
)

const relMapName = "pg_filenode.map"

// scan lists the relations of a data directory: global, base, and every tablespace.
func scan(root string, v pg.Version) (*dataDir, error) {
	d := &dataDir{root: root, rels: map[page.RelTag]*relFile{}, maps: map[dbID]string{}}
	if err := d.scanDB(filepath.Join(root, "global"), dbID{pg.GlobalTablespace, 0}); err != nil {
		return nil, err
	}
	if err := d.scanSpace(filepath.Join(root, "base"), pg.DefaultTablespace); err != nil {
		return nil, err
	}
	spaces, err := readDir(filepath.Join(root, "pg_tblspc"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, s := range spaces {
		oid, err := strconv.ParseUint(s, 10, 32)
		if err != nil {
			continue
		}
		versioned := filepath.Join(root, "pg_tblspc", s, fmt.Sprintf("PG_%d_%d", v, v.CatalogVersion()))
		if err := d.scanSpace(versioned, uint32(oid)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	for _, r := range d.rels {
		if err := r.order(); err != nil {
			return nil, err
		}
	}
	return d, nil
}

func readDir(dir string) ([]string, error) {
	es, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(es))
	for i, e := range es {
		names[i] = e.Name()
	}
	return names, nil
}

func (d *dataDir) scanSpace(dir string, spc uint32) error {
	names, err := readDir(dir)
	if err != nil {
		return err
	}
	for _, n := range names {
		if !oidName.MatchString(n) {
			continue
		}
		oid, err := strconv.ParseUint(n, 10, 32)
		if err != nil {
			return fmt.Errorf("%s: not a database's folder: %w", filepath.Join(dir, n), err)
		}
		if err := d.scanDB(filepath.Join(dir, n), dbID{spc, uint32(oid)}); err != nil {
			return err
		}
	}
	return nil
}

func (d *dataDir) scanDB(dir string, id dbID) error {
	names, err := readDir(dir)
	if err != nil {
		return err
	}
	for _, n := range names {
		path := filepath.Join(dir, n)
		if n == relMapName {
			d.maps[id] = path
			continue
		}
		if tempName.MatchString(n) {
			continue
		}
		m := relName.FindStringSubmatch(n)
		if m == nil {
			continue
		}
		oid, err := strconv.ParseUint(m[1], 10, 32)
		if err != nil {
			return fmt.Errorf("%s: not a relation's file: %w", path, err)
		}
		tag := page.RelTag{Spc: id.spc, DB: id.db, Rel: uint32(oid), Fork: forkOf(m[2])}
		if err := d.addSegment(tag, path); err != nil {
			return err
		}
	}
	return nil
}

func forkOf(suffix string) page.Fork {
	for f := page.ForkFSM; f <= page.ForkInit; f++ {
		if f.String() == suffix {
			return f
		}
	}
	return page.ForkMain
}

func (d *dataDir) addSegment(tag page.RelTag, path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.Size()%pg.BlockSize != 0 || info.Size() > pg.RelSegBlocks*pg.BlockSize {
		return fmt.Errorf("%s: %d bytes are not whole blocks of one segment", path, info.Size())
	}
	r := d.rels[tag]
	if r == nil {
		r = &relFile{tag: tag}
		d.rels[tag] = r
	}
	r.segments = append(r.segments, segment{path, uint32(info.Size() / pg.BlockSize)})
	return nil
}

// order sorts the segments by number and checks that all but the last are full.
func (r *relFile) order() error {
	number := func(s segment) int {
		n, _ := strconv.Atoi(relName.FindStringSubmatch(filepath.Base(s.path))[3])
		return n
	}
	slices.SortFunc(r.segments, func(a, b segment) int { return number(a) - number(b) })
	for i, s := range r.segments {
		if number(s) != i {
			return fmt.Errorf("%s: segment %d of relation %s is missing before it", s.path, i, r.tag)
		}
		// After a truncation PostgreSQL leaves later segments behind as empty files.
		if i > 0 && s.blocks > 0 && r.segments[i-1].blocks != pg.RelSegBlocks {
			return fmt.Errorf("%s: the segment before it is not full", s.path)
		}
		r.blocks += s.blocks
	}
	return nil
}

// read calls fn for every block in order, with a buffer that lives until fn returns.
func (r *relFile) read(fn func(block uint32, p []byte) error) error {
	buf := make([]byte, readBlocks*pg.BlockSize)
	block := uint32(0)
	for _, s := range r.segments {
		f, err := os.Open(s.path)
		if err != nil {
			return err
		}
		for done := uint32(0); done < s.blocks && err == nil; {
			n := min(s.blocks-done, readBlocks)
			b := buf[:n*pg.BlockSize]
			if _, err = f.ReadAt(b, int64(done)*pg.BlockSize); err != nil {
				break
			}
			for i := uint32(0); i < n && err == nil; i++ {
				err = fn(block, b[i*pg.BlockSize:(i+1)*pg.BlockSize])
				block++
			}
			done += n
		}
		if err = errors.Join(err, f.Close()); err != nil {
			return fmt.Errorf("%s: %w", s.path, err)
		}
	}
	return nil
}

// readBlocks is how many blocks one read of a file takes.
const readBlocks = 128
