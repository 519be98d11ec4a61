package datadir

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/stratapg/strata/pg"
)

// Database is a database in one tablespace. The shared relations are database 0 in tablespace 1664.
type Database struct {
	Spc, DB uint32
	// HasRelMap says that the database has its pg_filenode.map here, and so its PG_VERSION: this is its
	// default tablespace.
	HasRelMap bool
}

// compareDatabases orders as the keys do.
func compareDatabases(a, b Database) int {
	if a.Spc != b.Spc {
		return cmpUint(a.Spc, b.Spc)
	}
	return cmpUint(a.DB, b.DB)
}

func cmpUint[T uint32 | uint64](a, b T) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// RelFork is an entry of a database's directory of relations.
type RelFork struct {
	Rel  uint32
	Fork uint8
}

// order packs r so that numbers compare as the keys do.
func (r RelFork) order() uint64 { return uint64(r.Rel)<<8 | uint64(r.Fork) }

func compareRelForks(a, b RelFork) int { return cmpUint(a.order(), b.order()) }

// Sizes of the encoded entries of directories.
const (
	countSize       = 8
	databaseSize    = 4 + 4 + 1
	relForkSize     = 4 + 1
	segmentSize     = 4
	twoPhaseSize32  = 4
	twoPhaseSize64  = 8
	blockCountBytes = 4
)

// dirCount checks that b is a count and that many entries of the given size, nothing more.
func dirCount(what string, b []byte, entry int) (int, error) {
	if len(b) < countSize {
		return 0, fmt.Errorf("%w: %s of %d bytes has no count", ErrCorrupt, what, len(b))
	}
	n := binary.BigEndian.Uint64(b)
	if rest := uint64(len(b) - countSize); n > rest/uint64(entry) || n*uint64(entry) != rest {
		return 0, fmt.Errorf("%w: %s says %d entries of %d bytes, %d bytes follow", ErrCorrupt, what, n, entry, rest)
	}
	return int(n), nil
}

// EncodeDatabases encodes the directory of databases. It sorts ds.
func EncodeDatabases(ds []Database) []byte {
	slices.SortFunc(ds, compareDatabases)
	b := binary.BigEndian.AppendUint64(make([]byte, 0, countSize+len(ds)*databaseSize), uint64(len(ds)))
	for _, d := range ds {
		b = binary.BigEndian.AppendUint32(b, d.Spc)
		b = binary.BigEndian.AppendUint32(b, d.DB)
		if d.HasRelMap {
			b = append(b, 1)
		} else {
			b = append(b, 0)
		}
	}
	return b
}

// DecodeDatabases gives the databases in key order.
func DecodeDatabases(b []byte) ([]Database, error) {
	const what = "directory of databases"
	n, err := dirCount(what, b, databaseSize)
	if err != nil {
		return nil, err
	}
	ds := make([]Database, n)
	for i, e := 0, b[countSize:]; i < n; i, e = i+1, e[databaseSize:] {
		if e[8] > 1 {
			return nil, fmt.Errorf("%w: %s: entry %d has flag %d", ErrCorrupt, what, i, e[8])
		}
		ds[i] = Database{binary.BigEndian.Uint32(e), binary.BigEndian.Uint32(e[4:]), e[8] == 1}
	}
	slices.SortFunc(ds, compareDatabases)
	for i := 1; i < n; i++ {
		if compareDatabases(ds[i-1], ds[i]) == 0 {
			return nil, fmt.Errorf("%w: %s has %d/%d twice", ErrCorrupt, what, ds[i].Spc, ds[i].DB)
		}
	}
	return ds, nil
}

// EncodeRelations encodes a database's directory of relations. rels must be sorted by number, then fork.
func EncodeRelations(rels []RelFork) []byte {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, countSize+len(rels)*relForkSize), uint64(len(rels)))
	for _, r := range rels {
		b = append(binary.BigEndian.AppendUint32(b, r.Rel), r.Fork)
	}
	return b
}

// DecodeRelations gives the entries sorted by number, then fork.
func DecodeRelations(b []byte) ([]RelFork, error) {
	const what = "directory of relations"
	n, err := dirCount(what, b, relForkSize)
	if err != nil {
		return nil, err
	}
	rels := make([]RelFork, n)
	for i, e := 0, b[countSize:]; i < n; i, e = i+1, e[relForkSize:] {
		rels[i] = RelFork{binary.BigEndian.Uint32(e), e[4]}
		if rels[i].Rel == 0 || rels[i].Fork > maxFork {
			return nil, fmt.Errorf("%w: %s: entry %d is relation %d, fork %d", ErrCorrupt, what, i, rels[i].Rel, e[4])
		}
	}
	slices.SortFunc(rels, compareRelForks)
	for i := 1; i < n; i++ {
		if rels[i-1] == rels[i] {
			return nil, fmt.Errorf("%w: %s has relation %d, fork %d twice", ErrCorrupt, what, rels[i].Rel, rels[i].Fork)
		}
	}
	return rels, nil
}

// hasRelation looks for one entry without decoding the others: directories may be long.
func hasRelation(b []byte, want RelFork) (bool, error) {
	n, err := dirCount("directory of relations", b, relForkSize)
	if err != nil {
		return false, err
	}
	for e := b[countSize:]; n > 0; n, e = n-1, e[relForkSize:] {
		if binary.BigEndian.Uint32(e) == want.Rel && e[4] == want.Fork {
			return true, nil
		}
	}
	return false, nil
}

// EncodeSegments encodes the directory of an SLRU's segments. segs must be sorted.
func EncodeSegments(segs []uint32) []byte {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, countSize+len(segs)*segmentSize), uint64(len(segs)))
	for _, s := range segs {
		b = binary.BigEndian.AppendUint32(b, s)
	}
	return b
}

// DecodeSegments gives the segment numbers in ascending order.
func DecodeSegments(b []byte) ([]uint32, error) {
	n, err := dirCount("directory of SLRU segments", b, segmentSize)
	if err != nil {
		return nil, err
	}
	segs := make([]uint32, n)
	for i := range segs {
		segs[i] = binary.BigEndian.Uint32(b[countSize+i*segmentSize:])
	}
	slices.Sort(segs)
	return slices.Compact(segs), nil
}

// WideTwoPhase reports whether v names prepared transactions by 64-bit full transaction ids (17 on) or by
// 32-bit ones.
func WideTwoPhase(v pg.Version) bool { return v >= pg.V17 }

// EncodeTwoPhase encodes the directory of prepared transactions. xids must be sorted.
func EncodeTwoPhase(v pg.Version, xids []uint64) []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(len(xids)))
	for _, x := range xids {
		if WideTwoPhase(v) {
			b = binary.BigEndian.AppendUint64(b, x)
		} else {
			b = binary.BigEndian.AppendUint32(b, uint32(x))
		}
	}
	return b
}

// DecodeTwoPhase gives the transaction ids in ascending order.
func DecodeTwoPhase(v pg.Version, b []byte) ([]uint64, error) {
	entry := twoPhaseSize32
	if WideTwoPhase(v) {
		entry = twoPhaseSize64
	}
	n, err := dirCount("directory of prepared transactions", b, entry)
	if err != nil {
		return nil, err
	}
	xids := make([]uint64, n)
	for i := range xids {
		if e := b[countSize+i*entry:]; entry == twoPhaseSize64 {
			xids[i] = binary.BigEndian.Uint64(e)
		} else {
			xids[i] = uint64(binary.BigEndian.Uint32(e))
		}
	}
	slices.Sort(xids)
	return slices.Compact(xids), nil
}

// EncodeSize encodes a number of blocks or pages: little-endian, unlike everything else.
func EncodeSize(n uint32) []byte { return binary.LittleEndian.AppendUint32(nil, n) }

// DecodeSize is the reverse.
func DecodeSize(b []byte) (uint32, error) {
	if len(b) != blockCountBytes {
		return 0, fmt.Errorf("%w: size of %d bytes, want %d", ErrCorrupt, len(b), blockCountBytes)
	}
	return binary.LittleEndian.Uint32(b), nil
}
