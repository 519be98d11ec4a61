package ingest

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/control"
	"github.com/stratapg/strata/pg/wal"
)

// ErrDataDir marks a data directory that cannot be imported. The message says why and what to do.
var ErrDataDir = errors.New("data directory cannot be imported")

// DataDir is the data directory of a cleanly stopped cluster, looked over but not read yet. It is only read,
// and must not change until Import is done.
type DataDir struct {
	Dir string
	// Version of the server, as PG_VERSION and pg_control agree.
	Version pg.Version
	// Control is the control file.
	Control control.File
	// LSN is the end of the shutdown checkpoint record, where the timeline begins; PrevLSN is its start.
	LSN, PrevLSN page.LSN
	SystemID     uint64
	SegSize      uint32 // wal_segment_size in bytes
	// Checksums says that pages carry checksums. HintBits says that changes of hint bits are in WAL (data
	// checksums or wal_log_hints), which redo of some records depends on.
	Checksums, HintBits bool
	// SkipChecksums makes Import take pages without looking at their checksums.
	SkipChecksums bool
	// TotalBytes is the size of all that Import will read; Ignored lists files that are no part of a cluster.
	TotalBytes int64
	Ignored    []string

	rawControl []byte
	dbs        []dbFiles
	slrus      [len(page.SLRUs)][]slruFile
	twoPhase   []twoPhaseFile
}

// refuse makes an error that names a path under dir.
func refuse(dir, name, format string, args ...any) error {
	return fmt.Errorf("%w: %s: %w", ErrDataDir, filepath.Join(dir, filepath.FromSlash(name)), fmt.Errorf(format, args...))
}

// maxSmallFile bounds what is read whole into memory.
const maxSmallFile = 16 << 20

// readSmall reads a file that has to be small.
func readSmall(dir, name string) ([]byte, error) {
	path := filepath.Join(dir, filepath.FromSlash(name))
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDataDir, err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxSmallFile {
		return nil, refuse(dir, name, "no regular file of at most %d bytes", maxSmallFile)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDataDir, err)
	}
	return b, nil
}

// OpenDataDir looks a data directory over and refuses what cannot be imported: errors wrap ErrDataDir.
func OpenDataDir(dir string) (*DataDir, error) {
	d := &DataDir{Dir: dir}
	for _, step := range []func() error{
		d.checkVersion, d.checkStopped, d.checkControl, d.checkTablespaces,
		d.scanDatabases, d.scanSLRUs, d.scanTwoPhase,
	} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// checkVersion reads PG_VERSION.
func (d *DataDir) checkVersion() error {
	if info, err := os.Stat(d.Dir); err != nil || !info.IsDir() {
		return fmt.Errorf("%w: %s is no directory that can be read (%v)", ErrDataDir, d.Dir, err)
	}
	b, err := readSmall(d.Dir, "PG_VERSION")
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %s has no PG_VERSION: it is not a PostgreSQL data directory", ErrDataDir, d.Dir)
	}
	if err != nil {
		return err
	}
	text := strings.TrimSpace(string(b))
	for v := pg.V14; v.Supported(); v++ {
		if strings.TrimSpace(v.VersionFile()) == text {
			d.Version = v
			return nil
		}
	}
	return refuse(d.Dir, "PG_VERSION", "%w: %.20q; supported are 14 to 17", pg.ErrUnsupportedVersion, text)
}

// checkStopped refuses a directory that a server uses or has still to recover.
func (d *DataDir) checkStopped() error {
	for _, f := range []struct{ name, why string }{
		{"postmaster.pid", "a server is running here, or died without removing the file: stop it with pg_ctl stop -m fast"},
		{"backup_label", "this is a base backup that no server has recovered yet: start a server on it, let it reach consistency, stop it cleanly, and import then"},
		{"tablespace_map", "this is a base backup that no server has recovered yet: start a server on it, let it reach consistency, stop it cleanly, and import then"},
		{"recovery.signal", "a recovery is requested here: start a server, let it finish, stop it cleanly, and import then"},
		{"standby.signal", "this is a standby: promote it and stop it cleanly, or import its primary"},
	} {
		_, err := os.Lstat(filepath.Join(d.Dir, f.name))
		if err == nil {
			return refuse(d.Dir, f.name, "%s", f.why)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%w: %w", ErrDataDir, err)
		}
	}
	return nil
}

const controlName = "global/pg_control"

// checkControl reads the control file and refuses a cluster whose layout or state is not supported.
func (d *DataDir) checkControl() error {
	raw, err := readSmall(d.Dir, controlName)
	if err != nil {
		return err
	}
	bad := func(format string, args ...any) error { return refuse(d.Dir, controlName, format, args...) }
	c, err := control.Parse(raw)
	if err != nil {
		return bad("%w", err)
	}
	if v := c.Version(); v != d.Version {
		return bad("belongs to PostgreSQL %d, PG_VERSION says %d", v, d.Version)
	}
	if c.State() != control.ShutDown {
		return bad("the cluster was not shut down cleanly (its state is %q): start a server, let it recover, and stop it with pg_ctl stop -m fast", c.State())
	}
	settings := c.Settings()
	if settings.WALLevel == control.Minimal {
		return bad("%w", ErrMinimalWAL)
	}
	if err := d.locate(c); err != nil {
		return bad("%w", err)
	}
	d.Control, d.rawControl = *c, raw
	d.SystemID, d.SegSize = c.SystemID(), c.WALSegSize()
	d.Checksums = c.ChecksumVersion() != 0
	d.HintBits = d.Checksums || settings.WALLogHints
	return nil
}

// locate computes where the shutdown checkpoint record ends.
func (d *DataDir) locate(c *control.File) error {
	start, cp := c.CheckPointLSN(), c.CheckPoint()
	if !start.Aligned() || start == 0 || wal.RecordStart(start, c.WALSegSize()) != start || cp.Redo() != start {
		return fmt.Errorf("the last checkpoint at %s (redo at %s) is no shutdown checkpoint", start, cp.Redo())
	}
	d.PrevLSN, d.LSN = start, c.ShutdownCheckpointEnd()
	return nil
}

// checkTablespaces refuses user tablespaces, by name.
func (d *DataDir) checkTablespaces() error {
	entries, err := os.ReadDir(filepath.Join(d.Dir, "pg_tblspc"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", ErrDataDir, err)
	}
	for _, e := range entries {
		if _, ok := parseOID(e.Name()); !ok {
			continue
		}
		name := "pg_tblspc/" + e.Name()
		target, err := os.Readlink(filepath.Join(d.Dir, "pg_tblspc", e.Name()))
		if err != nil {
			target = "a directory in place"
		}
		return refuse(d.Dir, name, "the cluster has a user tablespace (OID %s, %s): move its tables and databases to pg_default and drop it before the import; tablespaces that WAL creates later are kept", e.Name(), target)
	}
	return nil
}

// stillStopped checks after reading that no server has used the directory meanwhile.
func (d *DataDir) stillStopped() error {
	if err := d.checkStopped(); err != nil {
		return err
	}
	raw, err := readSmall(d.Dir, controlName)
	if err != nil {
		return err
	}
	if !bytes.Equal(raw, d.rawControl) {
		return refuse(d.Dir, controlName, "changed while the directory was read: stop the server and import again")
	}
	return nil
}
