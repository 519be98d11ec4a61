package redocheck

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/control"
)

// cluster is a cleanly stopped data directory.
type cluster struct {
	dir             string
	version         pg.Version
	systemID        uint64
	checkpoint, end page.LSN // start and end of the last checkpoint record
	timeline        uint32
	segSize         uint32
	checksums       bool
	logHints        bool // changes of hint bits are logged: checksums or wal_log_hints

	files map[string]*os.File // open segment files; nil for one that does not exist
}

// maxOpenFiles bounds cluster.files.
const maxOpenFiles = 200

func openCluster(dir string, v pg.Version) (*cluster, error) {
	name := filepath.Join(dir, "global", "pg_control")
	f, err := control.Read(name)
	if err != nil {
		return nil, fmt.Errorf("data directory %s: %w", dir, err)
	}
	if f.Version() != v {
		return nil, fmt.Errorf("%s is of PostgreSQL %d, the WAL is said to be of %d", name, f.Version(), v)
	}
	if s := f.State(); s != control.ShutDown && s != control.ShutDownInRecovery {
		return nil, fmt.Errorf("%s: the cluster was not cleanly stopped (state %v); stop it with pg_ctl stop before it is copied", name, s)
	}
	last := f.CheckPoint()
	c := &cluster{
		dir: dir, version: v,
		systemID:   f.SystemID(),
		checkpoint: f.CheckPointLSN(),
		end:        f.ShutdownCheckpointEnd(),
		timeline:   last.Timeline(),
		segSize:    f.WALSegSize(),
		checksums:  f.ChecksumVersion() != 0,
		files:      map[string]*os.File{},
	}
	c.logHints = c.checksums || f.Settings().WALLogHints
	return c, nil
}

// path gives the name of a relation's first segment file.
func (c *cluster) path(r page.RelTag) string {
	file := strconv.FormatUint(uint64(r.Rel), 10)
	if r.Fork != page.ForkMain {
		file += "_" + r.Fork.String()
	}
	db := strconv.FormatUint(uint64(r.DB), 10)
	switch r.Spc {
	case pg.GlobalTablespace:
		return filepath.Join(c.dir, "global", file)
	case pg.DefaultTablespace:
		return filepath.Join(c.dir, "base", db, file)
	}
	version := fmt.Sprintf("PG_%d_%d", c.version, c.version.CatalogVersion())
	return filepath.Join(c.dir, "pg_tblspc", strconv.FormatUint(uint64(r.Spc), 10), version, db, file)
}

// read reads a block into buf; ok is false if the cluster does not have it.
func (c *cluster) read(r page.RelTag, block uint32, buf []byte) (ok bool, err error) {
	name := c.path(r)
	if seg := block / pg.RelSegBlocks; seg > 0 {
		name += "." + strconv.FormatUint(uint64(seg), 10)
	}
	f, err := c.open(name)
	if err != nil || f == nil {
		return false, err
	}
	_, err = f.ReadAt(buf, int64(block%pg.RelSegBlocks)*pg.BlockSize)
	if errors.Is(err, io.EOF) {
		return false, nil
	}
	return err == nil, err
}

func (c *cluster) open(name string) (*os.File, error) {
	if f, ok := c.files[name]; ok {
		return f, nil
	}
	if len(c.files) >= maxOpenFiles {
		if err := c.close(); err != nil {
			return nil, err
		}
	}
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		f, err = nil, nil
	}
	if err == nil {
		c.files[name] = f
	}
	return f, err
}

// close closes what is open; reading may go on afterwards.
func (c *cluster) close() error {
	var errs []error
	for name, f := range c.files {
		if f != nil {
			errs = append(errs, f.Close())
		}
		delete(c.files, name)
	}
	return errors.Join(errs...)
}
