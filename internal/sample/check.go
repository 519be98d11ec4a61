package sample

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

// Result is the outcome of a comparison.
type Result struct {
	Pages     int // pages of relations read and compared
	SLRU      int // pages of SLRUs read and compared
	Different int // pages, relation maps, and once each relations that one side alone has
	// First describes the first differences, at most maxFirst.
	First []string
}

const maxFirst = 20

func (r *Result) differs(format string, args ...any) {
	r.Different++
	if len(r.First) < maxFirst {
		r.First = append(r.First, fmt.Sprintf(format, args...))
	}
}

// Check reads every page of a timeline at want.LSN, as Collect does, and compares their digests with want.
// A page that cannot be rebuilt is a difference.
func Check(ctx context.Context, r datadir.Reader, version pg.Version, want *Pages) (Result, error) {
	ours, err := Collect(ctx, r, version, want.LSN)
	if err != nil {
		return Result{}, err
	}
	res := Compare(ours.Pages, want)
	res.Pages, res.SLRU = ours.Read, ours.ReadSLRU
	for i, f := range ours.Failed {
		res.First = slices.Insert(res.First, i, f.Error())
	}
	res.First = res.First[:min(len(res.First), maxFirst)]
	return res, nil
}

// Compare compares ours with PostgreSQL's digests. Pages and SLRU of the result are 0.
func Compare(ours, want *Pages) Result {
	var r Result
	for _, t := range union(ours.Rels, want.Rels, page.RelTag.Compare) {
		a, inOurs := ours.Rels[t]
		b, inWant := want.Rels[t]
		switch {
		case !inWant:
			r.differs("relation %s at %s: ours has %d blocks, PostgreSQL has no such relation", t, want.LSN, len(a))
		case !inOurs:
			r.differs("relation %s at %s: ours has none, PostgreSQL has it with %d blocks", t, want.LSN, len(b))
		default:
			r.pages("relation "+t.String()+" block", want.LSN, a, b)
		}
	}
	for _, s := range union(ours.Segments, want.Segments, compareSegments) {
		r.pages(s.String()+" page", want.LSN, ours.Segments[s], want.Segments[s])
	}
	for _, d := range union(ours.Maps, want.Maps, compareDatabases) {
		if a, b := ours.Maps[d], want.Maps[d]; a != b {
			r.differs("relation map of database %s at %s: digest %016x, PostgreSQL's %016x", d, want.LSN, uint64(a), uint64(b))
		}
	}
	return r
}

func (r *Result) pages(what string, lsn page.LSN, ours, want []Digest) {
	for i := range max(len(ours), len(want)) {
		switch {
		case i >= len(ours):
			r.differs("%s %d at %s: ours ends before it", what, i, lsn)
		case i >= len(want):
			r.differs("%s %d at %s: PostgreSQL's ends before it", what, i, lsn)
		case ours[i] != want[i]:
			r.differs("%s %d at %s: digest %016x, PostgreSQL's %016x", what, i, lsn, uint64(ours[i]), uint64(want[i]))
		}
	}
}

// union lists the keys of both maps in order.
func union[K comparable, V any](a, b map[K]V, compare func(K, K) int) []K {
	keys := slices.AppendSeq(slices.Collect(maps.Keys(a)), maps.Keys(b))
	slices.SortFunc(keys, compare)
	return slices.Compact(keys)
}

func compareSegments(a, b Segment) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Number, b.Number))
}

func compareDatabases(a, b Database) int {
	return cmp.Or(cmp.Compare(a.Spc, b.Spc), cmp.Compare(a.DB, b.DB))
}
