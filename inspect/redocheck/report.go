package redocheck

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/mask"
	"github.com/stratapg/strata/pg/wal"
)

// Counts are what the check found. Blocks = Equal + Different + Uncovered + Primed.
type Counts struct {
	// Records of any kind, with block references or without.
	Records int64 `json:"records"`
	// Blocks are block references with a copy of the page, and those without one whose redo failed.
	Blocks int64 `json:"blocks"`
	// Equal blocks came out of redo as in their copy.
	Equal int64 `json:"equal"`
	// Different blocks did not, or their redo failed.
	Different int64 `json:"different"`
	// Uncovered blocks belong to records of a type that redo refuses; their copy was taken as the page.
	Uncovered int64 `json:"uncovered"`
	// Primed blocks were not known before, so that their copy was taken as the page.
	Primed int64 `json:"primed"`
}

func (c *Counts) add(o Counts) {
	c.Records += o.Records
	c.Blocks += o.Blocks
	c.Equal += o.Equal
	c.Different += o.Different
	c.Uncovered += o.Uncovered
	c.Primed += o.Primed
}

// RmgrCounts are the counts of one resource manager.
type RmgrCounts struct {
	Rmgr pg.Rmgr `json:"rmgr"`
	Counts
}

// OpCounts are the counts of one kind of record.
type OpCounts struct {
	wal.Op
	Counts
}

// Report is the result of a check.
type Report struct {
	// Start and End are the LSNs between which the records were checked.
	Start, End page.LSN
	Total      Counts
	// Rmgrs has the resource managers that occurred, by number.
	Rmgrs []RmgrCounts
	// Ops has every kind of record that the version knows, by resource manager and number, whether it
	// occurred or not, and behind them unknown ones that did.
	Ops []OpCounts
	// First describes the first differences, at most Options.MaxDifferences.
	First []Difference
}

// Rmgr gives the counts of one resource manager, zeros if it did not occur.
func (r *Report) Rmgr(m pg.Rmgr) Counts {
	for _, c := range r.Rmgrs {
		if c.Rmgr == m {
			return c.Counts
		}
	}
	return Counts{}
}

// Difference is a block that redo did not make as the server did.
type Difference struct {
	Rmgr  pg.Rmgr
	Op    string   // as pg_waldump names it
	LSN   page.LSN // end of the record
	Rel   page.RelTag
	Block uint32
	// Offset is the first byte that differs after masking as Kind says; -1 if redo failed with Err.
	Offset int
	Kind   mask.Kind
	Err    error
}

// String describes the difference on one line.
func (d Difference) String() string {
	place := fmt.Sprintf("%s %s record ending at %s, relation %s block %d", d.Rmgr, d.Op, d.LSN, d.Rel, d.Block)
	if d.Err != nil {
		return fmt.Sprintf("%s: redo failed: %v", place, d.Err)
	}
	return fmt.Sprintf("%s: differs from the server's %s page at byte %d", place, d.Kind, d.Offset)
}

type opKey struct {
	rmgr pg.Rmgr
	name string
}

// tally collects the report.
type tally struct {
	version pg.Version
	limit   int
	ops     map[opKey]*OpCounts
	first   []Difference
}

func newTally(o Options) *tally {
	t := &tally{version: o.Version, limit: o.MaxDifferences, ops: map[opKey]*OpCounts{}}
	for _, op := range wal.Ops(o.Version) {
		if op.Rmgr != pg.RmNeon {
			t.ops[opKey{op.Rmgr, op.Name}] = &OpCounts{Op: op}
		}
	}
	return t
}

// record counts a record and gives the counts that its blocks belong to.
func (t *tally) record(rec *wal.Record) *Counts {
	k := opKey{rec.Rmgr, wal.OpName(t.version, rec.Rmgr, rec.Info)}
	o := t.ops[k]
	if o == nil {
		o = &OpCounts{Op: wal.Op{Rmgr: rec.Rmgr, Info: rec.Op(), Name: k.name}}
		t.ops[k] = o
	}
	o.Records++
	return &o.Counts
}

func (t *tally) differs(rec *wal.Record, b *wal.Block, kind mask.Kind, at int, err error) {
	if len(t.first) < t.limit {
		t.first = append(t.first, Difference{
			Rmgr: rec.Rmgr, Op: wal.OpName(t.version, rec.Rmgr, rec.Info), LSN: rec.End,
			Rel: b.Rel, Block: b.Blkno, Offset: at, Kind: kind, Err: err,
		})
	}
}

func (t *tally) report(start, end page.LSN) Report {
	r := Report{Start: start, End: end, First: t.first}
	sums := map[pg.Rmgr]*RmgrCounts{}
	for _, o := range t.ops {
		r.Ops = append(r.Ops, *o)
		if o.Records == 0 {
			continue
		}
		if sums[o.Rmgr] == nil {
			sums[o.Rmgr] = &RmgrCounts{Rmgr: o.Rmgr}
		}
		sums[o.Rmgr].add(o.Counts)
		r.Total.add(o.Counts)
	}
	for _, s := range sums {
		r.Rmgrs = append(r.Rmgrs, *s)
	}
	slices.SortFunc(r.Rmgrs, func(a, b RmgrCounts) int { return cmp.Compare(a.Rmgr, b.Rmgr) })
	slices.SortFunc(r.Ops, func(a, b OpCounts) int {
		return cmp.Or(cmp.Compare(a.Op.Rmgr, b.Op.Rmgr), cmp.Compare(a.Info, b.Info), cmp.Compare(a.Name, b.Name))
	})
	return r
}
