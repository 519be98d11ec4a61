package pg

import "fmt"

// Rmgr is a resource manager: the part of PostgreSQL that wrote a WAL record and can redo it.
type Rmgr uint8

// The built-in resource managers (access/rmgrlist.h), the same in all supported versions, and Neon's own.
const (
	RmXLOG       Rmgr = 0
	RmXact       Rmgr = 1
	RmSMGR       Rmgr = 2
	RmCLOG       Rmgr = 3
	RmDBase      Rmgr = 4
	RmTblspc     Rmgr = 5
	RmMultiXact  Rmgr = 6
	RmRelMap     Rmgr = 7
	RmStandby    Rmgr = 8
	RmHeap2      Rmgr = 9
	RmHeap       Rmgr = 10
	RmBtree      Rmgr = 11
	RmHash       Rmgr = 12
	RmGin        Rmgr = 13
	RmGist       Rmgr = 14
	RmSeq        Rmgr = 15
	RmSPGist     Rmgr = 16
	RmBRIN       Rmgr = 17
	RmCommitTs   Rmgr = 18
	RmReplOrigin Rmgr = 19
	RmGeneric    Rmgr = 20
	RmLogicalMsg Rmgr = 21
	RmNeon       Rmgr = 134
)

var rmgrNames = [...]string{
	"XLOG", "Transaction", "Storage", "CLOG", "Database", "Tablespace", "MultiXact", "RelMap", "Standby",
	"Heap2", "Heap", "Btree", "Hash", "Gin", "Gist", "Sequence", "SPGist", "BRIN", "CommitTs",
	"ReplicationOrigin", "Generic", "LogicalMessage",
}

// String gives the name that pg_waldump uses.
func (r Rmgr) String() string {
	switch {
	case int(r) < len(rmgrNames):
		return rmgrNames[r]
	case r == RmNeon:
		return "Neon"
	}
	return fmt.Sprintf("custom%03d", uint8(r))
}
