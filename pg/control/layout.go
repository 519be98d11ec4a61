package control

import "github.com/stratapg/strata/pg"

// Offsets in ControlFileData (catalog/pg_control.h) with the padding of x86-64 and arm64. They are the same in
// 14 to 17; only pg_control_version differs.
const (
	offSystemID           = 0
	offControlVersion     = 8
	offCatalogVersion     = 12
	offState              = 16
	offTime               = 24
	offCheckPoint         = 32
	offCheckPointCopy     = 40
	offUnloggedLSN        = 128
	offMinRecoveryPoint   = 136
	offMinRecoveryTLI     = 144
	offBackupStartPoint   = 152
	offBackupEndPoint     = 160
	offBackupEndRequired  = 168
	offWALLevel           = 172
	offWALLogHints        = 176
	offMaxConnections     = 180
	offMaxWorkerProcesses = 184
	offMaxWALSenders      = 188
	offMaxPreparedXacts   = 192
	offMaxLocksPerXact    = 196
	offTrackCommitTs      = 200
	offMaxAlign           = 204
	offFloatFormat        = 208
	offBlockSize          = 216
	offRelSegSize         = 220
	offWALBlockSize       = 224
	offWALSegSize         = 228
	offNameDataLen        = 232
	offIndexMaxKeys       = 236
	offToastMaxChunkSize  = 240
	offLargeObjectBlock   = 244
	offFloat8ByVal        = 248
	offChecksumVersion    = 252
	offNonce              = 256
	offCRC                = 288
	dataSize              = 292 // what is read and written; sizeof is 296
)

// FileSize is the size of pg_control (PG_CONTROL_FILE_SIZE).
const FileSize = 8192

// nonceSize is MOCK_AUTH_NONCE_LEN.
const nonceSize = 32

// controlVersions are PG_CONTROL_VERSION of each version.
var controlVersions = map[pg.Version]uint32{pg.V14: 1300, pg.V15: 1300, pg.V16: 1300, pg.V17: 1700}

// What a server that can read our files must have been built with.
const (
	wantMaxAlign    = 8
	wantFloatFormat = 1234567.0 // FLOATFORMAT_VALUE
	wantNameDataLen = 64
)

// Offsets in CheckPoint (catalog/pg_control.h), the same in all versions: 17 put wal_level into what was
// padding.
const (
	offRedo              = 0
	offThisTLI           = 8
	offPrevTLI           = 12
	offFullPageWrites    = 16
	offCheckPointLevel   = 20 // 17 only
	offNextXid           = 24
	offNextOid           = 32
	offNextMulti         = 36
	offNextMultiOffset   = 40
	offOldestXid         = 44
	offOldestXidDB       = 48
	offOldestMulti       = 52
	offOldestMultiDB     = 56
	offCheckPointTime    = 64
	offOldestCommitTsXid = 72
	offNewestCommitTsXid = 76
	offOldestActiveXid   = 80
	offMark              = 84 // padding, which servers leave zero
)
