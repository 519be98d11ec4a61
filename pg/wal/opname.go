package wal

import (
	"fmt"
	"slices"

	"github.com/stratapg/strata/pg"
)

// Op is a kind of record: a resource manager and its operation.
type Op struct {
	Rmgr pg.Rmgr
	Info uint8  // the bits of xl_info that tell it from the manager's others
	Name string // as pg_waldump has it
}

// initPage is the flag that heap and BRIN set on an operation for "the page is made anew" (XLOG_HEAP_INIT_PAGE,
// XLOG_BRIN_INIT_PAGE). pg_waldump gives the operation with it a name of its own.
const initPage = 0x80

// rmgrOps are a resource manager's operations. mask is what of xl_info tells them apart.
type rmgrOps struct {
	mask  uint8
	names map[uint8]string
}

// OpName names the operation of a record as pg_waldump does, "UNKNOWN (xx)" if the version has none such.
func OpName(v pg.Version, rmgr pg.Rmgr, info uint8) string {
	ops := opsOf(v, rmgr)
	if name, ok := ops.names[info&ops.mask]; ok {
		return name
	}
	return fmt.Sprintf("UNKNOWN (%x)", info&^InfoMask)
}

// Ops lists all kinds of records of a version, by resource manager and operation. Neon's resource manager is
// among them where Neon has it.
func Ops(v pg.Version) []Op {
	var all []Op
	managers := []pg.Rmgr{pg.RmNeon}
	for r := pg.RmXLOG; r <= pg.RmLogicalMsg; r++ {
		managers = append(managers, r)
	}
	for _, r := range managers {
		for info, name := range opsOf(v, r).names {
			all = append(all, Op{Rmgr: r, Info: info, Name: name})
		}
	}
	slices.SortFunc(all, func(a, b Op) int { return int(a.Rmgr)<<8 + int(a.Info) - int(b.Rmgr)<<8 - int(b.Info) })
	return all
}

// opsOf finds the table for a version.
func opsOf(v pg.Version, r pg.Rmgr) rmgrOps {
	switch {
	case !v.Supported():
		return rmgrOps{}
	case r == pg.RmNeon && v < pg.V16:
		return rmgrOps{}
	case r == pg.RmXLOG && v < pg.V17:
		return xlogOps16
	case r == pg.RmHeap2 && v < pg.V17:
		return heap2Ops16
	case r == pg.RmDBase && v < pg.V15:
		return dbaseOps14
	}
	return opTable[r]
}

// ops numbers names from 0 in steps of 0x10; empty names are numbers not in use.
func ops(names ...string) rmgrOps {
	m := map[uint8]string{}
	for i, n := range names {
		if n != "" {
			m[uint8(i)<<4] = n
		}
	}
	return rmgrOps{mask: 0xF0, names: m}
}

// withInit adds the "+INIT" form of operations.
func (o rmgrOps) withInit(infos ...uint8) rmgrOps {
	for _, i := range infos {
		o.names[i|initPage] = o.names[i] + "+INIT"
	}
	return o
}

// onlyMask tells operations apart by fewer bits: the others say something about the record's content.
func (o rmgrOps) onlyMask(mask uint8) rmgrOps { o.mask = mask; return o }

// The tables, from catalog/pg_control.h and the access/*xlog.h of each version; names from access/rmgrdesc.
var (
	xlogOps16 = ops("CHECKPOINT_SHUTDOWN", "CHECKPOINT_ONLINE", "NOOP", "NEXTOID", "SWITCH", "BACKUP_END", "PARAMETER_CHANGE",
		"RESTORE_POINT", "FPW_CHANGE", "END_OF_RECOVERY", "FPI_FOR_HINT", "FPI", "", "OVERWRITE_CONTRECORD")
	heap2Ops16 = ops("REWRITE", "PRUNE", "VACUUM", "FREEZE_PAGE", "VISIBLE", "MULTI_INSERT", "LOCK_UPDATED", "NEW_CID").withInit(0x50)
	dbaseOps14 = ops("CREATE", "DROP")

	opTable = map[pg.Rmgr]rmgrOps{
		pg.RmXLOG: ops("CHECKPOINT_SHUTDOWN", "CHECKPOINT_ONLINE", "NOOP", "NEXTOID", "SWITCH", "BACKUP_END", "PARAMETER_CHANGE",
			"RESTORE_POINT", "FPW_CHANGE", "END_OF_RECOVERY", "FPI_FOR_HINT", "FPI", "", "OVERWRITE_CONTRECORD", "CHECKPOINT_REDO"),
		pg.RmXact:      ops("COMMIT", "PREPARE", "ABORT", "COMMIT_PREPARED", "ABORT_PREPARED", "ASSIGNMENT", "INVALIDATION").onlyMask(0x70),
		pg.RmSMGR:      ops("", "CREATE", "TRUNCATE"),
		pg.RmCLOG:      ops("ZEROPAGE", "TRUNCATE"),
		pg.RmDBase:     ops("CREATE_FILE_COPY", "CREATE_WAL_LOG", "DROP"),
		pg.RmTblspc:    ops("CREATE", "DROP"),
		pg.RmMultiXact: ops("ZERO_OFF_PAGE", "ZERO_MEM_PAGE", "CREATE_ID", "TRUNCATE_ID"),
		pg.RmRelMap:    ops("UPDATE"),
		pg.RmStandby:   ops("LOCK", "RUNNING_XACTS", "INVALIDATIONS"),
		pg.RmHeap2: ops("REWRITE", "PRUNE_ON_ACCESS", "PRUNE_VACUUM_SCAN", "PRUNE_VACUUM_CLEANUP", "VISIBLE", "MULTI_INSERT",
			"LOCK_UPDATED", "NEW_CID").withInit(0x50),
		pg.RmHeap: ops("INSERT", "DELETE", "UPDATE", "TRUNCATE", "HOT_UPDATE", "HEAP_CONFIRM", "LOCK", "INPLACE").withInit(0x00, 0x20, 0x40),
		pg.RmBtree: ops("INSERT_LEAF", "INSERT_UPPER", "INSERT_META", "SPLIT_L", "SPLIT_R", "INSERT_POST", "DEDUP", "DELETE",
			"UNLINK_PAGE", "UNLINK_PAGE_META", "NEWROOT", "MARK_PAGE_HALFDEAD", "VACUUM", "REUSE_PAGE", "META_CLEANUP"),
		pg.RmHash: ops("INIT_META_PAGE", "INIT_BITMAP_PAGE", "INSERT", "ADD_OVFL_PAGE", "SPLIT_ALLOCATE_PAGE", "SPLIT_PAGE",
			"SPLIT_COMPLETE", "MOVE_PAGE_CONTENTS", "SQUEEZE_PAGE", "DELETE", "SPLIT_CLEANUP", "UPDATE_META_PAGE", "VACUUM_ONE_PAGE"),
		pg.RmGin: ops("", "CREATE_PTREE", "INSERT", "SPLIT", "VACUUM_PAGE", "DELETE_PAGE", "UPDATE_META_PAGE", "INSERT_LISTPAGE",
			"DELETE_LISTPAGE", "VACUUM_DATA_LEAF_PAGE"),
		pg.RmGist:       ops("PAGE_UPDATE", "DELETE", "PAGE_REUSE", "PAGE_SPLIT", "", "", "PAGE_DELETE", "ASSIGN_LSN"),
		pg.RmSeq:        ops("LOG"),
		pg.RmSPGist:     ops("", "ADD_LEAF", "MOVE_LEAFS", "ADD_NODE", "SPLIT_TUPLE", "PICKSPLIT", "VACUUM_LEAF", "VACUUM_ROOT", "VACUUM_REDIRECT"),
		pg.RmBRIN:       ops("CREATE_INDEX", "INSERT", "UPDATE", "SAMEPAGE_UPDATE", "REVMAP_EXTEND", "DESUMMARIZE").withInit(0x10, 0x20),
		pg.RmCommitTs:   ops("ZEROPAGE", "TRUNCATE"),
		pg.RmReplOrigin: ops("SET", "DROP"),
		// Generic records have one kind, whatever their bits say.
		pg.RmGeneric:    ops("Generic").onlyMask(0),
		pg.RmLogicalMsg: ops("MESSAGE"),
		pg.RmNeon:       ops("INSERT", "DELETE", "UPDATE", "HOT_UPDATE", "LOCK", "MULTI_INSERT").withInit(0x00, 0x20, 0x30, 0x50),
	}
)
