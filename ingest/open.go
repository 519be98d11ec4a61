package ingest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/ingest/source"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/control"
	"github.com/stratapg/strata/pg/wal"
)

// ErrDataDir marks a data directory that cannot be imported. The message says why and what to do.
var ErrDataDir = errors.New("data directory cannot be imported")

// DataDir is the data directory of a cluster that was stopped cleanly, or the base backup of one that was not,
// looked over but not read yet. It is only read, and must not change until the import is done.
type DataDir struct {
	Dir string // or what else the files come from
	// Version of the server, as PG_VERSION and pg_control agree.
	Version pg.Version
	// Control is the control file; of a base backup with the checkpoint that its label names.
	Control control.File
	// LSN is where the files belong: the end of the shutdown checkpoint record, whose start is PrevLSN; or the REDO
	// point of a base backup, whose PrevLSN is not known.
	LSN, PrevLSN page.LSN
	SystemID     uint64
	SegSize      uint32 // wal_segment_size in bytes
	// Checksums says that pages carry checksums. HintBits says that changes of hint bits are in WAL (data
	// checksums or wal_log_hints), which redo of some records depends on.
	Checksums, HintBits bool
	// Backup is set where the files are those of a base backup, which WAL has yet to make one state of.
	Backup *Backup
	// SkipChecksums makes an import take pages without looking at their checksums.
	SkipChecksums bool
	// AuxFiles makes an import take replication slots and what logical decoding keeps.
	AuxFiles bool
	// RelDirs is how an import lists relations.
	RelDirs page.RelDirForm
	// TotalBytes is the size of all that will be read; Ignored lists files that are no part of a cluster, Left those
	// that are and are not taken.
	TotalBytes int64
	Ignored    []string
	Left       []string

	src        source.Source
	files      listing
	rawControl []byte // as it lies in the source
	dbs        []dbFiles
	slrus      [len(page.SLRUs)][]slruFile
	twoPhase   []twoPhaseFile
	spaces     []datadir.Tablespace
}

// refuse makes an error that names a path under dir.
func refuse(dir, name, format string, args ...any) error {
	return fmt.Errorf("%w: %s: %w", ErrDataDir, dir+"/"+name, fmt.Errorf(format, args...))
}

// maxSmallFile bounds what is read whole into memory.
const maxSmallFile = 16 << 20

// readSmall reads a file that has to be small. The error wraps fs.ErrNotExist if there is none.
func (d *DataDir) readSmall(ctx context.Context, name string) ([]byte, error) {
	e, ok := d.files.find(name)
	if !ok {
		return nil, fmt.Errorf("%w: %s/%s: %w", ErrDataDir, d.Dir, name, fs.ErrNotExist)
	}
	if e.Kind != source.Regular || e.Size > maxSmallFile {
		return nil, refuse(d.Dir, name, "no regular file of at most %d bytes", maxSmallFile)
	}
	b, err := source.ReadAll(ctx, d.src, e, maxSmallFile)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDataDir, err)
	}
	return b, nil
}

// OpenDataDir looks a data directory over and refuses what cannot be imported: errors wrap ErrDataDir.
func OpenDataDir(dir string) (*DataDir, error) {
	return Open(context.Background(), source.Dir(dir), nil)
}

// Open is OpenDataDir of any source. walDir, if set, is where the WAL of a base backup lies that has none of its
// own. The source stays the caller's, and open until the import is done.
func Open(ctx context.Context, src source.Source, walDir fs.FS) (*DataDir, error) {
	d := &DataDir{Dir: src.String(), src: src}
	entries, err := src.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: %s cannot be listed: %w", ErrDataDir, d.Dir, err)
	}
	d.files = entries
	for _, step := range []func(context.Context) error{
		d.checkVersion, d.checkStopped, d.readLabel, d.checkControl, func(ctx context.Context) error { return d.startWAL(ctx, walDir) },
		d.scanTablespaces, d.scanDatabases, d.scanSLRUs, d.scanTwoPhase, d.scanSlots,
	} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	d.files = d.files.keep(func(e source.Entry) bool { return d.isSmall(e.Path) })
	return d, nil
}

// checkVersion reads PG_VERSION.
func (d *DataDir) checkVersion(ctx context.Context) error {
	b, err := d.readSmall(ctx, "PG_VERSION")
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

const pidName = "postmaster.pid"

// checkStopped refuses a directory that a server uses or has still to recover. The signals of a base backup are
// what is to become of it, not what it is.
func (d *DataDir) checkStopped(context.Context) error {
	if d.files.has(pidName) {
		return refuse(d.Dir, pidName, "a server is running here, or died without removing the file: stop it with pg_ctl stop -m fast, or import its base backup")
	}
	if d.files.has(labelName) {
		return nil
	}
	for _, f := range []struct{ name, why string }{
		{tablespaceMapName, "this belongs to a base backup whose backup_label is gone: take the backup anew"},
		{"recovery.signal", "a recovery is requested here: start a server, let it finish, stop it cleanly, and import then"},
		{"standby.signal", "this is a standby: promote it and stop it cleanly, or import its primary, or a base backup of either"},
	} {
		if d.files.has(f.name) {
			return refuse(d.Dir, f.name, "%s", f.why)
		}
	}
	return nil
}

const controlName = "global/pg_control"

// checkControl reads the control file and refuses a cluster whose layout or state is not supported.
func (d *DataDir) checkControl(ctx context.Context) error {
	raw, err := d.readSmall(ctx, controlName)
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
	if d.Backup == nil && c.State() != control.ShutDown {
		return bad("the cluster was not shut down cleanly (its state is %q): start a server, let it recover, and stop it with pg_ctl stop -m fast", c.State())
	}
	settings := c.Settings()
	if settings.WALLevel == control.Minimal {
		return bad("%w", ErrMinimalWAL)
	}
	if d.Backup == nil {
		if err := d.locate(c); err != nil {
			return bad("%w", err)
		}
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

// StillStopped checks after reading that no server has used the files meanwhile.
func (d *DataDir) StillStopped(ctx context.Context) error {
	if f, err := d.src.Open(ctx, pidName); err == nil {
		return errors.Join(refuse(d.Dir, pidName, "a server was started while the files were read: stop it and import again"), f.Close())
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", ErrDataDir, err)
	}
	e, _ := d.files.find(controlName)
	raw, err := source.ReadAll(ctx, d.src, e, maxSmallFile)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDataDir, err)
	}
	if !bytes.Equal(raw, d.rawControl) {
		return refuse(d.Dir, controlName, "changed while the files were read: stop the server and import again")
	}
	return nil
}
