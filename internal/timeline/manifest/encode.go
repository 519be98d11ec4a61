package manifest

import (
	"encoding/binary"
	"hash/crc32"
	"slices"

	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
)

// The file, integers big-endian:
//
//	header   0          8           12        16
//	         +----------+-----------+---------+
//	         | STRATAMF | version   | CRC-32C |      CRC of bytes 0 to 12
//	         +----------+-----------+---------+
//	edit     0      4        8          16     17      20        24
//	         +------+--------+----------+------+-------+---------+------------- - -
//	         | EDIT | length | sequence | type | 0 0 0 | CRC-32C | payload: items
//	         +------+--------+----------+------+-------+---------+------------- - -
//	                 of the              1 state        CRC of bytes 0 to 20
//	                 payload             2 change       and of the payload
//	item     0     1        3
//	         +-----+--------+------- - -
//	         | tag | length | value             in ascending order of tags; only those of layers may repeat
//	         +-----+--------+------- - -
const (
	fileMagic  = "STRATAMF"
	headerSize = 16
	// lineageVersion tells what the timeline came from before. All else in it may be as in any version below. wantedVersion says
	// how relations are listed where that is to change or has just done so, and relDirsVersion where not;
	// both may be a shard's. formatVersion is what is written, remoteVersion where layers are in remote storage too, chainsVersion where it is told of
	// some how many records follow each other, shardVersion where the timeline is a shard's. Files of older versions are read,
	// and written anew with the next edit: those of trailerVersion know no moved keys, and those of plainVersion no
	// flagChecked either.
	lineageVersion = 9
	wantedVersion  = 8
	relDirsVersion = 7
	shardVersion   = 6
	chainsVersion  = 5
	remoteVersion  = 4
	formatVersion  = 3
	trailerVersion = 2
	plainVersion   = 1

	editMark       = "EDIT"
	editHeaderSize = 24
	editCRCAt      = 20
	itemHeaderSize = 3

	typeState  = 1
	typeChange = 2
)

// Tags of items, and the lengths of their values where these are fixed.
const (
	tagIdentity = 1 // tenant 16, timeline 16; of a shard also number u8, count u8, layout u8, stripe size u32
	tagName     = 2 // UTF-8
	// version u16, flavour u8, flags u8, WAL segment size u32, system identifier u64; of relDirsVersion also the form of the
	// directories of relations u8, the LSN from which it is u64
	tagCluster  = 3
	tagInitial  = 4  // LSN u64
	tagAncestor = 5  // timeline 16, LSN u64; of lineageVersion see appendAncestor
	tagPosition = 6  // disk_consistent_lsn u64, prev_record_lsn u64
	tagCutoff   = 7  // LSN u64
	tagRemove   = 8  // layer, without size
	tagLayer    = 9  // keys 18 18, LSNs u64 u64, flags u8, generation u32, size u64
	tagMoved    = 10 // layer, without size, then any number of keys 18 18
	tagRemote   = 11 // layer, without size, then checksum u64, shard u16
	tagChains   = 12 // layer, without size, then records u32, then any number of keys 18 18, records u32
	tagRelDirs  = 13 // form of the directories of relations u8, LSN from which it is u64, form that they are to have u8 (0: none)

	identitySize = 32
	shardSize    = 7
	clusterSize  = 16
	lsnSize      = 8
	ancestorSize = 16 + lsnSize
	positionSize = 2 * lsnSize
	relDirsSize  = 1 + lsnSize
	wantedSize   = relDirsSize + 1
	removeSize   = 2*page.KeySize + 2*lsnSize + 1 + 4
	layerSize    = removeSize + 8
	remoteSize   = removeSize + 8 + 2
	rangeSize    = 2 * page.KeySize
	chainSize    = rangeSize + 4
	// maxMovedRanges is how many ranges of keys one item has: its length has 16 bits.
	maxMovedRanges = 1000

	flagChecksums = 1
	flagHintBits  = 2
	flagImage     = 1
	flagChecked   = 2 // the file ends in an integrity trailer
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// neededAfter is neededBy of a file to which e is appended.
func neededAfter(s *State, e *Edit) uint32 {
	needed := neededBy(s, len(e.Remote), len(e.Chains))
	if e.RelDirs != nil {
		needed = max(needed, wantedVersion)
	}
	return needed
}

// neededBy gives the version of a timeline's file that says of so many layers that they are in remote storage, and how many
// records follow each other.
func neededBy(s *State, remote, chains int) uint32 {
	m := &s.Meta
	switch {
	case !s.Lineage.None():
		return lineageVersion
	case m.RelDirsWanted != page.RelDirV1:
		return wantedVersion
	case m.RelDirs != page.RelDirs{}:
		return relDirsVersion
	case m.Shard != page.ShardIdentity{}:
		return shardVersion
	case chains > 0:
		return chainsVersion
	case remote > 0:
		return remoteVersion
	}
	return formatVersion
}

func appendHeader(b []byte, version uint32) []byte {
	start := len(b)
	b = append(b, fileMagic...)
	b = binary.BigEndian.AppendUint32(b, version)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b[start:], castagnoli))
}

// appendEdit appends an edit whose payload fill appends.
func appendEdit(b []byte, typ uint8, seq uint64, fill func(b []byte) []byte) []byte {
	start := len(b)
	b = append(b, editMark...)
	b = append(b, 0, 0, 0, 0)
	b = binary.BigEndian.AppendUint64(b, seq)
	b = append(b, typ, 0, 0, 0, 0, 0, 0, 0)
	b = fill(b)
	e := b[start:]
	binary.BigEndian.PutUint32(e[4:], uint32(len(e)-editHeaderSize))
	binary.BigEndian.PutUint32(e[editCRCAt:], editCRC(e))
	return b
}

// editCRC computes the checksum of a whole edit.
func editCRC(e []byte) uint32 {
	crc := crc32.Update(0, castagnoli, e[:editCRCAt])
	return crc32.Update(crc, castagnoli, e[editHeaderSize:])
}

func appendItem(b []byte, tag uint8, size int) []byte {
	return binary.BigEndian.AppendUint16(append(b, tag), uint16(size))
}

func appendLSNs(b []byte, lsns ...page.LSN) []byte {
	for _, l := range lsns {
		b = binary.BigEndian.AppendUint64(b, uint64(l))
	}
	return b
}

// appendState appends the payload of a state edit. The name must have passed CheckName.
func appendState(b []byte, s *State) []byte {
	sharded := s.Shard != page.ShardIdentity{}
	if sharded {
		b = appendItem(b, tagIdentity, identitySize+shardSize)
	} else {
		b = appendItem(b, tagIdentity, identitySize)
	}
	b = append(b, s.Tenant[:]...)
	b = append(b, s.Timeline[:]...)
	if sharded {
		b = append(b, s.Shard.Number, s.Shard.Count, s.Shard.Layout)
		b = binary.BigEndian.AppendUint32(b, s.Shard.StripeSize)
	}
	b = appendItem(b, tagName, len(s.Name))
	b = append(b, s.Name...)
	listed, wanted := s.RelDirs != page.RelDirs{}, (*RelDirs)(nil)
	if s.RelDirsWanted != page.RelDirV1 {
		listed, wanted = false, &RelDirs{s.RelDirs, s.RelDirsWanted}
	}
	if listed {
		b = appendItem(b, tagCluster, clusterSize+relDirsSize)
	} else {
		b = appendItem(b, tagCluster, clusterSize)
	}
	b = binary.BigEndian.AppendUint16(b, uint16(s.Version))
	var flags uint8
	if s.Checksums {
		flags |= flagChecksums
	}
	if s.HintBits {
		flags |= flagHintBits
	}
	b = append(b, uint8(s.Flavour), flags)
	b = binary.BigEndian.AppendUint32(b, s.WALSegSize)
	b = binary.BigEndian.AppendUint64(b, s.SystemID)
	if listed {
		b = appendLSNs(append(b, uint8(s.RelDirs.Form)), s.RelDirs.Since)
	}
	b = appendLSNs(appendItem(b, tagInitial, lsnSize), s.InitialLSN)
	b = appendAncestor(b, s)
	return appendChange(b, &Edit{
		Position: &Position{s.DiskConsistentLSN, s.PrevRecordLSN},
		Cutoff:   s.Cutoff,
		Add:      s.Layers,
		Moved:    s.Moved,
		Remote:   s.Remote,
		Chains:   s.Chains,
		RelDirs:  wanted,
	})
}

// appendChange appends the payload of a change edit, which is also how a state ends.
func appendChange(b []byte, e *Edit) []byte {
	if e.Position != nil {
		b = appendLSNs(appendItem(b, tagPosition, positionSize), e.Position.DiskConsistentLSN, e.Position.PrevRecordLSN)
	}
	if e.Cutoff != 0 {
		b = appendLSNs(appendItem(b, tagCutoff, lsnSize), e.Cutoff)
	}
	for _, d := range e.Remove {
		b = appendLayer(appendItem(b, tagRemove, removeSize), d)
	}
	for _, d := range e.Add {
		b = appendLayer(appendItem(b, tagLayer, layerSize), d)
		b = binary.BigEndian.AppendUint64(b, uint64(d.Size))
	}
	for _, m := range e.Moved {
		for keys := range slices.Chunk(m.Keys, maxMovedRanges) {
			b = appendLayer(appendItem(b, tagMoved, removeSize+len(keys)*rangeSize), m.Layer)
			for _, r := range keys {
				b = r.End.Append(r.Start.Append(b))
			}
		}
	}
	for i := range e.Remote {
		r := &e.Remote[i]
		b = appendLayer(appendItem(b, tagRemote, remoteSize), r.Layer)
		b = binary.BigEndian.AppendUint64(b, r.Sum)
		b = binary.BigEndian.AppendUint16(b, r.Shard)
	}
	b = appendChains(b, e.Chains)
	if d := e.RelDirs; d != nil {
		b = appendLSNs(append(appendItem(b, tagRelDirs, wantedSize), uint8(d.Form)), d.Since)
		b = append(b, uint8(d.Wanted))
	}
	return b
}

func appendLayer(b []byte, d layer.Desc) []byte {
	b = d.Keys.End.Append(d.Keys.Start.Append(b))
	b = appendLSNs(b, d.LSNs.Start, d.LSNs.End)
	var flags uint8
	if d.Image {
		flags |= flagImage
	}
	if d.Checked {
		flags |= flagChecked
	}
	return binary.BigEndian.AppendUint32(append(b, flags), d.Generation)
}

// encodeFile gives a whole file of one state edit.
func encodeFile(s *State, seq uint64) []byte {
	b := make([]byte, 0, headerSize+editHeaderSize+256+len(s.Layers)*(itemHeaderSize+layerSize)+len(s.Remote)*(itemHeaderSize+remoteSize))
	return appendEdit(appendHeader(b, neededBy(s, len(s.Remote), len(s.Chains))), typeState, seq, func(b []byte) []byte { return appendState(b, s) })
}
