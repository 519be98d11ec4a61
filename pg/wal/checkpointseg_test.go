package wal_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/wal"
)

func TestShutdownCheckpointEnd(t *testing.T) {
	require.Equal(t, page.LSN(0x2377B20), wal.ShutdownCheckpointEnd(0x2377AA8, wal.DefaultSegSize), "neon-pg17")
	require.Equal(t, page.LSN(0x14AEC08), wal.ShutdownCheckpointEnd(0x14AEB90, wal.DefaultSegSize), "real-wal-pg15")
}

// checkpointAt builds a segment, checks its pages and reads it back: in memory and as a directory.
func checkpointAt(t *testing.T, v pg.Version, segSize uint32, lsn page.LSN) *wal.CheckpointWAL {
	cp := bytes.Repeat([]byte{7}, wal.CheckPointSize)
	c, err := wal.BuildShutdownCheckpoint(wal.ShutdownCheckpoint{Version: v, SegSize: segSize, SystemID: 42, Timeline: 3, LSN: lsn, Prev: lsn - 64, CheckPoint: cp})
	require.NoError(t, err)
	require.Equal(t, wal.RecordStart(lsn, segSize), c.Start)
	require.Equal(t, wal.ShutdownCheckpointEnd(c.Start, segSize), c.End)
	require.Equal(t, uint64(c.Start), binary.LittleEndian.Uint64(c.CheckPoint))
	require.Equal(t, cp[8:], c.CheckPoint[8:])

	fsys, all := fstest.MapFS{}, []byte(nil)
	for i := range c.Segments {
		s := &c.Segments[i]
		var b bytes.Buffer
		n, err := s.WriteTo(&b)
		require.NoError(t, err)
		require.Equal(t, int64(segSize), n)
		require.True(t, bytes.Equal(s.Bytes(), b.Bytes()))
		fsys[s.Name] = &fstest.MapFile{Data: b.Bytes()}
		all = append(all, b.Bytes()...)
	}
	checkBackupEnd(t, v, segSize, lsn, c)
	base := c.Start &^ page.LSN(segSize-1)
	require.Equal(t, wal.SegmentName(3, base, segSize), c.Segments[0].Name)
	o := wal.DecoderOptions{Version: v, Start: lsn, Prev: lsn - 64, SegSize: segSize, SystemID: 42, Timeline: 3}
	got, _, err := decode(o, all[max(lsn, base)-base:], whole)
	if c.End%page.LSN(segSize) != 0 {
		require.ErrorIs(t, err, wal.ErrEnd, "the rest is zeros")
	}
	require.Len(t, got, 1)
	require.Equal(t, "XLOG CHECKPOINT_SHUTDOWN", got[0].op)
	require.Equal(t, string(c.CheckPoint), got[0].main)
	require.Equal(t, [2]page.LSN{c.Start, c.End}, [2]page.LSN{got[0].start, got[0].end})

	r, err := wal.OpenFS(fsys, "made", wal.DirOptions{Version: v, Start: lsn, SystemID: 42, Timeline: 3})
	require.NoError(t, err)
	recs, err := drain(t, r)
	require.NoError(t, err)
	require.Len(t, recs, 1)
	require.Equal(t, c.End, r.LSN())
	return c
}

// checkBackupEnd builds the same checkpoint with the end of a backup behind, and reads both back.
func checkBackupEnd(t *testing.T, v pg.Version, segSize uint32, lsn page.LSN, plain *wal.CheckpointWAL) {
	c, err := wal.BuildShutdownCheckpoint(wal.ShutdownCheckpoint{Version: v, SegSize: segSize, SystemID: 42, Timeline: 3, LSN: lsn,
		Prev: lsn - 64, CheckPoint: plain.CheckPoint, BackupEnd: true})
	require.NoError(t, err)
	fsys := fstest.MapFS{}
	for i := range c.Segments {
		fsys[c.Segments[i].Name] = &fstest.MapFile{Data: c.Segments[i].Bytes()}
	}
	r, err := wal.OpenFS(fsys, "made", wal.DirOptions{Version: v, Start: lsn, SystemID: 42, Timeline: 3})
	require.NoError(t, err)
	recs, err := drain(t, r)
	require.NoError(t, err)
	require.Len(t, recs, 2)
	require.Equal(t, "XLOG CHECKPOINT_SHUTDOWN", recs[0].op)
	require.Equal(t, plain.End, recs[0].end)
	require.Equal(t, "XLOG BACKUP_END", recs[1].op)
	require.Equal(t, c.Start, page.LSN(binary.LittleEndian.Uint64([]byte(recs[1].main))), "where the backup's WAL begins")
	require.Equal(t, c.End, recs[1].end)
	require.Equal(t, c.End, r.LSN())
}

// An empty segment reads as WAL without a record at the LSN that it is for.
func TestEmptySegment(t *testing.T) {
	for _, lsn := range []page.LSN{5 * seg, 5*seg + 40, 5*seg + 400, 5*seg + 3*wal.PageSize, 5*seg + 3*wal.PageSize + 24, 5*seg + 3*wal.PageSize + 4000, 6*seg - 8} {
		s, err := wal.EmptySegment(pg.V17, seg, 42, 3, lsn)
		require.NoError(t, err)
		require.Equal(t, wal.SegmentName(3, lsn, seg), s.Name)
		r, err := wal.OpenFS(fstest.MapFS{s.Name: &fstest.MapFile{Data: s.Bytes()}}, "made", wal.DirOptions{Version: pg.V17, Start: lsn, SystemID: 42, Timeline: 3})
		require.NoError(t, err)
		recs, err := drain(t, r)
		require.NoError(t, err)
		require.Empty(t, recs)
		at := lsn &^ (wal.PageSize - 1) % seg
		rest := binary.LittleEndian.Uint32(s.Bytes()[at+16:])
		if lsn%wal.PageSize == 0 {
			require.Zero(t, rest)
		} else {
			require.Equal(t, lsn, 5*seg+at+page.LSN(rest)+map[bool]page.LSN{true: 40, false: 24}[at == 0], "records go on behind the rest of an earlier one")
		}
	}
	for _, lsn := range []page.LSN{5*seg + 8, 5*seg + wal.PageSize + 16, 4096, 3} {
		_, err := wal.EmptySegment(pg.V17, seg, 42, 3, lsn)
		require.Error(t, err, "%s", lsn)
	}
}

func TestShutdownCheckpointAnywhere(t *testing.T) {
	all := []page.LSN{0, 8, 16, 24, 40, 104, 112, 120, 128, 4000}
	for v, places := range map[pg.Version][]page.LSN{pg.V14: {8}, pg.V15: all, pg.V16: {112}, pg.V17: {24}} {
		for _, boundary := range []struct {
			name string
			lsn  page.LSN
		}{{"page", 5*seg + 3*wal.PageSize}, {"first page", 5*seg + wal.PageSize}, {"segment", 6 * seg}} {
			for _, before := range places {
				t.Run(fmt.Sprintf("%d/%s/%d", v, boundary.name, before), func(t *testing.T) {
					c := checkpointAt(t, v, seg, boundary.lsn-before)
					segments := 1
					if boundary.name == "segment" && before > 0 && before < 114 {
						segments = 2
					}
					require.Len(t, c.Segments, segments)
				})
			}
		}
	}
	checkpointAt(t, pg.V17, 64<<20, 0x1_0000_0000-8) // over the end of a log id
}

func TestShutdownCheckpointRefused(t *testing.T) {
	good := wal.ShutdownCheckpoint{Version: pg.V15, SegSize: seg, Timeline: 1, LSN: 5 * seg, CheckPoint: make([]byte, wal.CheckPointSize)}
	for name, change := range map[string]func(*wal.ShutdownCheckpoint){
		"version": func(c *wal.ShutdownCheckpoint) { c.Version = 13 }, "segment size": func(c *wal.ShutdownCheckpoint) { c.SegSize = 77 },
		"timeline": func(c *wal.ShutdownCheckpoint) { c.Timeline = 0 }, "structure": func(c *wal.ShutdownCheckpoint) { c.CheckPoint = c.CheckPoint[:80] },
		"LSN in a header": func(c *wal.ShutdownCheckpoint) { c.LSN += 8 }, "LSN of the first segment": func(c *wal.ShutdownCheckpoint) { c.LSN = 4096 },
		"LSN past the end": func(c *wal.ShutdownCheckpoint) { c.LSN = page.MaxLSN &^ 7 }, "prev": func(c *wal.ShutdownCheckpoint) { c.Prev = 6 * seg },
	} {
		c := good
		change(&c)
		_, err := wal.BuildShutdownCheckpoint(c)
		require.Error(t, err, name)
	}
}
