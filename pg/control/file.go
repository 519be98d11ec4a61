// Package control reads and writes pg_control and the CheckPoint structure, of PostgreSQL 14 to 17. Both are
// kept as their bytes with typed accessors, so that padding and what we do not know survive a change.
//
// The format is catalog/pg_control.h; the layout, with compilers' padding, is in layout.go. Values are free
// of pointers and may be copied.
package control

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"os"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/wal"
)

// ErrChecksum marks a control file whose CRC does not fit: damaged, or of a layout that is not supported.
var ErrChecksum = errors.New("pg_control: wrong checksum")

// File is pg_control.
type File struct {
	b       [dataSize]byte
	version pg.Version
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Parse reads the content of pg_control. It refuses what is not of 14 to 17, has a wrong CRC, or was built
// with other sizes than Strata can store.
func Parse(b []byte) (*File, error) {
	if len(b) < dataSize {
		return nil, fmt.Errorf("pg_control has %d bytes, want %d", len(b), FileSize)
	}
	f := &File{}
	copy(f.b[:], b)
	if v := f.u32(offControlVersion); v != 1300 && v != 1700 {
		if swapped := byte4(v); swapped == 1300 || swapped == 1700 {
			return nil, fmt.Errorf("%w: pg_control is of a machine with the other byte order", pg.ErrUnsupportedVersion)
		}
		return nil, fmt.Errorf("%w: pg_control version %d; supported are 1300 (PostgreSQL 14 to 16) and 1700 (17)", pg.ErrUnsupportedVersion, v)
	}
	if got, want := f.u32(offCRC), f.crc(); got != want {
		return nil, fmt.Errorf("%w: %08X is stored, %08X is right", ErrChecksum, got, want)
	}
	var err error
	if f.version, err = pg.VersionOfCatalog(f.CatalogVersion()); err != nil {
		return nil, fmt.Errorf("pg_control: %w", err)
	}
	if f.u32(offControlVersion) != controlVersions[f.version] {
		return nil, fmt.Errorf("pg_control version %d does not go with catalog version %d", f.u32(offControlVersion), f.CatalogVersion())
	}
	if err := f.checkBuild(); err != nil {
		return nil, fmt.Errorf("pg_control: %w", err)
	}
	return f, nil
}

func byte4(v uint32) uint32 {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], v)
	return binary.LittleEndian.Uint32(b[:])
}

// Read is Parse for the file of that name.
func Read(name string) (*File, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	f, err := Parse(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return f, nil
}

// checkBuild compares the sizes that the server was built with to those that are supported.
func (f *File) checkBuild() error {
	for _, c := range []struct {
		what      string
		got, want uint32
	}{
		{"alignment", f.u32(offMaxAlign), wantMaxAlign},
		{"block size", f.u32(offBlockSize), pg.BlockSize},
		{"blocks per relation segment", f.u32(offRelSegSize), pg.RelSegBlocks},
		{"WAL block size", f.u32(offWALBlockSize), wal.PageSize},
		{"name length", f.u32(offNameDataLen), wantNameDataLen},
	} {
		if c.got != c.want {
			return fmt.Errorf("%s %d; only %d is supported", c.what, c.got, c.want)
		}
	}
	if math.Float64frombits(f.u64(offFloatFormat)) != wantFloatFormat {
		return fmt.Errorf("floating-point format of another machine")
	}
	if n := f.WALSegSize(); !wal.ValidSegSize(n) {
		return fmt.Errorf("WAL segment size %d: want a power of two from %d to %d", n, wal.MinSegSize, wal.MaxSegSize)
	}
	return nil
}

// Encode gives the content of pg_control, FileSize bytes, with the CRC that fits.
func (f *File) Encode() []byte {
	b := make([]byte, FileSize)
	copy(b, f.b[:])
	binary.LittleEndian.PutUint32(b[offCRC:], f.crc())
	return b
}

func (f *File) crc() uint32 { return crc32.Checksum(f.b[:offCRC], castagnoli) }

func (f *File) u32(off int) uint32       { return binary.LittleEndian.Uint32(f.b[off:]) }
func (f *File) u64(off int) uint64       { return binary.LittleEndian.Uint64(f.b[off:]) }
func (f *File) setU32(off int, v uint32) { binary.LittleEndian.PutUint32(f.b[off:], v) }
func (f *File) setU64(off int, v uint64) { binary.LittleEndian.PutUint64(f.b[off:], v) }

func flag(on bool) byte {
	if on {
		return 1
	}
	return 0
}

// ShutdownCheckpointEnd is where the checkpoint record ends to which CheckPointLSN points: after a clean stop
// the end of WAL.
func (f *File) ShutdownCheckpointEnd() page.LSN {
	return wal.ShutdownCheckpointEnd(f.CheckPointLSN(), f.WALSegSize())
}
