package tenant

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/internal/timeline"
	"github.com/stratapg/strata/page"
)

// refuses reports whether a read is to be refused: a snapshot reads what it could when it was made.
func (s *script) refuses(h *history, p pages, lsn page.LSN) bool {
	if _, snapshot := p.(*timeline.Snapshot); snapshot {
		return false
	}
	return !h.readable(lsn)
}

// gc collects with a random horizon.
func (s *script) gc(h *history) {
	tl := s.timeline(h)
	req := timeline.GCRequest{Horizon: int64(s.rnd.Uint64N(uint64(h.last-h.initial) + 1))}
	if s.rnd.IntN(3) == 0 {
		req.Horizon = 0
	}
	s.done.operations += 2
	dry, err := tl.GC(context.Background(), timeline.GCRequest{Horizon: req.Horizon, DryRun: true, Explain: true})
	if !s.failed(err) {
		require.Equal(s, h.begin(), tl.Cutoff(), "a dry run has changed something")
		require.Len(s, dry.Layers, dry.Removed+dry.Kept)
	}
	r, err := tl.GC(context.Background(), req)
	require.GreaterOrEqual(s, tl.Cutoff(), h.begin(), "the cutoff has gone back")
	h.cutoff = tl.Cutoff()
	if s.failed(err) {
		h.planned = h.last
		return
	}
	require.Equal(s, h.cutoff, r.Cutoff)
	if h.planned == 0 { // else it has gone where one that failed wanted it
		require.LessOrEqual(s, r.Cutoff, max(r.Before, min(tl.DiskConsistentLSN(), h.last-min(h.last, page.LSN(req.Horizon)))))
	}
	h.planned = 0
	s.collected += r.Removed
}

// foldAll folds all that is on disk, whenever there are so many L0s.
type foldAll struct{ l0s, keys int }

func (foldAll) Name() string { return "fold all" }

func (f foldAll) Plan(s *compaction.Snapshot) compaction.Plan {
	j := compaction.Job{Kind: compaction.Fold, Reason: "it is a test", Rect: compaction.Rect{Keys: page.FullRange, LSNs: page.LSNRange{Start: page.MaxLSN}}}
	l0s := 0
	for i := range s.Layers {
		l := &s.Layers[i]
		if l.L0() {
			l0s++
		}
		j.Inputs = append(j.Inputs, i)
		if !l.Image || s.AncestorLSN == 0 { // what images lack on a branch the ancestor may have
			j.Obsolete = append(j.Obsolete, i)
		}
		j.Rect.LSNs.Start, j.Rect.LSNs.End = min(j.Rect.LSNs.Start, l.LSNs.Start), max(j.Rect.LSNs.End, l.LSNs.End)
	}
	spec := compaction.FoldSpec{Horizon: min(s.Cutoff, j.Rect.LSNs.End-1), Below: s.AncestorLSN != 0}
	if l0s < f.l0s || spec.Horizon < j.Rect.LSNs.Start || j.Rect.LSNs.End > s.DiskConsistentLSN+1 {
		return compaction.Plan{}
	}
	for _, r := range s.Retain {
		if r.LSN >= j.Rect.LSNs.Start && r.LSN < spec.Horizon {
			spec.Retain = append(spec.Retain, r.LSN)
		}
	}
	j.Fold = &spec
	j.Cut = func() compaction.Cutter { return &everyKeys{n: f.keys, lsns: j.Rect.LSNs} }
	return compaction.Plan{Jobs: []compaction.Job{j}}
}

// everyKeys cuts behind every n keys.
type everyKeys struct {
	n, have int
	lsns    page.LSNRange
	keys    page.Range
}

func (c *everyKeys) Add(e compaction.Entry, emit func(compaction.Rect)) {
	if c.have > 0 && c.keys.Contains(e.Key) {
		return
	}
	if c.have == c.n {
		c.Finish(emit)
	}
	if c.have == 0 {
		c.keys.Start = e.Key
	}
	c.keys.End = e.Key.Next()
	c.have++
}

func (c *everyKeys) Finish(emit func(compaction.Rect)) {
	if c.have > 0 {
		emit(compaction.Rect{Keys: c.keys, LSNs: c.lsns})
	}
	c.have = 0
}

// fold folds.
func (s *script) fold(h *history) {
	st := foldAll{l0s: s.rnd.IntN(3), keys: 1 + s.rnd.IntN(6)}
	s.done.operations++
	r, err := s.timeline(h).Compact(context.Background(), timeline.CompactRequest{Strategy: st})
	s.folded += r.Jobs
	if err != nil && strings.Contains(err.Error(), "another layer has the name") {
		return // a strategy that is none leaves that to planners
	}
	s.failed(err)
}

// tooLate reports whether an LSN cannot be held any more although it can still be read.
func (s *script) tooLate(h *history, lsn page.LSN, err error) bool {
	return errors.Is(err, timeline.ErrBeforeHistory) && lsn < h.home(lsn).planned
}

// lease keeps a random LSN readable until the store is closed.
func (s *script) lease(h *history) {
	lsn := max(s.lsn(h), h.oldest())
	s.done.operations++
	l, err := s.timeline(h).Lease(context.Background(), lsn, time.Hour)
	if s.tooLate(h, lsn, err) || s.failed(err) {
		return
	}
	require.LessOrEqual(s, l.LSN, lsn)
	home := h.home(l.LSN)
	home.leases = append(home.leases, l.LSN)
}

func (s *script) readLeased(h *history) {
	if len(h.leases) > 0 {
		s.readFrom(h, s.timeline(h), h.leases[s.rnd.IntN(len(h.leases))])
	}
}

// noteCutoffs takes over what a restart does to collection.
func (s *script) noteCutoffs() {
	for _, h := range s.hs {
		tl := s.timeline(h)
		require.GreaterOrEqual(s, tl.Cutoff(), h.begin(), "the cutoff has gone back")
		h.cutoff, h.planned, h.leases = tl.Cutoff(), 0, nil
	}
}
