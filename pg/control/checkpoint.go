package control

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/stratapg/strata/page"
)

// CheckPointSize is sizeof(CheckPoint), 88 in all versions.
const CheckPointSize = 88

// CheckPoint is the body of a checkpoint record, of which pg_control keeps a copy. It is the structure's
// bytes; what the fields do not cover stays as it was. Fields are little-endian.
type CheckPoint [CheckPointSize]byte

// ParseCheckPoint takes the structure from the front of b: the main data of a checkpoint record, or a stored
// copy. Longer b is fine.
func ParseCheckPoint(b []byte) (CheckPoint, error) {
	var c CheckPoint
	if len(b) < CheckPointSize {
		return c, fmt.Errorf("checkpoint of %d bytes: want %d", len(b), CheckPointSize)
	}
	copy(c[:], b)
	return c, nil
}

func (c *CheckPoint) u32(off int) uint32 { return binary.LittleEndian.Uint32(c[off:]) }
func (c *CheckPoint) u64(off int) uint64 { return binary.LittleEndian.Uint64(c[off:]) }

func (c *CheckPoint) setU32(off int, v uint32) { binary.LittleEndian.PutUint32(c[off:], v) }
func (c *CheckPoint) setU64(off int, v uint64) { binary.LittleEndian.PutUint64(c[off:], v) }

// Redo is where recovery would start; for a shutdown checkpoint the start of its record.
func (c *CheckPoint) Redo() page.LSN { return page.LSN(c.u64(offRedo)) }

// SetRedo sets Redo.
func (c *CheckPoint) SetRedo(l page.LSN) { c.setU64(offRedo, uint64(l)) }

// Timeline is ThisTimeLineID.
func (c *CheckPoint) Timeline() uint32 { return c.u32(offThisTLI) }

// SetTimeline sets Timeline.
func (c *CheckPoint) SetTimeline(t uint32) { c.setU32(offThisTLI, t) }

// PrevTimeline is PrevTimeLineID: another than Timeline if the record starts a timeline.
func (c *CheckPoint) PrevTimeline() uint32 { return c.u32(offPrevTLI) }

// SetPrevTimeline sets PrevTimeline.
func (c *CheckPoint) SetPrevTimeline(t uint32) { c.setU32(offPrevTLI, t) }

// FullPageWrites is the setting full_page_writes at the time.
func (c *CheckPoint) FullPageWrites() bool { return c[offFullPageWrites] != 0 }

// SetFullPageWrites sets FullPageWrites.
func (c *CheckPoint) SetFullPageWrites(on bool) { c[offFullPageWrites] = flag(on) }

// WALLevel is the setting wal_level at the time; meaningful in 17, padding before.
func (c *CheckPoint) WALLevel() WALLevel { return WALLevel(c.u32(offCheckPointLevel)) }

// SetWALLevel sets WALLevel.
func (c *CheckPoint) SetWALLevel(l WALLevel) { c.setU32(offCheckPointLevel, uint32(l)) }

// NextXid is the next transaction id, its epoch in the high 32 bits.
func (c *CheckPoint) NextXid() uint64 { return c.u64(offNextXid) }

// SetNextXid sets NextXid.
func (c *CheckPoint) SetNextXid(x uint64) { c.setU64(offNextXid, x) }

// NextOid is the next object id.
func (c *CheckPoint) NextOid() uint32 { return c.u32(offNextOid) }

// SetNextOid sets NextOid.
func (c *CheckPoint) SetNextOid(o uint32) { c.setU32(offNextOid, o) }

// NextMulti is the next multixact id.
func (c *CheckPoint) NextMulti() uint32 { return c.u32(offNextMulti) }

// SetNextMulti sets NextMulti.
func (c *CheckPoint) SetNextMulti(m uint32) { c.setU32(offNextMulti, m) }

// NextMultiOffset is where the next multixact's members go.
func (c *CheckPoint) NextMultiOffset() uint32 { return c.u32(offNextMultiOffset) }

// SetNextMultiOffset sets NextMultiOffset.
func (c *CheckPoint) SetNextMultiOffset(o uint32) { c.setU32(offNextMultiOffset, o) }

// OldestXid is the cluster's lowest datfrozenxid.
func (c *CheckPoint) OldestXid() uint32 { return c.u32(offOldestXid) }

// SetOldestXid sets OldestXid.
func (c *CheckPoint) SetOldestXid(x uint32) { c.setU32(offOldestXid, x) }

// OldestXidDB is the database with that datfrozenxid.
func (c *CheckPoint) OldestXidDB() uint32 { return c.u32(offOldestXidDB) }

// SetOldestXidDB sets OldestXidDB.
func (c *CheckPoint) SetOldestXidDB(db uint32) { c.setU32(offOldestXidDB, db) }

// OldestMulti is the cluster's lowest datminmxid.
func (c *CheckPoint) OldestMulti() uint32 { return c.u32(offOldestMulti) }

// SetOldestMulti sets OldestMulti.
func (c *CheckPoint) SetOldestMulti(m uint32) { c.setU32(offOldestMulti, m) }

// OldestMultiDB is the database with that datminmxid.
func (c *CheckPoint) OldestMultiDB() uint32 { return c.u32(offOldestMultiDB) }

// SetOldestMultiDB sets OldestMultiDB.
func (c *CheckPoint) SetOldestMultiDB(db uint32) { c.setU32(offOldestMultiDB, db) }

// Time is when the checkpoint was, in seconds since 1970.
func (c *CheckPoint) Time() int64 { return int64(c.u64(offCheckPointTime)) }

// SetTime sets Time.
func (c *CheckPoint) SetTime(unix int64) { c.setU64(offCheckPointTime, uint64(unix)) }

// OldestCommitTsXid is the oldest transaction with a commit timestamp.
func (c *CheckPoint) OldestCommitTsXid() uint32 { return c.u32(offOldestCommitTsXid) }

// SetOldestCommitTsXid sets OldestCommitTsXid.
func (c *CheckPoint) SetOldestCommitTsXid(x uint32) { c.setU32(offOldestCommitTsXid, x) }

// NewestCommitTsXid is the newest transaction with a commit timestamp.
func (c *CheckPoint) NewestCommitTsXid() uint32 { return c.u32(offNewestCommitTsXid) }

// SetNewestCommitTsXid sets NewestCommitTsXid.
func (c *CheckPoint) SetNewestCommitTsXid(x uint32) { c.setU32(offNewestCommitTsXid, x) }

// OldestActiveXid is the oldest running transaction, 0 in a shutdown checkpoint.
func (c *CheckPoint) OldestActiveXid() uint32 { return c.u32(offOldestActiveXid) }

// SetOldestActiveXid sets OldestActiveXid.
func (c *CheckPoint) SetOldestActiveXid(x uint32) { c.setU32(offOldestActiveXid, x) }

// Mark says for which timeline Strata made the checkpoint that a base backup begins with: MarkOf its id. It lies in padding, which
// is 0 in what a server writes.
func (c *CheckPoint) Mark() uint32 { return c.u32(offMark) }

// SetMark sets Mark.
func (c *CheckPoint) SetMark(m uint32) { c.setU32(offMark, m) }

// MarkOf is the mark of a timeline, never 0. It is the CRC-32C of its id, or 1 if that is 0.
func MarkOf(id page.TimelineID) uint32 { return max(crc32.Checksum(id[:], castagnoli), 1) }
