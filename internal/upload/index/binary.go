package index

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/stratapg/strata/page"
)

// The metadata of index versions 1 to 6: 512 numbers, the bytes of what was once a file of its own. All
// integers are big-endian. Source: Neon, pageserver/src/tenant/metadata.rs.
//
//	offset size
//	0      4    CRC-32C of bytes 8 to size
//	4      2    size
//	6      2    format, 4 or 3
//	8      8    disk_consistent_lsn
//	       1+8  prev_record_lsn, behind a byte that says whether it is there
//	       1+16 ancestor_timeline, likewise
//	       8    ancestor_lsn, latest_gc_cutoff_lsn, initdb_lsn: 8 each
//	       4    pg_version, from format 4 on
const (
	binarySize   = 512
	binaryHeader = 8
	formatNow    = 4
	formatOld    = 3 // ends before pg_version, which is 14
	versionOld   = 14
)

// parseBinary reads the array form.
func parseBinary(raw json.RawMessage) (m Metadata, err error) {
	var numbers []int
	if err := json.Unmarshal(raw, &numbers); err != nil {
		return m, err
	}
	if len(numbers) != binarySize {
		return m, fmt.Errorf("%d numbers, want %d", len(numbers), binarySize)
	}
	b := make([]byte, binarySize)
	for i, n := range numbers {
		if n < 0 || n > 255 {
			return m, fmt.Errorf("number %d is %d, no byte", i, n)
		}
		b[i] = byte(n)
	}
	size, format := int(binary.BigEndian.Uint16(b[4:])), binary.BigEndian.Uint16(b[6:])
	if size < binaryHeader || size > binarySize {
		return m, fmt.Errorf("size %d", size)
	}
	if sum := crc32.Checksum(b[binaryHeader:size], crc32.MakeTable(crc32.Castagnoli)); sum != binary.BigEndian.Uint32(b) {
		return m, fmt.Errorf("checksum is %08x, its bytes give %08x", binary.BigEndian.Uint32(b), sum)
	}
	if format != formatNow && format != formatOld {
		return m, fmt.Errorf("format %d: want %d or %d", format, formatOld, formatNow)
	}
	return decodeBinary(fieldReader{b: b[binaryHeader:size]}, format)
}

func decodeBinary(r fieldReader, format uint16) (m Metadata, err error) {
	m.DiskConsistentLSN = r.lsn()
	if r.present() {
		l := r.lsn()
		m.PrevRecordLSN = &l
	}
	if r.present() {
		id := page.TimelineID(r.take(len(page.TimelineID{})))
		m.Ancestor = &id
	}
	m.AncestorLSN, m.GCCutoffLSN, m.InitdbLSN = r.lsn(), r.lsn(), r.lsn()
	m.PgVersion = versionOld
	if format == formatNow {
		m.PgVersion = int(binary.BigEndian.Uint32(r.take(4)))
	}
	if r.err == nil && len(r.b) > 0 {
		r.err = fmt.Errorf("%d bytes behind the last field", len(r.b))
	}
	return m, r.err
}

// fieldReader takes fields off b; after an error it gives zeros.
type fieldReader struct {
	b   []byte
	err error
}

func (r *fieldReader) take(n int) []byte {
	if len(r.b) < n {
		r.b, r.err = nil, errors.New("ends inside a field")
		return make([]byte, n)
	}
	f := r.b[:n]
	r.b = r.b[n:]
	return f
}

func (r *fieldReader) lsn() page.LSN { return page.LSN(binary.BigEndian.Uint64(r.take(8))) }

func (r *fieldReader) present() bool {
	switch c := r.take(1)[0]; c {
	case 0, 1:
		return c == 1
	default:
		r.b, r.err = nil, fmt.Errorf("byte %d where 0 or 1 says whether a field is there", c)
		return false
	}
}
