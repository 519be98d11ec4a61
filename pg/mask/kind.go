package mask

import (
	"encoding/binary"
	"fmt"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

// Kind says which of PostgreSQL's page layouts a page has, and so what in it is masked.
type Kind uint8

// The kinds of page.
const (
	// KindNew is a page that was never initialized (pd_upper is 0, as in an all-zero page). PostgreSQL's
	// own masks fail on it; only LSN and checksum are hidden.
	KindNew Kind = iota
	KindHeap
	KindBtree
	KindHash
	KindGin
	KindGist
	KindSPGist
	KindBRIN
	KindSequence
	// KindGeneric is a page with a special space of none of the known forms: one of an extension's index
	// that logs through generic WAL records, such as bloom.
	KindGeneric
	KindVM
	KindFSM
	numKinds
)

// Kinds lists every kind.
func Kinds() []Kind {
	k := make([]Kind, numKinds)
	for i := range k {
		k[i] = Kind(i)
	}
	return k
}

var kindNames = [numKinds]string{
	"new", "heap", "btree", "hash", "gin", "gist", "spgist", "brin", "sequence", "generic", "vm", "fsm",
}

// String gives the access method's name.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind%d", uint8(k))
}

// Marks at the end of the special space, by which PostgreSQL's own tools tell index pages apart
// (access/hash.h, access/gist.h, access/spgist_private.h, access/brin_page.h, contrib/bloom/bloom.h).
// A btree page has its vacuum cycle id there, which stays at or below maxBtreeCycle (access/nbtree.h).
const (
	hashPageID    = 0xFF80
	gistPageID    = 0xFF81
	spgistPageID  = 0xFF82
	bloomPageID   = 0xFF83
	maxBtreeCycle = 0xFF7F
	brinMeta      = 0xF091
	brinRegular   = 0xF093
	// ginFlags are all flag bits that a GIN page may have (access/ginblock.h).
	ginFlags = 0x00FF
	// btreeFlags are all flag bits that a btree page may have (access/nbtree.h).
	btreeFlags = 0x01FF
	// sequenceMagic fills the special space of a sequence (commands/sequence.c).
	sequenceMagic = 0x1717

	specialSmall = 8  // GIN, SP-GiST, BRIN, bloom, sequence
	specialLarge = 16 // btree, hash, GiST
)

// KindOf tells a page's kind from its fork and its bytes, for lack of a catalog: by the size of the special
// space and the mark in it. An init fork holds pages of its relation's kind.
func KindOf(p []byte, fork page.Fork) Kind {
	if len(p) != pg.BlockSize {
		return KindGeneric
	}
	switch fork {
	case page.ForkFSM:
		return KindFSM
	case page.ForkVM:
		return KindVM
	}
	le := binary.LittleEndian
	if le.Uint16(p[offUpper:]) == 0 {
		return KindNew
	}
	last, flags := le.Uint16(p[pg.BlockSize-2:]), le.Uint16(p[pg.BlockSize-4:])
	switch pg.BlockSize - int(le.Uint16(p[offSpecial:])) {
	case 0:
		return KindHeap
	case specialSmall:
		return smallSpecial(p, last)
	case specialLarge:
		switch {
		case last == hashPageID:
			return KindHash
		case last == gistPageID:
			return KindGist
		case last <= maxBtreeCycle && flags&^btreeFlags == 0:
			return KindBtree
		}
	}
	return KindGeneric
}

func smallSpecial(p []byte, last uint16) Kind {
	switch {
	case last == spgistPageID:
		return KindSPGist
	case last == bloomPageID:
		return KindGeneric
	case brinMeta <= last && last <= brinRegular:
		return KindBRIN
	case isSequence(p):
		return KindSequence
	case last&^ginFlags == 0:
		return KindGin
	}
	return KindGeneric
}

// isSequence knows a sequence by its magic and its single line pointer with a tuple of three columns: a GIN
// page whose right sibling is block 0x1717 has the same special space.
func isSequence(p []byte) bool {
	le := binary.LittleEndian
	const oneItem = headerSize + linePtrSize
	if le.Uint64(p[pg.BlockSize-specialSmall:]) != sequenceMagic || le.Uint16(p[offLower:]) != oneItem {
		return false
	}
	m := masker{p: p}
	off, flags, length := m.item(0)
	const sequenceColumns, attsMask = 3, 0x07FF
	return flags == lpNormal && length >= heapHeaderSize && off+length <= pg.BlockSize &&
		le.Uint16(p[off+heapInfomask2:])&attsMask == sequenceColumns
}
