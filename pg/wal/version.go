package wal

import (
	"fmt"

	"github.com/stratapg/strata/pg"
)

// imageBits are the flags in bimg_info, which 15 renumbered (access/xlogrecord.h). Zero: that version has none.
type imageBits struct {
	apply, pglz, lz4, zstd uint8
}

// imageHasHole is the one flag that kept its value.
const imageHasHole = 0x01

// format is what differs between the versions' WAL.
type format struct {
	version     pg.Version
	image       imageBits
	customRmgrs bool // ids from 128 belong to extensions
	// maxRecord is the largest xl_tot_len that a server can read back: what an allocation may have
	// (utils/memutils.h), from 16 on a limit of its own (XLogRecordMaxSize).
	maxRecord uint32
}

const (
	maxAlloc      = 0x3fffffff
	maxRecordSize = 1020 << 20
)

var formats = [...]format{
	{version: pg.V14, image: imageBits{apply: 0x04, pglz: 0x02}, maxRecord: maxAlloc},
	{version: pg.V15, image: bits15, customRmgrs: true, maxRecord: maxAlloc},
	{version: pg.V16, image: bits15, customRmgrs: true, maxRecord: maxRecordSize},
	{version: pg.V17, image: bits15, customRmgrs: true, maxRecord: maxRecordSize},
}

var bits15 = imageBits{apply: 0x02, pglz: 0x04, lz4: 0x08, zstd: 0x10}

// formatOf finds the version's entry; the pointer stays valid and must not be written through.
func formatOf(v pg.Version) (*format, error) {
	i := int(v - pg.V14)
	if i < 0 || i >= len(formats) {
		return nil, fmt.Errorf("%w: %d", pg.ErrUnsupportedVersion, int(v))
	}
	return &formats[i], nil
}

// rmgrValid reports whether a record of this resource manager can exist (access/rmgr.h).
func (f *format) rmgrValid(r pg.Rmgr) bool {
	return r <= pg.RmLogicalMsg || f.customRmgrs && r >= firstCustomRmgr
}

// firstCustomRmgr is RM_MIN_CUSTOM_ID.
const firstCustomRmgr pg.Rmgr = 128
