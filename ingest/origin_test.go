package ingest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/control"
	"github.com/stratapg/strata/pg/wal"
	"github.com/stratapg/strata/pg/xlogrec"
)

// stopped is a shutdown's checkpoint as a server writes it, but for the mark.
func stopped(mark, tli, before uint32) wal.Record {
	var c control.CheckPoint
	c.SetTimeline(tli)
	c.SetPrevTimeline(before)
	c.SetNextXid(1000)
	c.SetMark(mark)
	return wal.Record{Rmgr: pg.RmXLOG, Info: xlogrec.XLOGCheckpointShutdown, Main: c[:]}
}

// TestOrigin offers the WAL of a timeline, its ancestor, its branch and a stranger to a branch at its beginning and later, and to a
// timeline that has no ancestor. Each case's records all continue the last one, and the shutdown of the ancestor's own server
// differs in nothing else from the checkpoint of a backup.
func TestOrigin(t *testing.T) {
	own, ancestor, strange := control.MarkOf(page.TimelineID{1}), control.MarkOf(page.TimelineID{2}), control.MarkOf(page.TimelineID{3})
	noop := wal.Record{Rmgr: pg.RmXLOG, Info: xlogrec.XLOGNoop}
	endOfRecovery := wal.Record{Rmgr: pg.RmXLOG, Info: xlogrec.XLOGEndOfRecovery, Main: le(int64(0), uint32(2), uint32(1))}
	for _, c := range []struct {
		name        string
		rec         wal.Record
		first, main string // what is said, if it is refused
		later       string
	}{
		{name: "a backup of the timeline", rec: stopped(own, 1, 1)},
		{name: "a backup of the ancestor", rec: stopped(ancestor, 1, 1), main: "another timeline's base backup", later: "another timeline's base backup"},
		{name: "a backup of a stranger", rec: stopped(strange, 1, 1), first: "another timeline's base backup", main: "another timeline's base backup", later: "another timeline's base backup"},
		{name: "a server's shutdown", rec: stopped(0, 1, 1), first: "branches at 0/1000100"},
		{name: "a server's record", rec: noop, first: "--ancestor-wal"},
		{name: "a promoted server's checkpoint", rec: stopped(0, 2, 1)},
		{name: "a promoted server", rec: endOfRecovery},
	} {
		t.Run(c.name, func(t *testing.T) {
			take := func(says string, o Origin, later bool) {
				t.Helper()
				s := craft(t, pg.V15, pg.Stock, nil)
				s.i = newIngester(t, s.s, Options{Origin: o})
				if later {
					s.put(stopped(own, 1, 1))
					s.put(noop)
				}
				err := s.try(c.rec)
				if says == "" {
					require.NoError(t, err)
					cp := s.checkpoint()
					require.Zero(t, cp.Mark(), "what is stored is as servers write it")
					return
				}
				require.ErrorIs(t, err, ErrOrigin)
				require.ErrorContains(t, err, says)
				require.ErrorIs(t, s.try(noop), ErrOrigin, "nothing follows")
				require.Equal(t, s.lsn, s.s.Last, "what came before is stored")
			}
			branch := Origin{Marks: []uint32{own, ancestor}, Branch: craftedStart}
			take(c.first, branch, false)
			take(c.later, branch, true)
			take(c.main, Origin{Marks: []uint32{own}}, false)
			take("", Origin{}, false)
		})
	}
	// Neon's computes begin with whatever they write.
	s := craft(t, pg.V16, pg.Neon, nil)
	s.i = newIngester(t, s.s, Options{Origin: Origin{Marks: []uint32{own, ancestor}, Branch: craftedStart}})
	s.put(noop)
}
