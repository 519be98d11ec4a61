package manifest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

// decoded is what a file says, and where it ends.
type decoded struct {
	version   uint32
	live      *live
	seq       uint64 // of the last whole edit
	stateSize int64  // of header and state edit
	good      int64  // where the last whole edit ends
}

// decodeFile reads a whole file. What follows the last whole edit is left over from a crash in the middle
// of an append and ignored, but only if no whole edit follows it: then the file is damaged.
func decodeFile(b []byte) (*decoded, error) {
	version, err := readHeader(b)
	if err != nil {
		return nil, err
	}
	d := &decoded{version: version, good: headerSize}
	for int(d.good) < len(b) {
		rest := b[d.good:]
		e, fault := wholeEdit(rest)
		if fault != "" {
			if d.live == nil {
				return nil, corrupt(d.good, "the state: "+fault)
			}
			if at, found := findEdit(rest[1:], d.seq); found {
				return nil, corrupt(d.good, fmt.Sprintf("%s, and whole edits follow from offset %d", fault, d.good+1+int64(at)))
			}
			return d, nil
		}
		if err := d.edit(e); err != nil {
			return nil, corrupt(d.good, err.Error())
		}
		d.good += int64(len(e))
	}
	if d.live == nil {
		return nil, corrupt(headerSize, "there is no state")
	}
	return d, nil
}

func corrupt(offset int64, what string) error {
	return fmt.Errorf("%w: offset %d: %s", ErrCorrupt, offset, what)
}

func readHeader(b []byte) (version uint32, err error) {
	if len(b) < headerSize || string(b[:len(fileMagic)]) != fileMagic {
		return 0, corrupt(0, "it does not begin as a manifest does")
	}
	if binary.BigEndian.Uint32(b[12:]) != crc32.Checksum(b[:12], castagnoli) {
		return 0, corrupt(0, "checksum of the header is wrong")
	}
	version = binary.BigEndian.Uint32(b[8:])
	if version < plainVersion || version > lineageVersion {
		return 0, fmt.Errorf("manifest format version %d: this program knows %d to %d", version, plainVersion, lineageVersion)
	}
	return version, nil
}

// grammar is what a version of the format may say.
type grammar struct {
	flags uint8 // of layers
	last  uint8 // the highest tag of a change
	// shards says that the file is a shard's, or may be one's where either says that it tells how relations are listed.
	shards, either bool
	relDirs        bool // with the cluster
	lineage        bool // the file tells what the timeline came from before, and may tell of relations with the cluster
}

func grammarOf(version uint32) grammar {
	switch version {
	case plainVersion:
		return grammar{flags: flagImage, last: tagLayer}
	case trailerVersion:
		return grammar{flags: flagImage | flagChecked, last: tagLayer}
	case formatVersion:
		return grammar{flags: flagImage | flagChecked, last: tagMoved}
	case remoteVersion:
		return grammar{flags: flagImage | flagChecked, last: tagRemote}
	}
	g := grammar{flagImage | flagChecked, tagChains, version >= shardVersion, version >= relDirsVersion, version == relDirsVersion, version == lineageVersion}
	if version >= wantedVersion {
		g.last = tagRelDirs
	}
	return g
}

// wholeEdit gives the edit at the start of b, or says why there is none.
func wholeEdit(b []byte) (edit []byte, fault string) {
	if len(b) < editHeaderSize {
		return nil, fmt.Sprintf("%d bytes are no edit", len(b))
	}
	if string(b[:4]) != editMark {
		return nil, "no edit begins here"
	}
	n := uint64(binary.BigEndian.Uint32(b[4:])) + editHeaderSize
	if n > uint64(len(b)) {
		return nil, fmt.Sprintf("edit of %d bytes, %d are left", n, len(b))
	}
	if e := b[:n:n]; binary.BigEndian.Uint32(b[editCRCAt:]) == editCRC(e) {
		return e, ""
	}
	return nil, "checksum of the edit is wrong"
}

// maxCandidates bounds the checksums computed in search of an edit behind a damaged place.
const maxCandidates = 1000

// findEdit looks for a whole edit that comes after seq anywhere in b. Too many places that begin like one
// count as found, for a crash does not leave such.
func findEdit(b []byte, seq uint64) (at int, found bool) {
	for range maxCandidates {
		i := bytes.Index(b[at:], []byte(editMark))
		if i < 0 {
			return 0, false
		}
		at += i
		if e, fault := wholeEdit(b[at:]); fault == "" && binary.BigEndian.Uint64(e[8:]) > seq {
			return at, true
		}
		at++
	}
	return at, true
}

// edit applies a whole edit.
func (d *decoded) edit(e []byte) error {
	seq, typ := binary.BigEndian.Uint64(e[8:]), e[16]
	if e[17]|e[18]|e[19] != 0 {
		return fmt.Errorf("edit %d has bits that this program does not know", seq)
	}
	switch {
	case typ == typeState && d.live == nil:
		s, err := decodeState(e[editHeaderSize:], grammarOf(d.version))
		if err != nil {
			return err
		}
		d.seq, d.stateSize = seq, headerSize+int64(len(e))
		d.live, err = newLive(s)
		return err
	case typ == typeChange && d.live != nil:
		if seq != d.seq+1 {
			return fmt.Errorf("edit %d follows edit %d", seq, d.seq)
		}
		c, err := decodeChange(e[editHeaderSize:], grammarOf(d.version))
		if err != nil {
			return fmt.Errorf("edit %d: %w", seq, err)
		}
		layers, err := d.live.check(&c)
		if err != nil {
			return fmt.Errorf("edit %d: %w", seq, err)
		}
		d.live.apply(&c, layers)
		d.seq = seq
		return nil
	}
	return fmt.Errorf("edit %d of type %d has no place here", seq, typ)
}

func decodeState(b []byte, g grammar) (s State, err error) {
	rest, err := eachItem(b, tagAncestor, func(tag uint8, v []byte) error { return s.item(tag, v, g) })
	if err != nil {
		return s, err
	}
	if s.Name == "" || !s.Version.Supported() || s.InitialLSN == 0 {
		return s, fmt.Errorf("state lacks name, version or initial LSN")
	}
	if err := CheckName(s.Name); err != nil {
		return s, err
	}
	c, err := decodeChange(rest, g)
	if err != nil {
		return s, err
	}
	if c.Position == nil || len(c.Remove) > 0 {
		return s, fmt.Errorf("state without position, or with removed layers")
	}
	s.DiskConsistentLSN, s.PrevRecordLSN = c.Position.DiskConsistentLSN, c.Position.PrevRecordLSN
	if g.lineage && s.Lineage.None() {
		return s, fmt.Errorf("no lineage in a file of version %d", lineageVersion)
	}
	s.Cutoff, s.Layers, s.Moved, s.Remote = c.Cutoff, c.Add, c.Moved, c.Remote
	s.Chains = c.Chains
	if c.RelDirs != nil {
		s.RelDirs, s.RelDirsWanted = c.RelDirs.RelDirs, c.RelDirs.Wanted
	}
	return s, nil
}

func (s *State) item(tag uint8, v []byte, g grammar) error {
	be := binary.BigEndian
	switch {
	case tag == tagIdentity && (!g.shards || g.either) && len(v) == identitySize:
		s.Tenant, s.Timeline = page.TenantID(v[:16]), page.TimelineID(v[16:])
	case tag == tagIdentity && g.shards && len(v) == identitySize+shardSize:
		s.Tenant, s.Timeline = page.TenantID(v[:16]), page.TimelineID(v[16:identitySize])
		v = v[identitySize:]
		s.Shard = page.ShardIdentity{ShardIndex: page.ShardIndex{Number: v[0], Count: v[1]}, Layout: v[2], StripeSize: be.Uint32(v[3:])}
		if (s.Shard == page.ShardIdentity{}) {
			return fmt.Errorf("shard %s in a file of version %d", s.Shard, shardVersion)
		}
		return s.Shard.Validate()
	case tag == tagName && len(v) <= MaxNameLen:
		s.Name = string(v)
	case tag == tagCluster && !g.relDirs && len(v) == clusterSize || tag == tagCluster && (g.relDirs || g.lineage) && len(v) == clusterSize+relDirsSize:
		s.Version, s.Flavour = pg.Version(be.Uint16(v)), pg.Flavour(v[2])
		if v[2] > uint8(pg.Neon) || v[3]&^(flagChecksums|flagHintBits) != 0 {
			return fmt.Errorf("flavour %d with flags %02X is unknown", v[2], v[3])
		}
		s.Checksums, s.HintBits = v[3]&flagChecksums != 0, v[3]&flagHintBits != 0
		s.WALSegSize, s.SystemID = be.Uint32(v[4:]), be.Uint64(v[8:])
		return s.listed(v[clusterSize:])
	case tag == tagInitial && len(v) == lsnSize:
		s.InitialLSN = page.LSN(be.Uint64(v))
	case tag == tagAncestor:
		return s.descent(v, g.lineage)
	default:
		return unknownItem(tag, v)
	}
	return nil
}

// listed reads how relations are listed, if a file says it.
func (s *State) listed(v []byte) error {
	if len(v) == 0 {
		return nil
	}
	s.RelDirs = page.RelDirs{Form: page.RelDirForm(v[0]), Since: page.LSN(binary.BigEndian.Uint64(v[1:]))}
	if !s.RelDirs.Form.Known() || s.RelDirs == (page.RelDirs{}) {
		return fmt.Errorf("directories of relations %s since LSN %s in a file of version %d", s.RelDirs.Form, s.RelDirs.Since, relDirsVersion)
	}
	return nil
}

func unknownItem(tag uint8, v []byte) error {
	return fmt.Errorf("item %d of %d bytes is unknown", tag, len(v))
}

func decodeChange(b []byte, g grammar) (e Edit, err error) {
	be := binary.BigEndian
	rest, err := eachItem(b, g.last, func(tag uint8, v []byte) error {
		switch {
		case tag == tagPosition && len(v) == positionSize:
			e.Position = &Position{page.LSN(be.Uint64(v)), page.LSN(be.Uint64(v[8:]))}
		case tag == tagCutoff && len(v) == lsnSize && be.Uint64(v) != 0:
			e.Cutoff = page.LSN(be.Uint64(v))
		case tag == tagRemove && len(v) == removeSize:
			d, err := decodeLayer(v, g.flags)
			e.Remove = append(e.Remove, d)
			return err
		case tag == tagLayer && len(v) == layerSize:
			d, err := decodeLayer(v, g.flags)
			d.Size = int64(be.Uint64(v[removeSize:]))
			e.Add = append(e.Add, d)
			return err
		case tag == tagMoved && len(v) > removeSize && (len(v)-removeSize)%rangeSize == 0:
			m, err := decodeMoved(v, g)
			e.Moved = append(e.Moved, m)
			return err
		case tag == tagRemote && len(v) == remoteSize:
			d, err := decodeLayer(v, g.flags)
			e.Remote = append(e.Remote, Remote{d, be.Uint64(v[removeSize:]), be.Uint16(v[removeSize+8:])})
			return err
		case tag == tagChains && len(v) >= removeSize+4 && (len(v)-removeSize-4)%chainSize == 0:
			c, err := decodeChains(v, g)
			e.Chains = append(e.Chains, c)
			return err
		case tag == tagRelDirs && len(v) == wantedSize && e.RelDirs == nil:
			e.RelDirs = &RelDirs{page.RelDirs{Form: page.RelDirForm(v[0]), Since: page.LSN(be.Uint64(v[1:]))}, page.RelDirForm(v[relDirsSize])}
			if !e.RelDirs.Form.Known() || !e.RelDirs.Wanted.Known() {
				return fmt.Errorf("directories of relations %s, and %s wanted", e.RelDirs.Form, e.RelDirs.Wanted)
			}
		default:
			return unknownItem(tag, v)
		}
		return nil
	})
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("item %d is unknown", rest[0])
	}
	return e, err
}

func decodeMoved(v []byte, g grammar) (m Moved, err error) {
	m.Layer, err = decodeLayer(v, g.flags)
	for v = v[removeSize:]; len(v) > 0; v = v[rangeSize:] {
		r := page.Range{Start: page.KeyFromBytes(v), End: page.KeyFromBytes(v[page.KeySize:])}
		if r.Empty() {
			return m, fmt.Errorf("keys %s are none", r)
		}
		m.Keys = append(m.Keys, r)
	}
	return m, err
}

func decodeLayer(v []byte, flags uint8) (d layer.Desc, err error) {
	be := binary.BigEndian
	d.Keys = page.Range{Start: page.KeyFromBytes(v), End: page.KeyFromBytes(v[page.KeySize:])}
	v = v[2*page.KeySize:]
	d.LSNs = page.LSNRange{Start: page.LSN(be.Uint64(v)), End: page.LSN(be.Uint64(v[8:]))}
	if v[16]&^flags != 0 {
		err = fmt.Errorf("layer flags %02X are unknown", v[16])
	}
	d.Image, d.Checked, d.Generation = v[16]&flagImage != 0, v[16]&flagChecked != 0, be.Uint32(v[17:])
	return d, err
}

// eachItem gives the items with tags up to last, and what follows them.
func eachItem(b []byte, last uint8, fn func(tag uint8, v []byte) error) (rest []byte, err error) {
	var before uint8
	for len(b) > 0 {
		if len(b) < itemHeaderSize {
			return nil, fmt.Errorf("%d bytes are no item", len(b))
		}
		tag, n := b[0], int(binary.BigEndian.Uint16(b[1:]))
		if tag > last {
			return b, nil
		}
		if n > len(b)-itemHeaderSize {
			return nil, fmt.Errorf("item %d of %d bytes, %d are left", tag, n, len(b)-itemHeaderSize)
		}
		if tag < before || tag == before && tag < tagRemove {
			return nil, fmt.Errorf("item %d follows item %d", tag, before)
		}
		before = tag
		if err := fn(tag, b[itemHeaderSize:itemHeaderSize+n]); err != nil {
			return nil, err
		}
		b = b[itemHeaderSize+n:]
	}
	return nil, nil
}
