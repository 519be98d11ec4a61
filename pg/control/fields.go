package control

import (
	"encoding/binary"
	"fmt"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

// State is DBState: what the cluster was doing when pg_control was written.
type State uint32

// The states.
const (
	Startup State = iota
	ShutDown
	ShutDownInRecovery
	ShuttingDown
	InCrashRecovery
	InArchiveRecovery
	InProduction
)

var stateNames = [...]string{"starting up", "shut down", "shut down in recovery", "shutting down", "in crash recovery",
	"in archive recovery", "in production"}

// String gives the words of pg_controldata.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return fmt.Sprintf("unrecognized status code %d", uint32(s))
}

// WALLevel is the setting wal_level.
type WALLevel uint32

// The levels (access/xlog.h).
const (
	Minimal WALLevel = iota
	Replica
	Logical
)

// String gives the value that postgresql.conf has.
func (l WALLevel) String() string {
	switch l {
	case Minimal:
		return "minimal"
	case Replica:
		return "replica"
	case Logical:
		return "logical"
	}
	return fmt.Sprintf("wal_level %d", uint32(l))
}

// Version is the server's major version.
func (f *File) Version() pg.Version { return f.version }

// SystemID is the cluster's system identifier.
func (f *File) SystemID() uint64 { return f.u64(offSystemID) }

// ControlVersion is pg_control_version.
func (f *File) ControlVersion() uint32 { return f.u32(offControlVersion) }

// CatalogVersion is catalog_version_no.
func (f *File) CatalogVersion() uint32 { return f.u32(offCatalogVersion) }

// State is the cluster's state.
func (f *File) State() State { return State(f.u32(offState)) }

// SetState sets State.
func (f *File) SetState(s State) { f.setU32(offState, uint32(s)) }

// Time is when the file was written, in seconds since 1970.
func (f *File) Time() int64 { return int64(f.u64(offTime)) }

// SetTime sets Time.
func (f *File) SetTime(unix int64) { f.setU64(offTime, uint64(unix)) }

// CheckPointLSN is the start of the last checkpoint's record.
func (f *File) CheckPointLSN() page.LSN { return page.LSN(f.u64(offCheckPoint)) }

// SetCheckPointLSN sets CheckPointLSN.
func (f *File) SetCheckPointLSN(l page.LSN) { f.setU64(offCheckPoint, uint64(l)) }

// CheckPoint is the copy of the last checkpoint.
func (f *File) CheckPoint() CheckPoint {
	return CheckPoint(f.b[offCheckPointCopy : offCheckPointCopy+CheckPointSize])
}

// SetCheckPoint sets the copy of the last checkpoint.
func (f *File) SetCheckPoint(c CheckPoint) { copy(f.b[offCheckPointCopy:], c[:]) }

// UnloggedLSN is the counter that stands in for LSNs in unlogged relations.
func (f *File) UnloggedLSN() page.LSN { return page.LSN(f.u64(offUnloggedLSN)) }

// SetUnloggedLSN sets UnloggedLSN.
func (f *File) SetUnloggedLSN(l page.LSN) { f.setU64(offUnloggedLSN, uint64(l)) }

// MinRecoveryPoint is up to where WAL must be replayed before the cluster is consistent, 0 outside of recovery.
func (f *File) MinRecoveryPoint() page.LSN { return page.LSN(f.u64(offMinRecoveryPoint)) }

// MinRecoveryTimeline is the timeline of MinRecoveryPoint.
func (f *File) MinRecoveryTimeline() uint32 { return f.u32(offMinRecoveryTLI) }

// SetMinRecoveryPoint sets MinRecoveryPoint and its timeline.
func (f *File) SetMinRecoveryPoint(l page.LSN, tli uint32) {
	f.setU64(offMinRecoveryPoint, uint64(l))
	f.setU32(offMinRecoveryTLI, tli)
}

// BackupStartPoint is the redo pointer of the backup that is being restored, 0 if none.
func (f *File) BackupStartPoint() page.LSN { return page.LSN(f.u64(offBackupStartPoint)) }

// BackupEndPoint is where the backup of a standby ends, 0 if none.
func (f *File) BackupEndPoint() page.LSN { return page.LSN(f.u64(offBackupEndPoint)) }

// BackupEndRequired says that the record of the backup's end must be seen.
func (f *File) BackupEndRequired() bool { return f.b[offBackupEndRequired] != 0 }

// ClearBackup says that no backup is being restored.
func (f *File) ClearBackup() {
	f.setU64(offBackupStartPoint, 0)
	f.setU64(offBackupEndPoint, 0)
	f.b[offBackupEndRequired] = 0
}

// WALSegSize is wal_segment_size in bytes.
func (f *File) WALSegSize() uint32 { return f.u32(offWALSegSize) }

// BlockSize is the size of a page in bytes.
func (f *File) BlockSize() uint32 { return f.u32(offBlockSize) }

// RelSegSize is the number of blocks in one file of a relation.
func (f *File) RelSegSize() uint32 { return f.u32(offRelSegSize) }

// WALBlockSize is the size of a WAL page in bytes.
func (f *File) WALBlockSize() uint32 { return f.u32(offWALBlockSize) }

// ChecksumVersion is that of data page checksums, 0 if they are off.
func (f *File) ChecksumVersion() uint32 { return f.u32(offChecksumVersion) }

// SetChecksumVersion sets ChecksumVersion.
func (f *File) SetChecksumVersion(v uint32) { f.setU32(offChecksumVersion, v) }

// Nonce is the cluster's secret for mock authentication (mock_authentication_nonce).
func (f *File) Nonce() [nonceSize]byte { return [nonceSize]byte(f.b[offNonce : offNonce+nonceSize]) }

// IndexMaxKeys is INDEX_MAX_KEYS.
func (f *File) IndexMaxKeys() uint32 { return f.u32(offIndexMaxKeys) }

// ToastMaxChunkSize is TOAST_MAX_CHUNK_SIZE in bytes.
func (f *File) ToastMaxChunkSize() uint32 { return f.u32(offToastMaxChunkSize) }

// LargeObjectBlock is LOBLKSIZE in bytes.
func (f *File) LargeObjectBlock() uint32 { return f.u32(offLargeObjectBlock) }

// Float8ByVal says that 8-byte values are passed by value.
func (f *File) Float8ByVal() bool { return f.b[offFloat8ByVal] != 0 }

// Settings are those that a standby's must match; a PARAMETER_CHANGE record brings new ones.
type Settings struct {
	WALLevel             WALLevel
	WALLogHints          bool
	MaxConnections       uint32
	MaxWorkerProcesses   uint32
	MaxWALSenders        uint32
	MaxPreparedXacts     uint32
	MaxLocksPerXact      uint32
	TrackCommitTimestamp bool
}

// Settings gives the settings in the file.
func (f *File) Settings() Settings {
	return Settings{
		WALLevel: WALLevel(f.u32(offWALLevel)), WALLogHints: f.b[offWALLogHints] != 0,
		MaxConnections: f.u32(offMaxConnections), MaxWorkerProcesses: f.u32(offMaxWorkerProcesses),
		MaxWALSenders: f.u32(offMaxWALSenders), MaxPreparedXacts: f.u32(offMaxPreparedXacts),
		MaxLocksPerXact: f.u32(offMaxLocksPerXact), TrackCommitTimestamp: f.b[offTrackCommitTs] != 0,
	}
}

// SetSettings puts the settings into the file.
func (f *File) SetSettings(s Settings) {
	f.setU32(offWALLevel, uint32(s.WALLevel))
	f.b[offWALLogHints] = flag(s.WALLogHints)
	f.setU32(offMaxConnections, s.MaxConnections)
	f.setU32(offMaxWorkerProcesses, s.MaxWorkerProcesses)
	f.setU32(offMaxWALSenders, s.MaxWALSenders)
	f.setU32(offMaxPreparedXacts, s.MaxPreparedXacts)
	f.setU32(offMaxLocksPerXact, s.MaxLocksPerXact)
	f.b[offTrackCommitTs] = flag(s.TrackCommitTimestamp)
}

// parameterChangeSize is sizeof(xl_parameter_change).
const parameterChangeSize = 28

// ParseParameterChange reads the main data of a PARAMETER_CHANGE record (access/xlog_internal.h):
//
//	MaxConnections, max_worker_processes, max_wal_senders, max_prepared_xacts, max_locks_per_xact, wal_level:
//	u32 each; wal_log_hints, track_commit_timestamp: u8 each; 2 bytes of padding
func ParseParameterChange(b []byte) (Settings, error) {
	if len(b) < parameterChangeSize-2 {
		return Settings{}, fmt.Errorf("PARAMETER_CHANGE of %d bytes: want %d", len(b), parameterChangeSize)
	}
	u := func(i int) uint32 { return binary.LittleEndian.Uint32(b[4*i:]) }
	return Settings{
		MaxConnections: u(0), MaxWorkerProcesses: u(1), MaxWALSenders: u(2), MaxPreparedXacts: u(3), MaxLocksPerXact: u(4),
		WALLevel: WALLevel(u(5)), WALLogHints: b[24] != 0, TrackCommitTimestamp: b[25] != 0,
	}, nil
}
