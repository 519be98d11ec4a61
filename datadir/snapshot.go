package datadir

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

const maxFork = uint8(page.ForkInit)

// Snapshot is a data directory as of one LSN. It keeps nothing: every method reads, but for sizes of relations that
// its Reader remembers (SizeCache). Lists are in key order. Errors wrap page.ErrNotFound where the thing asked for does not exist at that LSN.
type Snapshot struct {
	r       Reader
	lsn     page.LSN
	version pg.Version
	dirs    page.RelDirs
}

// At gives the view of r as of lsn.
func At(r Reader, lsn page.LSN, version pg.Version) *Snapshot {
	return &Snapshot{r, lsn, version, relDirsOf(r)}
}

// LSN is the position of the view, Version the server's major version.
func (s *Snapshot) LSN() page.LSN       { return s.lsn }
func (s *Snapshot) Version() pg.Version { return s.version }

// get reads a value and names it in the error.
func (s *Snapshot) get(ctx context.Context, k page.Key) ([]byte, error) {
	b, err := s.r.Get(ctx, k, s.lsn)
	if err != nil {
		return nil, fmt.Errorf("%s at LSN %s: %w", k.Describe(), s.lsn, err)
	}
	return b, nil
}

// named says whose value did not decode.
func (s *Snapshot) named(k page.Key, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s at LSN %s: %w", k.Describe(), s.lsn, err)
}

// Databases lists all databases, the shared one (1664/0) among them. A database with relations in several
// tablespaces is listed once for each.
func (s *Snapshot) Databases(ctx context.Context) ([]Database, error) {
	b, err := s.get(ctx, page.DBDirKey)
	if err != nil {
		return nil, err
	}
	ds, err := DecodeDatabases(b)
	return ds, s.named(page.DBDirKey, err)
}

// Relations lists the forks of a database's relations in one tablespace.
func (s *Snapshot) Relations(ctx context.Context, spc, db uint32) ([]page.RelTag, error) {
	fs, err := s.relations(ctx, spc, db)
	if err != nil {
		return nil, err
	}
	rels := make([]page.RelTag, len(fs))
	for i, f := range fs {
		rels[i] = page.RelTag{Spc: spc, DB: db, Rel: f.Rel, Fork: page.Fork(f.Fork)}
	}
	return rels, nil
}

// RelExists reports whether a fork of a relation exists. A relation of an unknown database does not.
func (s *Snapshot) RelExists(ctx context.Context, rel page.RelTag) (bool, error) {
	if c, ok := s.r.(SizeCache); ok {
		if _, ok, err := c.CachedRelSize(rel, s.lsn); ok || err != nil {
			return ok, err
		}
	}
	return s.listed(ctx, rel)
}

// RelSize gives the number of blocks of a relation's fork. The error wraps page.ErrNotFound if it does not
// exist, also where it once did.
func (s *Snapshot) RelSize(ctx context.Context, rel page.RelTag) (uint32, error) {
	c, caches := s.r.(SizeCache)
	if caches {
		if n, ok, err := c.CachedRelSize(rel, s.lsn); ok || err != nil {
			return n, err
		}
	}
	ok, err := s.listed(ctx, rel)
	if err != nil {
		return 0, err
	}
	if !ok {
		return 0, fmt.Errorf("relation %s at LSN %s: %w", rel, s.lsn, page.ErrNotFound)
	}
	n, err := s.size(ctx, rel.SizeKey())
	if caches && err == nil {
		c.KeepRelSize(rel, s.lsn, n)
	}
	return n, err
}

func (s *Snapshot) size(ctx context.Context, k page.Key) (uint32, error) {
	b, err := s.get(ctx, k)
	if err != nil {
		return 0, err
	}
	n, err := DecodeSize(b)
	return n, s.named(k, err)
}

// RelSizes gives the sizes of relations that exist (taken from Relations, in that order) in one read.
func (s *Snapshot) RelSizes(ctx context.Context, rels []page.RelTag) ([]uint32, error) {
	keys := make([]page.Key, len(rels))
	for i, r := range rels {
		keys[i] = r.SizeKey()
	}
	return s.sizes(ctx, keys)
}

func (s *Snapshot) sizes(ctx context.Context, keys []page.Key) ([]uint32, error) {
	at := make(map[page.Key]uint32, len(keys))
	err := s.r.GetVectored(ctx, page.SetOfKeys(keys...), s.lsn, func(k page.Key, v []byte, err error) error {
		if err == nil {
			at[k], err = DecodeSize(v)
		}
		return s.named(k, err)
	})
	if err != nil {
		return nil, err
	}
	out := make([]uint32, len(keys))
	for i, k := range keys {
		n, ok := at[k]
		if !ok {
			return nil, s.named(k, page.ErrNotFound)
		}
		out[i] = n
	}
	return out, nil
}

// SLRUSegments lists the segments of an SLRU in ascending order.
func (s *Snapshot) SLRUSegments(ctx context.Context, kind page.SLRU) ([]uint32, error) {
	b, err := s.get(ctx, kind.DirKey())
	if kind == page.CommitTs && IsNotFound(err) {
		return nil, nil // of a timeline that never kept any
	}
	if err != nil {
		return nil, err
	}
	segs, err := DecodeSegments(b)
	return segs, s.named(kind.DirKey(), err)
}

// SLRUSegmentPages gives the number of pages of a segment, at most 32.
func (s *Snapshot) SLRUSegmentPages(ctx context.Context, kind page.SLRU, segment uint32) (uint32, error) {
	return s.size(ctx, kind.SizeKey(segment))
}

// TwoPhase lists the prepared transactions: full transaction ids for PostgreSQL 17, 32-bit ones before.
func (s *Snapshot) TwoPhase(ctx context.Context) ([]uint64, error) {
	b, err := s.get(ctx, page.TwoPhaseDirKey)
	if err != nil {
		return nil, err
	}
	xids, err := DecodeTwoPhase(s.version, b)
	return xids, s.named(page.TwoPhaseDirKey, err)
}

// TwoPhaseState gives the state file of a prepared transaction, without the CRC at its end.
func (s *Snapshot) TwoPhaseState(ctx context.Context, xid uint64) ([]byte, error) {
	return s.get(ctx, page.TwoPhaseKey(xid))
}

// ControlFile gives pg_control, whole.
func (s *Snapshot) ControlFile(ctx context.Context) ([]byte, error) {
	return s.get(ctx, page.ControlFileKey)
}

// CheckPoint gives the CheckPoint struct as the running server would have it.
func (s *Snapshot) CheckPoint(ctx context.Context) ([]byte, error) {
	return s.get(ctx, page.CheckpointKey)
}

// RelMap gives a database's pg_filenode.map; (1664, 0) is the shared one.
func (s *Snapshot) RelMap(ctx context.Context, spc, db uint32) ([]byte, error) {
	return s.get(ctx, page.RelMapKey(spc, db))
}

// AuxFiles lists the auxiliary files by path. A branch does not inherit them.
func (s *Snapshot) AuxFiles(ctx context.Context) ([]File, error) { return s.files(ctx, page.AuxRange) }

// ClusterFiles lists configuration, timeline histories (pg_wal/%08X.history) and tablespace paths
// (pg_tblspc/<oid>) by path.
func (s *Snapshot) ClusterFiles(ctx context.Context) ([]File, error) {
	return s.files(ctx, page.ClusterFileRange)
}

func (s *Snapshot) files(ctx context.Context, r page.Range) ([]File, error) {
	var out []File
	err := s.r.GetVectored(ctx, page.NewSet(r), s.lsn, func(k page.Key, v []byte, err error) error {
		if err != nil {
			return s.named(k, err)
		}
		fs, err := DecodeFiles(bytes.Clone(v))
		out = append(out, fs...)
		return s.named(k, err)
	})
	slices.SortFunc(out, compareFiles)
	return out, err
}

// Tablespace is a user tablespace and the path it was created with.
type Tablespace struct {
	OID  uint32
	Path string
}

// tablespaceDir is where the cluster files with the paths of tablespaces are.
const tablespaceDir = "pg_tblspc/"

// TablespaceFile is the path of the cluster file that keeps a tablespace's location.
func TablespaceFile(oid uint32) string { return tablespaceDir + strconv.FormatUint(uint64(oid), 10) }

// Tablespaces lists the user tablespaces by OID.
func (s *Snapshot) Tablespaces(ctx context.Context) ([]Tablespace, error) {
	fs, err := s.ClusterFiles(ctx)
	if err != nil {
		return nil, err
	}
	var out []Tablespace
	for _, f := range fs {
		name, ok := strings.CutPrefix(f.Path, tablespaceDir)
		if !ok {
			continue
		}
		oid, err := strconv.ParseUint(name, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("%w: cluster file %q names no tablespace", ErrCorrupt, f.Path)
		}
		out = append(out, Tablespace{uint32(oid), string(f.Content)})
	}
	slices.SortFunc(out, func(a, b Tablespace) int { return cmpUint(a.OID, b.OID) })
	return out, nil
}

// Origin is a replication origin and how far it has been replayed.
type Origin struct {
	ID  uint16
	LSN page.LSN
}

// Origins lists the replication origins that have progress.
func (s *Snapshot) Origins(ctx context.Context) ([]Origin, error) {
	var out []Origin
	err := s.r.GetVectored(ctx, page.NewSet(page.OriginRange), s.lsn, func(k page.Key, v []byte, err error) error {
		switch {
		case err != nil:
			return s.named(k, err)
		case len(v) == 0:
			return nil
		case len(v) != originSize:
			return s.named(k, fmt.Errorf("%w: %d bytes", ErrCorrupt, len(v)))
		}
		if lsn := page.LSN(binary.BigEndian.Uint64(v)); lsn != page.InvalidLSN {
			out = append(out, Origin{uint16(k.F6), lsn})
		}
		return nil
	})
	return out, err
}

// firstRecordWindow is how many bytes of WAL below an LSN the record index is first searched; each further
// step looks sixteen times further down.
const firstRecordWindow = 4 << 20

// RecordBefore gives the last record that ends at or before lsn, and batch, the end of the first record of
// the batch that holds it. lsn must not be above the view's. A branch whose ancestor's batch goes on past
// the branch point sees that batch's index whole: where batch is at or below the branch point and lsn
// above, ask again with the branch point.
func (s *Snapshot) RecordBefore(ctx context.Context, lsn page.LSN) (span RecordSpan, batch page.LSN, err error) {
	if lsn > s.lsn {
		return span, 0, fmt.Errorf("record before LSN %s: the view ends at %s", lsn, s.lsn)
	}
	end := page.RecordsKey(lsn).Next()
	for window := page.LSN(firstRecordWindow); ; window = growWindow(window) {
		low := page.RecordsKey(0)
		if lsn > window {
			low = page.RecordsKey(lsn - window)
		}
		last, index, err := s.lastInRange(ctx, page.Range{Start: low, End: end})
		if err != nil {
			return span, 0, err
		}
		if index != nil {
			err := EachRecord(index, func(r RecordSpan) bool {
				if r.End > lsn {
					return false
				}
				span = r
				return true
			})
			if err == nil && span.End == 0 {
				err = fmt.Errorf("%w: record index begins after its key", ErrCorrupt)
			}
			return span, page.LSN(uint64(last.F4)<<32 | uint64(last.F6)), s.named(last, err)
		}
		if lsn <= window {
			return span, 0, fmt.Errorf("no record ends at or before LSN %s: %w", lsn, page.ErrNotFound)
		}
	}
}

func growWindow(w page.LSN) page.LSN {
	if w > page.MaxLSN/16 {
		return page.MaxLSN
	}
	return w * 16
}

// lastInRange gives the highest key in r that has a value, and that value.
func (s *Snapshot) lastInRange(ctx context.Context, r page.Range) (last page.Key, value []byte, err error) {
	err = s.r.GetVectored(ctx, page.NewSet(r), s.lsn, func(k page.Key, v []byte, err error) error {
		if err != nil {
			return s.named(k, err)
		}
		last, value = k, append(value[:0], v...)
		return nil
	})
	return last, value, err
}

// IsNotFound reports whether err says that something does not exist at its LSN.
func IsNotFound(err error) bool { return errors.Is(err, page.ErrNotFound) }
