package basebackup

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/stratapg/strata/pg"
)

// controlOf makes a control file and a checkpoint by their offsets (facts of catalog/pg_control.h), not by
// the code under test.
func controlOf(v pg.Version, checksums bool) (control, checkpoint []byte) {
	le := binary.LittleEndian
	cp := make([]byte, 88)
	le.PutUint64(cp[0:], 0x2000028)
	le.PutUint32(cp[8:], 1)
	le.PutUint32(cp[12:], 1)
	cp[16] = 1
	le.PutUint64(cp[24:], 900) // nextXid
	le.PutUint32(cp[32:], 24576)
	le.PutUint32(cp[36:], 3) // nextMulti
	le.PutUint32(cp[40:], 5)
	le.PutUint32(cp[44:], 700)
	le.PutUint32(cp[48:], 1)
	le.PutUint32(cp[52:], 1)
	le.PutUint32(cp[56:], 1)
	c := make([]byte, 8192)
	le.PutUint64(c[0:], 7306539954587820903)
	le.PutUint32(c[8:], 1300)
	if v >= pg.V17 {
		le.PutUint32(c[8:], 1700)
	}
	le.PutUint32(c[12:], v.CatalogVersion())
	le.PutUint32(c[16:], 1)
	le.PutUint64(c[32:], 0x2000028)
	copy(c[40:], cp)
	le.PutUint64(c[128:], 1000)
	le.PutUint32(c[172:], 2) // wal_level logical
	le.PutUint32(c[180:], 100)
	le.PutUint32(c[184:], 8)
	le.PutUint32(c[188:], 10)
	le.PutUint32(c[192:], 7)
	le.PutUint32(c[196:], 64)
	le.PutUint32(c[204:], 8)
	le.PutUint64(c[208:], 0x4132D68700000000) // 1234567.0
	le.PutUint32(c[216:], 8192)
	le.PutUint32(c[220:], 131072)
	le.PutUint32(c[224:], 8192)
	le.PutUint32(c[228:], 16<<20)
	le.PutUint32(c[232:], 64)
	le.PutUint32(c[236:], 32)
	le.PutUint32(c[240:], 1996)
	le.PutUint32(c[244:], 2048)
	c[248] = 1
	if checksums {
		le.PutUint32(c[252:], 1)
	}
	le.PutUint32(c[288:], crc32.Checksum(c[:288], castagnoli))
	return c, cp
}
