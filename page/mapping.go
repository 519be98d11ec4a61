package page

import "fmt"

// Fork is one of the files that make up a relation.
type Fork uint8

// The forks, numbered as in PostgreSQL (common/relpath.h).
const (
	ForkMain Fork = 0
	ForkFSM  Fork = 1
	ForkVM   Fork = 2
	ForkInit Fork = 3
)

// String gives the name that pg_waldump and `--fork` use.
func (f Fork) String() string {
	switch f {
	case ForkMain:
		return "main"
	case ForkFSM:
		return "fsm"
	case ForkVM:
		return "vm"
	case ForkInit:
		return "init"
	}
	return fmt.Sprintf("fork%d", uint8(f))
}

// RelTag names one fork of one relation by its tablespace, database and file number.
type RelTag struct {
	Spc, DB, Rel uint32
	Fork         Fork
}

// String gives "spc/db/rel", with "_fork" behind it for any but the main fork.
func (r RelTag) String() string {
	s := fmt.Sprintf("%d/%d/%d", r.Spc, r.DB, r.Rel)
	if r.Fork != ForkMain {
		s += "_" + r.Fork.String()
	}
	return s
}

// WithFork gives the same relation's other fork.
func (r RelTag) WithFork(f Fork) RelTag { r.Fork = f; return r }

// Compare orders by tablespace, database, relation, fork: the order of the keys.
func (r RelTag) Compare(o RelTag) int { return r.Block(0).Compare(o.Block(0)) }

// SLRU is one of PostgreSQL's simple LRU areas. The numbers are part of the key format.
type SLRU uint8

// The SLRU kinds kept. CommitTs is Strata's addition: a timeline that Neon wrote has no key of it, nor has
// one imported before it was kept.
const (
	Clog             SLRU = 0
	MultixactMembers SLRU = 1
	MultixactOffsets SLRU = 2
	CommitTs         SLRU = 3
)

// SLRUs lists every kind in the order of its keys.
var SLRUs = [...]SLRU{Clog, MultixactMembers, MultixactOffsets, CommitTs}

// String gives the directory's name in a data directory.
func (s SLRU) String() string {
	switch s {
	case Clog:
		return "pg_xact"
	case MultixactMembers:
		return "pg_multixact/members"
	case MultixactOffsets:
		return "pg_multixact/offsets"
	case CommitTs:
		return "pg_commit_ts"
	}
	return fmt.Sprintf("slru%d", uint8(s))
}

// First bytes of keys: what kind of thing a key names.
const (
	prefixRel      = 0x00
	prefixSLRU     = 0x01
	prefixTwoPhase = 0x02
	prefixControl  = 0x03
	sparseBegin    = 0x60
	sparseEnd      = 0x7F
	prefixAux      = 0x62
	prefixOrigin   = 0x63
	prefixRelDirV2 = 0x65
	// prefixRecords and prefixClusterFile are Strata's additions inside Neon's sparse range; see
	// docs/formats/keys.md.
	prefixRecords     = 0x66
	prefixClusterFile = 0x67

	sizeBlock = 0xFFFFFFFF // F6 of a size key
)

// Keys of single values.
var (
	DBDirKey       = Key{}
	TwoPhaseDirKey = Key{F1: prefixTwoPhase}
	ControlFileKey = Key{F1: prefixControl}
	CheckpointKey  = Key{F1: prefixControl, F6: 1}
)

// Ranges of sparse keys.
var (
	AuxRange         = Range{Key{F1: prefixAux}, Key{F1: prefixAux + 1}}
	OriginRange      = Range{Key{F1: prefixOrigin}, Key{F1: prefixOrigin, F6: 0x10000}}
	RecordsRange     = Range{Key{F1: prefixRecords}, Key{F1: prefixRecords + 1}}
	ClusterFileRange = Range{Key{F1: prefixClusterFile}, Key{F1: prefixClusterFile + 1}}
	// NotInherited is what a branch does not see of its ancestor: auxiliary files and replication origins.
	NotInherited = Range{Key{F1: prefixAux}, Key{F1: prefixOrigin + 1}}
)

// RelMapKey is the key of a database's pg_filenode.map; (1664, 0) is the shared one.
func RelMapKey(spc, db uint32) Key { return Key{F2: spc, F3: db} }

// RelDirKey is the key of a database's directory of relations.
func RelDirKey(spc, db uint32) Key { return Key{F2: spc, F3: db, F6: 1} }

// Block is the key of a block of r.
func (r RelTag) Block(n uint32) Key {
	return Key{F2: r.Spc, F3: r.DB, F4: r.Rel, F5: uint8(r.Fork), F6: n}
}

// SizeKey is the key of r's size in blocks.
func (r RelTag) SizeKey() Key { return r.Block(sizeBlock) }

// Blocks is the range of the first n blocks of r.
func (r RelTag) Blocks(n uint32) Range { return Range{r.Block(0), r.Block(n)} }

// DBRange spans all keys of a database.
func DBRange(spc, db uint32) Range {
	return Range{Key{F2: spc, F3: db}, Key{F2: spc, F3: db, F4: 0xFFFFFFFF, F5: 0xFF, F6: 0xFFFFFFFF}}
}

// RelBlock decodes a relation block's key; ok is false for any other key.
func (k Key) RelBlock() (r RelTag, block uint32, ok bool) {
	if k.F1 != prefixRel || k.F4 == 0 || k.F6 == sizeBlock {
		return RelTag{}, 0, false
	}
	return RelTag{Spc: k.F2, DB: k.F3, Rel: k.F4, Fork: Fork(k.F5)}, k.F6, true
}

// RelSize decodes a relation size key; ok is false for any other key.
func (k Key) RelSize() (r RelTag, ok bool) {
	if k.F1 != prefixRel || k.F4 == 0 || k.F6 != sizeBlock {
		return RelTag{}, false
	}
	return RelTag{Spc: k.F2, DB: k.F3, Rel: k.F4, Fork: Fork(k.F5)}, true
}

// RelDir decodes the key of a database's directory of relations; ok is false for any other key.
func (k Key) RelDir() (spc, db uint32, ok bool) {
	return k.F2, k.F3, k.F1 == prefixRel && k.F4 == 0 && k.F5 == 0 && k.F6 == 1
}

// DirKey is the key of the directory of segments of s.
func (s SLRU) DirKey() Key { return Key{F1: prefixSLRU, F2: uint32(s)} }

// Block is the key of a page of a segment of s. A segment has 32 pages.
func (s SLRU) Block(segment, block uint32) Key {
	return Key{F1: prefixSLRU, F2: uint32(s), F3: 1, F4: segment, F6: block}
}

// SizeKey is the key of a segment's size in pages.
func (s SLRU) SizeKey(segment uint32) Key { return s.Block(segment, sizeBlock) }

// SLRUBlock decodes an SLRU page's key; ok is false for any other key.
func (k Key) SLRUBlock() (s SLRU, segment, block uint32, ok bool) {
	if k.F1 != prefixSLRU || k.F3 != 1 || k.F6 == sizeBlock || k.F2 > 0xFF {
		return 0, 0, 0, false
	}
	return SLRU(k.F2), k.F4, k.F6, true
}

// TwoPhaseKey is the key of a prepared transaction's state. Versions before 17 use the 32-bit xid.
func TwoPhaseKey(xid uint64) Key {
	return Key{F1: prefixTwoPhase, F4: uint32(xid >> 40), F5: uint8(xid >> 32), F6: uint32(xid)}
}

// OriginKey is the key of a replication origin's progress.
func OriginKey(id uint16) Key { return Key{F1: prefixOrigin, F6: uint32(id)} }

// RecordsKey is the key of the index of WAL records that begin with the record ending at lsn.
func RecordsKey(lsn LSN) Key { return Key{F1: prefixRecords, F4: uint32(lsn >> 32), F6: uint32(lsn)} }

// Describe says in words what k names, for people reading errors and dumps.
func (k Key) Describe() string {
	if r, b, ok := k.RelBlock(); ok {
		return fmt.Sprintf("relation %s block %d", r, b)
	}
	if r, ok := k.RelSize(); ok {
		return fmt.Sprintf("size of relation %s", r)
	}
	if s, seg, b, ok := k.SLRUBlock(); ok {
		return fmt.Sprintf("%s segment %04X page %d", s, seg, b)
	}
	if r, ok := k.RelEntry(); ok {
		return fmt.Sprintf("entry of relation %s", r)
	}
	switch {
	case k == DBDirKey:
		return "directory of databases"
	case k == ControlFileKey:
		return "control file"
	case k == CheckpointKey:
		return "checkpoint"
	case k == TwoPhaseDirKey:
		return "directory of prepared transactions"
	case k.F1 == prefixRel && k.F4 == 0 && k.F6 == 0:
		return fmt.Sprintf("relation map of database %d/%d", k.F2, k.F3)
	case k.F1 == prefixRel && k.F4 == 0 && k.F6 == 1:
		return fmt.Sprintf("directory of relations of database %d/%d", k.F2, k.F3)
	case k.F1 == prefixSLRU && k.F3 == 1:
		return fmt.Sprintf("size of %s segment %04X", SLRU(k.F2), k.F4)
	case k.F1 == prefixSLRU:
		return fmt.Sprintf("directory of %s", SLRU(k.F2))
	case k.F1 == prefixTwoPhase:
		return fmt.Sprintf("prepared transaction %d", uint64(k.F4)<<40|uint64(k.F5)<<32|uint64(k.F6))
	case k.F1 == prefixAux:
		return "auxiliary file " + k.String()
	case k.F1 == prefixOrigin:
		return fmt.Sprintf("replication origin %d", k.F6)
	case k.F1 == prefixRecords:
		return "index of records from " + LSN(uint64(k.F4)<<32|uint64(k.F6)).String()
	case k.F1 == prefixClusterFile:
		return "cluster file " + k.String()
	}
	return "key " + k.String()
}
