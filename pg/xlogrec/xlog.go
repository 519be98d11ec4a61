package xlogrec

import (
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

// Operations of the XLOG manager (catalog/pg_control.h).
const (
	XLOGCheckpointShutdown = 0x00
	XLOGCheckpointOnline   = 0x10
	XLOGNoop               = 0x20
	XLOGNextOID            = 0x30
	XLOGSwitch             = 0x40
	XLOGBackupEnd          = 0x50
	XLOGParameterChange    = 0x60
	XLOGRestorePoint       = 0x70
	XLOGFPWChange          = 0x80
	XLOGEndOfRecovery      = 0x90
	XLOGFPIForHint         = 0xA0
	XLOGFPI                = 0xB0
	XLOGOverwriteContrec   = 0xD0
	XLOGCheckpointRedo     = 0xE0 // since 17
)

// ParseNextOID reads the next object id.
func ParseNextOID(main []byte) (uint32, error) {
	r := reader{b: main, what: "next object id"}
	return r.u32("object id"), r.err
}

// ParseFPWChange reads the new value of full_page_writes.
func ParseFPWChange(main []byte) (bool, error) {
	r := reader{b: main, what: "change of full_page_writes"}
	return r.u8("value") != 0, r.err
}

// EndOfRecovery is the start of a new timeline without a checkpoint.
type EndOfRecovery struct {
	Time         int64
	ThisTimeline uint32
	PrevTimeline uint32
	HasWALLevel  bool // since 17
	WALLevel     uint32
}

// ParseEndOfRecovery reads xl_end_of_recovery.
func ParseEndOfRecovery(v pg.Version, main []byte) (EndOfRecovery, error) {
	r := reader{b: main, what: "end of recovery"}
	e := EndOfRecovery{Time: int64(r.u64("time")), ThisTimeline: r.u32("timeline"), PrevTimeline: r.u32("previous timeline")}
	if v >= pg.V17 {
		e.HasWALLevel, e.WALLevel = true, r.u32("wal_level")
	}
	return e, r.err
}

// ParseCheckpointRedo reads the wal_level of XLOG_CHECKPOINT_REDO.
func ParseCheckpointRedo(main []byte) (walLevel uint32, err error) {
	r := reader{b: main, what: "start of a checkpoint"}
	return r.u32("wal_level"), r.err
}

// Operations of the standby, replication origin and logical message managers.
const (
	StandbyRunningXacts = 0x10
	OriginSet           = 0x00
	OriginDrop          = 0x10
	LogicalMessage      = 0x00
)

// RunningXacts says what was running on the server.
type RunningXacts struct {
	NextXid, OldestRunningXid, LatestCompletedXid uint32
	Xids                                          Xids
}

// ParseRunningXacts reads xl_running_xacts (storage/standbydefs.h).
func ParseRunningXacts(main []byte) (RunningXacts, error) {
	r := reader{b: main, what: "running transactions"}
	n := uint64(r.u32("number of transactions")) + uint64(r.u32("number of subtransactions"))
	r.u32("overflow flag")
	x := RunningXacts{
		NextXid:            r.u32("next transaction id"),
		OldestRunningXid:   r.u32("oldest running transaction id"),
		LatestCompletedXid: r.u32("latest completed transaction id"),
	}
	x.Xids = r.array(uint32(min(n, 0xFFFFFFFF)), 4, "transactions")
	return x, r.err
}

// Origin is the progress of a replication origin.
type Origin struct {
	ID    uint16
	LSN   page.LSN
	Force bool // also backward
}

// ParseOriginSet reads xl_replorigin_set (replication/origin.h).
func ParseOriginSet(main []byte) (Origin, error) {
	r := reader{b: main, what: "replication origin"}
	return Origin{LSN: page.LSN(r.u64("LSN")), ID: r.u16("origin"), Force: r.u8("force") != 0}, r.err
}

// ParseOriginDrop reads xl_replorigin_drop.
func ParseOriginDrop(main []byte) (uint16, error) {
	r := reader{b: main, what: "drop of a replication origin"}
	return r.u16("origin"), r.err
}

// Message is a logical decoding message.
type Message struct {
	Prefix  string
	Content []byte
}

// ParseLogicalMessage reads xl_logical_message (replication/message.h).
func ParseLogicalMessage(main []byte) (Message, error) {
	r := reader{b: main, what: "logical message"}
	r.take(8, "database and kind")
	n, size := r.u64("prefix length"), r.u64("message length")
	if r.err != nil {
		return Message{}, r.err
	}
	if n == 0 || n > uint64(len(r.b)) || size > uint64(len(r.b))-n {
		r.take(-1, "prefix and message")
		return Message{}, r.err
	}
	prefix := r.take(int(n), "prefix")
	return Message{string(prefix[:n-1]), r.take(int(size), "message")}, r.err
}
