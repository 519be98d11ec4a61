package ingest

import (
	"context"
	"encoding/binary"
	"hash/crc32"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/datadir/datadirtest"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/control"
	"github.com/stratapg/strata/pg/wal"
	"github.com/stratapg/strata/pg/xlogrec"
	"github.com/stratapg/strata/walredo/native"
)

// crafted feeds records made by hand to an Ingester.
type crafted struct {
	t   *testing.T
	s   *datadirtest.Store
	i   *Ingester
	lsn page.LSN
}

const craftedStart = page.LSN(0x1000100)

// controlFile makes a pg_control that parses.
func controlFile(v pg.Version) []byte {
	b := make([]byte, control.FileSize)
	le := binary.LittleEndian
	controlVersion := uint32(1300)
	if v >= pg.V17 {
		controlVersion = 1700
	}
	for off, x := range map[int]uint32{8: controlVersion, 12: v.CatalogVersion(), 16: 1, 172: 1, 204: 8, 216: 8192, 220: 131072, 224: 8192, 228: 16 << 20, 232: 64} {
		le.PutUint32(b[off:], x)
	}
	le.PutUint64(b[0:], 77)
	le.PutUint64(b[208:], math.Float64bits(1234567.0))
	le.PutUint32(b[288:], crc32.Checksum(b[:288], castagnoli))
	return b
}

func craft(t *testing.T, v pg.Version, f pg.Flavour, change func(c *control.CheckPoint)) *crafted {
	t.Helper()
	ctx := context.Background()
	s := datadirtest.New(v, f, native.New())
	require.NoError(t, s.Init(ctx, craftedStart))
	require.NoError(t, s.PutImage(ctx, page.ControlFileKey, controlFile(v)))
	var c control.CheckPoint
	c.SetTimeline(1)
	c.SetPrevTimeline(1)
	c.SetNextXid(1000)
	c.SetNextOid(20000)
	c.SetNextMulti(1)
	c.SetOldestXid(700)
	c.SetOldestMulti(1)
	if change != nil {
		change(&c)
	}
	require.NoError(t, s.PutImage(ctx, page.CheckpointKey, c[:]))
	return &crafted{t: t, s: s, i: newIngester(t, s, Options{}), lsn: craftedStart}
}

// try takes in a record of 64 bytes.
func (c *crafted) try(rec wal.Record) error {
	const size = 64
	rec.Start, rec.End = c.lsn, c.lsn+size
	if rec.Raw == nil {
		rec.Raw = make([]byte, size)
	}
	err := c.i.Record(context.Background(), &rec)
	if err == nil {
		c.lsn += size
	}
	return err
}

func (c *crafted) put(rec wal.Record) {
	c.t.Helper()
	require.NoError(c.t, c.try(rec))
}

func (c *crafted) snapshot() *datadir.Snapshot {
	c.t.Helper()
	require.NoError(c.t, c.i.Commit(context.Background()))
	return datadir.At(c.s, c.s.Last, c.s.Version)
}

func (c *crafted) checkpoint() control.CheckPoint {
	c.t.Helper()
	b, err := c.snapshot().CheckPoint(context.Background())
	require.NoError(c.t, err)
	cp, err := control.ParseCheckPoint(b)
	require.NoError(c.t, err)
	return cp
}

// le packs numbers little-endian by their width.
func le(fields ...any) []byte {
	var b []byte
	for _, f := range fields {
		switch f := f.(type) {
		case string:
			b = append(b, f...)
		case []byte:
			b = append(b, f...)
		default:
			b, _ = binary.Append(b, binary.LittleEndian, f)
		}
	}
	return b
}

var testRel = page.RelTag{Spc: 1663, DB: 5, Rel: 16384}

func relFields(r page.RelTag) []byte { return le(r.Spc, r.DB, r.Rel) }

func block(r page.RelTag, n uint32, init bool) wal.Block {
	return wal.Block{Rel: r, Blkno: n, WillInit: init}
}

func (c *crafted) createRel(r page.RelTag) {
	c.t.Helper()
	c.put(wal.Record{Rmgr: pg.RmSMGR, Info: xlogrec.SmgrCreate | 1, Main: le(relFields(r), uint32(r.Fork))})
}

func (c *crafted) size(r page.RelTag) uint32 {
	c.t.Helper()
	n, err := c.snapshot().RelSize(context.Background(), r)
	require.NoError(c.t, err)
	return n
}

func TestExtendTruncateDrop(t *testing.T) {
	ctx := context.Background()
	for _, v := range liveVersions {
		c := craft(t, v, pg.Stock, nil)
		c.createRel(testRel)
		c.createRel(testRel) // once more is no error, as in redo
		require.Zero(t, c.size(testRel))
		c.put(wal.Record{Rmgr: pg.RmHeap, Info: 0x80, Xid: 1000, Main: le(uint16(1), uint8(0)), Blocks: []wal.Block{block(testRel, 20, true)}})
		require.Equal(t, uint32(21), c.size(testRel))
		require.Equal(t, int64(20), c.i.Stats().Gaps)
		p, err := c.s.Get(ctx, testRel.Block(7), c.s.Last)
		require.NoError(t, err)
		require.Equal(t, make([]byte, 8192), p)
		before := c.s.Last
		for _, f := range []page.Fork{page.ForkFSM, page.ForkVM} {
			c.put(wal.Record{Rmgr: pg.RmXLOG, Info: xlogrec.XLOGFPI, Blocks: []wal.Block{block(testRel.WithFork(f), 2, true)}})
		}
		c.put(wal.Record{Rmgr: pg.RmSMGR, Info: xlogrec.SmgrTruncate, Main: le(uint32(5), relFields(testRel), uint32(7))})
		require.Equal(t, uint32(5), c.size(testRel))
		require.Equal(t, uint32(3), c.size(testRel.WithFork(page.ForkFSM)))
		require.Equal(t, uint32(1), c.size(testRel.WithFork(page.ForkVM)))
		n, err := datadir.At(c.s, before, v).RelSize(ctx, testRel)
		require.NoError(t, err)
		require.Equal(t, uint32(21), n)
		// A block that comes back behind the cut starts from zeros, not from what was there.
		c.put(wal.Record{Rmgr: pg.RmHeap, Info: 0x00, Main: le(uint16(1), uint8(0)), Blocks: []wal.Block{block(testRel, 20, false)}})
		c.snapshot()
		vs := c.s.Versions(testRel.Block(20))
		require.Len(t, vs, 3)
		zero, err := page.DecodeValue(vs[1].Value)
		require.NoError(t, err)
		require.Equal(t, page.KindImage, zero.Kind)
		require.Equal(t, c.s.Last-8, vs[1].LSN)

		c.put(wal.Record{Rmgr: pg.RmXact, Info: 0x80, Xid: 1001, Main: le(int64(5), uint32(4), uint32(1), relFields(testRel))})
		ok, err := c.snapshot().RelExists(ctx, testRel)
		require.NoError(t, err)
		require.False(t, ok)
		_, err = c.snapshot().RelSize(ctx, testRel)
		require.ErrorIs(t, err, page.ErrNotFound)
		c.createRel(testRel)
		require.Zero(t, c.size(testRel))
	}
}

func TestXactEnds(t *testing.T) {
	ctx := context.Background()
	const allInfo = 0x1 | 0x2 | 0x8 | 0x10 | 0x20 | 0x80
	c := craft(t, pg.V17, pg.Stock, func(c *control.CheckPoint) { c.SetNextXid(1<<32 | 5) })
	// Prepared in the epoch before, ended with a global id and an origin.
	xid := uint32(0xFFFFFFF0)
	state := le(uint32(0x57F94534), uint32(100), xid, uint32(5), int64(0), uint32(10), uint32(1), uint64(0), uint64(0), uint32(0), uint8(0), uint8(0), uint16(6),
		uint64(0x500), int64(0), "global\x00\x00", uint32(0xFFFFFFF1))
	c.put(wal.Record{Rmgr: pg.RmXact, Info: xlogrec.XactPrepare, Origin: 3, Main: state})
	xids, err := c.snapshot().TwoPhase(ctx)
	require.NoError(t, err)
	require.Equal(t, []uint64{0xFFFFFFF0}, xids)
	b, err := c.snapshot().TwoPhaseState(ctx, 0xFFFFFFF0)
	require.NoError(t, err)
	require.Equal(t, state, b)
	origins, err := c.snapshot().Origins(ctx)
	require.NoError(t, err)
	require.Equal(t, []datadir.Origin{{ID: 3, LSN: 0x500}}, origins)

	c.put(wal.Record{Rmgr: pg.RmXact, Info: xlogrec.XactCommitPrepared | 0x80, Origin: 3, Main: le(int64(1), uint32(allInfo), uint32(5), uint32(1663),
		uint32(1), uint32(0xFFFFFFF1), uint32(1), make([]byte, 16), xid, "global\x00", uint64(0x600), int64(0))})
	xids, err = c.snapshot().TwoPhase(ctx)
	require.NoError(t, err)
	require.Empty(t, xids)
	origins, err = c.snapshot().Origins(ctx)
	require.NoError(t, err)
	require.Equal(t, []datadir.Origin{{ID: 3, LSN: 0x600}}, origins)
	p, err := c.s.Get(ctx, page.Clog.Block(0xFFFFFFF0/32768/32, 31), c.s.Last)
	require.NoError(t, err)
	require.Equal(t, byte(0x05), p[0xFFFFFFF0%32768/4])
	require.Equal(t, uint64(1<<32|5), func() uint64 { cp := c.checkpoint(); return cp.NextXid() }())

	// Subtransactions over three pages of the commit log, out of order; progress does not go back.
	c.put(wal.Record{Rmgr: pg.RmXact, Info: xlogrec.XactAbort | 0x80, Xid: 32760, Origin: 3, Main: le(int64(1), uint32(0x22), uint32(3), uint32(65540), uint32(32761), uint32(40000), uint64(0x10), int64(0))})
	c.snapshot()
	for _, x := range []uint32{32760, 32761, 40000, 65540} {
		p, err := c.s.Get(ctx, page.Clog.Block(x/32768/32, x/32768%32), c.s.Last)
		require.NoError(t, err)
		require.Equal(t, byte(2), p[x%32768/4]>>(x%4*2)&3, x)
	}
	origins, err = c.snapshot().Origins(ctx)
	require.NoError(t, err)
	require.Equal(t, []datadir.Origin{{ID: 3, LSN: 0x600}}, origins)
	cp := c.checkpoint()
	require.Equal(t, uint64(1<<32|65541), cp.NextXid())
	// Set by force, then dropped.
	c.put(wal.Record{Rmgr: pg.RmReplOrigin, Info: xlogrec.OriginSet, Main: le(uint64(0x20), uint16(3), uint8(1))})
	origins, _ = c.snapshot().Origins(ctx)
	require.Equal(t, []datadir.Origin{{ID: 3, LSN: 0x20}}, origins)
	c.put(wal.Record{Rmgr: pg.RmReplOrigin, Info: xlogrec.OriginDrop, Main: le(uint16(3))})
	origins, _ = c.snapshot().Origins(ctx)
	require.Empty(t, origins)
}

func TestNextXid(t *testing.T) {
	for _, x := range []struct {
		flavour pg.Flavour
		next    uint64
		seen    uint32
		want    uint64
	}{
		{pg.Stock, 1000, 999, 1000}, {pg.Stock, 1000, 1000, 1001}, {pg.Stock, 1000, 2, 1000}, {pg.Stock, 1000, 0, 1000},
		{pg.Stock, 0xFFFFFFFF, 0xFFFFFFFF, 1<<32 | 3}, {pg.Stock, 1<<32 | 10, 0xFFFFFFF0, 1<<32 | 10}, {pg.Stock, 0xFFFFFFF0, 5, 1<<32 | 6},
		{pg.Neon, 10, 100, 1024}, {pg.Neon, 1024, 500, 1024}, {pg.Neon, 1024, 1023, 1024}, {pg.Neon, 1024, 1024, 2048},
	} {
		var c checkpoint
		c.neon = x.flavour == pg.Neon
		c.c.SetNextXid(x.next)
		c.advanceXid(x.seen)
		require.Equal(t, x.want, c.c.NextXid(), x)
	}
}

func TestMultiXacts(t *testing.T) {
	ctx := context.Background()
	c := craft(t, pg.V15, pg.Stock, func(c *control.CheckPoint) { c.SetNextMulti(2047); c.SetNextMultiOffset(1635) })
	create := func(multi, offset uint32, xids ...uint32) {
		b := le(multi, offset, uint32(len(xids)))
		for _, x := range xids {
			b = append(b, le(x, uint32(1))...)
		}
		c.put(wal.Record{Rmgr: pg.RmMultiXact, Info: xlogrec.MultiXactCreate, Xid: 1000, Main: b})
	}
	slot := func(multi uint32) uint32 {
		t.Helper()
		require.NoError(t, c.i.Commit(ctx))
		p, err := c.s.Get(ctx, page.MultixactOffsets.Block(multi/2048/32, multi/2048%32), c.s.Last)
		require.NoError(t, err)
		return binary.LittleEndian.Uint32(p[multi%2048*4:])
	}
	c.put(wal.Record{Rmgr: pg.RmMultiXact, Info: xlogrec.MultiXactZeroOffsets, Main: le(uint32(1))})
	// Neither page of members was announced: they come into being. Members cross a page.
	create(2047, 1635, 1000, 5000, 900)
	require.Equal(t, uint32(1635), slot(2047))
	require.Equal(t, uint32(1638), slot(2048), "the next one's start is on another page, so it is there at once")
	p, err := c.s.Get(ctx, page.MultixactMembers.Block(0, 1), c.s.Last)
	require.NoError(t, err)
	require.Equal(t, uint32(5000), binary.LittleEndian.Uint32(p[4:]))
	require.Equal(t, byte(1), p[0])
	cp := c.checkpoint()
	require.Equal(t, [3]uint32{2048, 1638, 5001}, [3]uint32{cp.NextMulti(), cp.NextMultiOffset(), uint32(cp.NextXid())})
	// Logged out of order: 2049 before 2048. The slot after 2048 is 2049's own, the one after 2049 follows.
	create(2049, 1640, 7, 8)
	create(2048, 1638, 7, 8)
	require.Zero(t, slot(2050))
	c.put(wal.Record{Rmgr: pg.RmXLOG, Info: xlogrec.XLOGNoop})
	require.Equal(t, []uint32{1638, 1640, 1642}, []uint32{slot(2048), slot(2049), slot(2050)})

	// Truncation removes segments of both.
	for _, kind := range []uint8{xlogrec.MultiXactZeroOffsets, xlogrec.MultiXactZeroMembers} {
		for _, n := range []uint32{40, 70} {
			c.put(wal.Record{Rmgr: pg.RmMultiXact, Info: kind, Main: le(n)})
		}
	}
	create(70*2048, 70*1636, 7)
	c.put(wal.Record{Rmgr: pg.RmMultiXact, Info: xlogrec.MultiXactTruncate, Main: le(uint32(5), uint32(1), uint32(64*2048+1), uint32(1), uint32(33*1636))})
	for kind, want := range map[page.SLRU][]uint32{page.MultixactOffsets: {2}, page.MultixactMembers: {1, 2}} {
		got, err := c.snapshot().SLRUSegments(ctx, kind)
		require.NoError(t, err)
		require.Equal(t, want, got, kind)
	}
	cp = c.checkpoint()
	require.Equal(t, uint32(64*2048+1), cp.OldestMulti())
	require.Equal(t, uint32(5), cp.OldestMultiDB())
}

func TestClogTruncation(t *testing.T) {
	ctx := context.Background()
	for _, v := range []pg.Version{pg.V15, pg.V17} {
		c := craft(t, v, pg.Stock, func(c *control.CheckPoint) { c.SetNextXid(70 * 32768) })
		pageNo := func(n uint32) []byte {
			if v >= pg.V17 {
				return le(uint64(n))
			}
			return le(n)
		}
		for _, n := range []uint32{0, 31, 40, 70} {
			c.put(wal.Record{Rmgr: pg.RmCLOG, Info: xlogrec.ClogZeroPage, Main: pageNo(n)})
		}
		c.put(wal.Record{Rmgr: pg.RmCLOG, Info: xlogrec.ClogTruncate, Main: append(pageNo(80), le(uint32(80*32768), uint32(4))...)})
		segs, err := c.snapshot().SLRUSegments(ctx, page.Clog)
		require.NoError(t, err)
		require.Equal(t, []uint32{0, 1, 2}, segs, "a cutoff ahead of the next transaction is refused")
		c.put(wal.Record{Rmgr: pg.RmCLOG, Info: xlogrec.ClogTruncate, Main: append(pageNo(40), le(uint32(40*32768), uint32(4))...)})
		segs, err = c.snapshot().SLRUSegments(ctx, page.Clog)
		require.NoError(t, err)
		require.Equal(t, []uint32{1, 2}, segs)
		n, err := c.snapshot().SLRUSegmentPages(ctx, page.Clog, 1)
		require.NoError(t, err)
		require.Equal(t, uint32(9), n)
		cp := c.checkpoint()
		require.Equal(t, uint32(40*32768), cp.OldestXid())
		require.Equal(t, uint32(4), cp.OldestXidDB())
	}
}

func TestControlRecords(t *testing.T) {
	ctx := context.Background()
	c := craft(t, pg.V17, pg.Stock, nil)
	c.put(wal.Record{Rmgr: pg.RmXLOG, Info: xlogrec.XLOGNextOID, Main: le(uint32(28192))})
	c.put(wal.Record{Rmgr: pg.RmXLOG, Info: xlogrec.XLOGFPWChange, Main: []byte{1}})
	c.put(wal.Record{Rmgr: pg.RmXLOG, Info: xlogrec.XLOGCheckpointRedo, Main: le(uint32(2))})
	c.put(wal.Record{Rmgr: pg.RmStandby, Info: xlogrec.StandbyRunningXacts, Main: le(uint32(1), uint32(1), uint32(0), uint32(2000), uint32(1500), uint32(1999), uint32(1500), uint32(1600))})
	cp := c.checkpoint()
	require.Equal(t, uint64(2000), cp.NextXid())
	require.Equal(t, uint32(28192), cp.NextOid())
	require.Equal(t, uint32(1500), cp.OldestActiveXid())
	require.True(t, cp.FullPageWrites())
	require.Equal(t, control.Logical, cp.WALLevel())

	var online control.CheckPoint
	online.SetRedo(0x1000180)
	online.SetTimeline(1)
	online.SetPrevTimeline(1)
	online.SetWALLevel(control.Replica)
	online.SetNextXid(1 << 32)
	online.SetNextOid(25000)
	online.SetOldestXid(600)
	online.SetTime(99)
	c.put(wal.Record{Rmgr: pg.RmXLOG, Info: xlogrec.XLOGCheckpointOnline, Main: online[:]})
	cp = c.checkpoint()
	require.Equal(t, uint64(1<<32), cp.NextXid(), "the epoch")
	require.Equal(t, uint32(28192), cp.NextOid(), "object ids come from NEXTOID")
	require.Equal(t, uint32(700), cp.OldestXid(), "does not go back")
	require.Equal(t, int64(99), cp.Time())
	require.Equal(t, page.LSN(0x1000180), cp.Redo())
	require.False(t, cp.FullPageWrites())

	c.i.o.History = func(tli uint32) ([]byte, error) { return []byte("1\t0/1000200\tno reason\n"), nil }
	c.put(wal.Record{Rmgr: pg.RmXLOG, Info: xlogrec.XLOGEndOfRecovery, Main: le(int64(5), uint32(2), uint32(1), uint32(1))})
	cp = c.checkpoint()
	require.Equal(t, [2]uint32{2, 1}, [2]uint32{cp.Timeline(), cp.PrevTimeline()})
	files, err := c.snapshot().ClusterFiles(ctx)
	require.NoError(t, err)
	require.Len(t, files, 1)
	require.Equal(t, "pg_wal/00000002.history", files[0].Path)

	settings := control.Settings{MaxConnections: 50, MaxWorkerProcesses: 8, MaxWALSenders: 10, MaxPreparedXacts: 7, MaxLocksPerXact: 64, WALLevel: control.Logical, WALLogHints: true}
	c.put(wal.Record{Rmgr: pg.RmXLOG, Info: xlogrec.XLOGParameterChange, Main: le(uint32(50), uint32(8), uint32(10), uint32(7), uint32(64), uint32(2), uint8(1), uint8(0), uint16(0))})
	b, err := c.snapshot().ControlFile(ctx)
	require.NoError(t, err)
	f, err := control.Parse(b)
	require.NoError(t, err)
	require.Equal(t, settings, f.Settings())

	n := len(c.s.Versions(page.CheckpointKey))
	c.put(wal.Record{Rmgr: pg.RmXLOG, Info: xlogrec.XLOGNoop})
	require.NoError(t, c.i.Commit(ctx))
	require.Len(t, c.s.Versions(page.CheckpointKey), n, "written only when it changed")
	shutdown := online
	shutdown.SetNextOid(100)
	shutdown.SetTimeline(2)
	c.put(wal.Record{Rmgr: pg.RmXLOG, Info: xlogrec.XLOGCheckpointShutdown, Main: shutdown[:]})
	require.Equal(t, shutdown, c.checkpoint())
}

// What cannot be taken in ends ingest at the record before, with its place; nothing of it is stored.
func TestRecordRefused(t *testing.T) {
	ctx := context.Background()
	minimal := le(uint32(50), uint32(8), uint32(10), uint32(7), uint32(64), uint32(0), uint32(0))
	for name, bad := range map[string]wal.Record{
		"minimal":      {Rmgr: pg.RmXLOG, Info: xlogrec.XLOGParameterChange, Main: minimal},
		"checkpoint":   {Rmgr: pg.RmXLOG, Info: xlogrec.XLOGCheckpointOnline, Main: make([]byte, 88)},
		"short":        {Rmgr: pg.RmXact, Info: 0x80, Main: []byte{1}},
		"counts":       {Rmgr: pg.RmXact, Info: 0x80, Main: le(int64(0), uint32(2), uint32(0xFFFFFFFF))},
		"unknown":      {Rmgr: pg.RmCLOG, Info: 0x70},
		"relation map": {Rmgr: pg.RmRelMap, Main: le(uint32(5), uint32(1663), uint32(4), uint32(0))},
		"far":          {Rmgr: pg.RmHeap, Info: 0x80, Main: le(uint16(1), uint8(0)), Blocks: []wal.Block{block(testRel, 1<<30, true)}},
		"half":         {Rmgr: pg.RmXact, Info: 0x80, Main: le(int64(0), uint32(0x6), uint32(1), uint32(5000), uint32(1), uint32(70000), uint32(5), uint32(1)), Blocks: []wal.Block{block(testRel, 3, true), block(page.RelTag{Spc: 1663, DB: 5}, 0, true)}},
	} {
		t.Run(name, func(t *testing.T) {
			c := craft(t, pg.V17, pg.Stock, nil)
			c.createRel(testRel)
			good := c.lsn
			err := c.try(bad)
			var re *RecordError
			require.ErrorAs(t, err, &re)
			require.Equal(t, good, re.Start)
			require.Equal(t, good, c.s.Last, "the record before is stored")
			require.Equal(t, err, c.try(wal.Record{Rmgr: pg.RmXLOG, Info: xlogrec.XLOGNoop}), "it stays refused")
			require.Empty(t, c.s.Versions(testRel.Block(3)))
			cp := func() control.CheckPoint {
				b, err := datadir.At(c.s, c.s.Last, pg.V17).CheckPoint(ctx)
				require.NoError(t, err)
				return control.CheckPoint(b)
			}()
			require.Equal(t, uint64(1000), cp.NextXid())
			// A new one goes on.
			c.i = newIngester(t, c.s, Options{})
			c.createRel(page.RelTag{Spc: 1663, DB: 5, Rel: 7})
			require.Zero(t, c.size(page.RelTag{Spc: 1663, DB: 5, Rel: 7}))
		})
	}
	c := craft(t, pg.V17, pg.Stock, nil)
	rec := wal.Record{Start: craftedStart - 64, End: craftedStart, Rmgr: pg.RmXLOG, Info: xlogrec.XLOGNoop}
	require.ErrorContains(t, c.i.Record(ctx, &rec), "does not follow")
}

// Map bits are cleared in the pages of both tuples of an update, and only where the map has the page.
func TestVMClear(t *testing.T) {
	ctx := context.Background()
	const perPage = xlogrec.VMHeapBlocksPerPage
	c := craft(t, pg.V15, pg.Stock, nil)
	vm := testRel.WithFork(page.ForkVM)
	// The heap is three pages of the map long.
	var b page.Batch
	at := craftedStart + 64
	b.PutImage(page.DBDirKey, at, datadir.EncodeDatabases([]datadir.Database{{Spc: 1663, DB: 5}}))
	b.PutImage(page.RelDirKey(1663, 5), at, datadir.EncodeRelations([]datadir.RelFork{{Rel: testRel.Rel}}))
	b.PutImage(testRel.SizeKey(), at, datadir.EncodeSize(3*perPage))
	require.NoError(t, c.s.Put(ctx, &b))
	c.lsn, c.i = at, newIngester(t, c.s, Options{})
	full := make([]byte, 8192)
	for i := 24; i < len(full); i++ {
		full[i] = 0xFF
	}
	copy(full[12:], le(uint16(24), uint16(8192), uint16(8192), uint16(0x2004)))
	for n := range uint32(2) {
		c.put(wal.Record{Rmgr: pg.RmXLOG, Info: xlogrec.XLOGFPI, Blocks: []wal.Block{{Rel: vm, Blkno: n, HasImage: true, Apply: true, WillInit: true, Image: full}}})
	}
	update := func(flags uint8, newBlk, oldBlk uint32) {
		old := block(testRel, oldBlk, false)
		old.ID = 1
		c.put(wal.Record{Rmgr: pg.RmHeap, Info: 0x20, Main: le(uint32(1), uint16(1), uint8(0), flags, uint32(0), uint16(2)), Blocks: []wal.Block{block(testRel, newBlk, true), old}})
	}
	bits := func(heap uint32) byte {
		require.NoError(t, c.i.Commit(ctx))
		p, err := c.s.Get(ctx, vm.Block(heap/perPage), c.s.Last)
		require.NoError(t, err)
		return p[24+heap%perPage/4] >> (heap % 4 * 2) & 3
	}
	update(3, 5, 6)
	require.Equal(t, []byte{0, 0, 3}, []byte{bits(5), bits(6), bits(7)})
	update(3, 8, perPage+9)
	require.Equal(t, []byte{0, 0, 3}, []byte{bits(8), bits(perPage + 9), bits(perPage + 8)})
	update(1, 10, 11)
	require.Equal(t, []byte{3, 0}, []byte{bits(10), bits(11)})
	update(2, 12, 2*perPage) // the map has no third page
	require.Equal(t, []byte{0}, []byte{bits(12)})
	c.put(wal.Record{Rmgr: pg.RmHeap, Info: 0x60, Main: le(uint32(1), uint16(1), uint8(0), uint8(1)), Blocks: []wal.Block{block(testRel, 14, false)}})
	require.Equal(t, byte(1), bits(14), "a lock clears all-frozen alone")
	require.Equal(t, int64(5), c.i.Stats().VMClear)
}

// Files of a Neon compute arrive as messages; a stock server's messages are its users' own.
func TestLogicalMessages(t *testing.T) {
	ctx := context.Background()
	msg := func(path, content string) wal.Record {
		prefix := "neon-file:" + path + "\x00"
		return wal.Record{Rmgr: pg.RmLogicalMsg, Main: le(uint32(5), uint32(0), uint64(len(prefix)), uint64(len(content)), prefix, content)}
	}
	c := craft(t, pg.V15, pg.Neon, nil)
	c.put(msg("pg_replslot/a/state", "one"))
	c.put(msg("pg_replslot/b/state", "two"))
	before := c.lsn
	c.put(msg("pg_replslot/a/state", "three"))
	c.put(msg("pg_replslot/b/state", ""))
	files, err := c.snapshot().AuxFiles(ctx)
	require.NoError(t, err)
	require.Equal(t, []datadir.File{{Path: "pg_replslot/a/state", Content: []byte("three")}}, files)
	files, err = datadir.At(c.s, before, pg.V15).AuxFiles(ctx)
	require.NoError(t, err)
	require.Equal(t, []datadir.File{{Path: "pg_replslot/a/state", Content: []byte("one")}, {Path: "pg_replslot/b/state", Content: []byte("two")}}, files)

	c = craft(t, pg.V15, pg.Stock, nil)
	c.put(msg("pg_replslot/a/state", "one"))
	files, err = c.snapshot().AuxFiles(ctx)
	require.NoError(t, err)
	require.Empty(t, files)
}
