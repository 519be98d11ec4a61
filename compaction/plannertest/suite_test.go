package plannertest

import (
	"testing"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/page"
)

// simple is the least strategy: it makes all L0s into one delta per relation. What an interrupted job left it finishes first.
type simple struct{}

func (simple) Name() string { return "simple" }

func (simple) Plan(s *compaction.Snapshot) compaction.Plan {
	var fresh, begun []int
	for i := range s.Layers {
		switch l := &s.Layers[i]; {
		case l.L0() && l.Moved != nil:
			begun = append(begun, i)
		case l.L0():
			fresh = append(fresh, i)
		}
	}
	inputs := fresh
	if len(begun) > 0 {
		inputs = begun
	}
	var p compaction.Plan
	var keys page.Set
	lsns := page.LSNRange{Start: page.MaxLSN}
	for _, i := range inputs {
		l := &s.Layers[i]
		lsns.Start, lsns.End = min(lsns.Start, l.LSNs.Start), max(lsns.End, l.LSNs.End)
		keys = keys.Union(l.Rest())
	}
	for _, r := range keys.Ranges() {
		p.Jobs = append(p.Jobs, compaction.Job{
			Kind: compaction.Retile, Inputs: inputs, Obsolete: inputs, Rect: compaction.Rect{Keys: r, LSNs: lsns},
			Cut: func() compaction.Cutter { return &byRelation{lsns: lsns} },
		})
	}
	return p
}

// byRelation cuts where the relation changes.
type byRelation struct {
	lsns page.LSNRange
	keys page.Range
}

func (c *byRelation) Add(e compaction.Entry, emit func(compaction.Rect)) {
	if !c.keys.Empty() && c.keys.Start.F4 != e.Key.F4 {
		c.Finish(emit)
		c.keys = page.Range{}
	}
	if c.keys.Empty() {
		c.keys.Start = e.Key
	}
	c.keys.End = e.Key.Next()
}

func (c *byRelation) Finish(emit func(compaction.Rect)) {
	if !c.keys.Empty() {
		emit(compaction.Rect{Keys: c.keys, LSNs: c.lsns})
	}
}

func TestSimple(t *testing.T) {
	Lives(t, testkit.Size(25, 100, 1000))
	Run(t, simple{})
}
