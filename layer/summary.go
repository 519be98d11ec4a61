package layer

import (
	"encoding/binary"
	"fmt"

	"github.com/stratapg/strata/page"
)

// A layer file is a number of blocks of 8192 bytes: the summary, the values from offset 8192 on, zeros up to
// the next block, the index. The summary is, big-endian and zero-padded:
//
//	      0     2        4       20        36         54       72     80     88              92
//	delta | 5A61| version| tenant| timeline| start key| end key| start| end  | index_start_blk| index_root_blk|
//	image | 5A60| version| tenant| timeline| start key| end key| lsn  | index_start_blk| index_root_blk|
//
// index_root_blk counts from index_start_blk; the root is the file's last block. Sources: Neon,
// pageserver/src/tenant/storage_layer/{delta,image}_layer.rs.
const (
	imageMagic     = 0x5A60
	deltaMagic     = 0x5A61
	formatVersion  = 3
	dataStart      = blockSize
	minBlocks      = 3 // summary, values, index
	tenantOffset   = 4
	timelineOffset = 20
	keysOffset     = 36
	lsnOffset      = 72
)

type summary struct {
	id         Identity
	desc       Desc // keys, LSNs and kind
	indexStart uint32
	indexRoot  uint32
}

// append appends the summary, padded to a block.
func (s *summary) append(b []byte) []byte {
	start := len(b)
	magic := uint16(deltaMagic)
	if s.desc.Image {
		magic = imageMagic
	}
	b = binary.BigEndian.AppendUint16(b, magic)
	b = binary.BigEndian.AppendUint16(b, formatVersion)
	b = append(b, s.id.Tenant[:]...)
	b = append(b, s.id.Timeline[:]...)
	b = s.desc.Keys.Start.Append(b)
	b = s.desc.Keys.End.Append(b)
	b = binary.BigEndian.AppendUint64(b, uint64(s.desc.LSNs.Start))
	if !s.desc.Image {
		b = binary.BigEndian.AppendUint64(b, uint64(s.desc.LSNs.End))
	}
	b = binary.BigEndian.AppendUint32(b, s.indexStart)
	b = binary.BigEndian.AppendUint32(b, s.indexRoot)
	return append(b, make([]byte, blockSize-(len(b)-start))...)
}

// parseSummary reads a summary from a file's first block.
func parseSummary(b []byte) (summary, error) {
	if len(b) < blockSize {
		return summary{}, fmt.Errorf("summary of %d bytes", len(b))
	}
	var s summary
	switch magic := binary.BigEndian.Uint16(b); magic {
	case imageMagic:
		s.desc.Image = true
	case deltaMagic:
	default:
		return summary{}, fmt.Errorf("magic %04X is that of no layer", magic)
	}
	if v := binary.BigEndian.Uint16(b[2:]); v != formatVersion {
		return summary{}, fmt.Errorf("format version %d, only %d is known", v, formatVersion)
	}
	copy(s.id.Tenant[:], b[tenantOffset:])
	copy(s.id.Timeline[:], b[timelineOffset:])
	s.desc.Keys.Start = page.KeyFromBytes(b[keysOffset:])
	s.desc.Keys.End = page.KeyFromBytes(b[keysOffset+page.KeySize:])
	s.desc.LSNs.Start = page.LSN(binary.BigEndian.Uint64(b[lsnOffset:]))
	s.desc.LSNs.End = s.desc.LSNs.Start + 1
	at := lsnOffset + 8
	if !s.desc.Image {
		s.desc.LSNs.End = page.LSN(binary.BigEndian.Uint64(b[at:]))
		at += 8
	}
	s.indexStart = binary.BigEndian.Uint32(b[at:])
	s.indexRoot = binary.BigEndian.Uint32(b[at+4:])
	return s, nil
}

// size is the length of the layer, without the integrity trailer.
func (s *summary) size() int64 { return (int64(s.indexStart) + int64(s.indexRoot) + 1) * blockSize }

// check compares the summary with what the file's name, tenant and length (without its trailer) say.
func (s *summary) check(id Identity, d Desc, size int64) error {
	switch {
	case s.desc.Image != d.Image:
		return fmt.Errorf("the summary is that of another kind of layer")
	case s.id.Tenant != id.Tenant:
		return fmt.Errorf("layer of tenant %s, not of %s", s.id.Tenant, id.Tenant)
	case s.desc.Keys != d.Keys || s.desc.LSNs != d.LSNs:
		return fmt.Errorf("summary of layer %s", s.desc.Name())
	case s.indexStart < minBlocks-1:
		return fmt.Errorf("index starts at block %d", s.indexStart)
	case s.size() != size:
		return fmt.Errorf("index from block %d to %d in a file of %d bytes", s.indexStart,
			int64(s.indexStart)+int64(s.indexRoot), size)
	}
	return nil
}
