package timeline

import (
	"github.com/stratapg/strata/internal/timeline/manifest"
	"github.com/stratapg/strata/page"
)

// descent says where a timeline comes from. It is part of a view, so that a read sees layers and ancestors that belong
// together, and is never changed itself.
type descent struct {
	ancestor *Timeline       // nil if it has none
	id       page.TimelineID // of ancestor
	lsn      page.LSN        // where it branches; 0 if it has no ancestor
	initial  page.LSN        // the first of its own history
	lineage  manifest.Lineage
}

func newDescent(s *manifest.State, ancestor *Timeline) *descent {
	return &descent{ancestor: ancestor, id: s.Ancestor, lsn: s.AncestorLSN, initial: s.InitialLSN, lineage: s.Lineage}
}

// from is where the timeline comes from now.
func (t *Timeline) from() *descent { return t.view.Load().from }

// ancestor is what the timeline branches from, nil if it is no branch.
func (t *Timeline) ancestor() *Timeline { return t.from().ancestor }

// joint is the LSN at which the timeline branches, or branched before it was detached from its ancestor; 0 if it never did. Up to
// there its history was another's: batches of records may go on behind it which are none of this timeline's, and of keys that
// branches do not inherit nothing is seen.
func (d *descent) joint() page.LSN {
	if d.lsn != 0 {
		return d.lsn
	}
	return d.lineage.OriginalLSN
}

// edit is what the manifest says of it.
func (d *descent) edit() *manifest.Descent {
	return &manifest.Descent{Ancestor: d.id, AncestorLSN: d.lsn, InitialLSN: d.initial, Lineage: d.lineage}
}

// Meta is what the timeline was born with, or how relations were listed when it was opened, and where it comes from now.
func (t *Timeline) Meta() manifest.Meta {
	m, d := t.meta, t.from()
	m.Ancestor, m.AncestorLSN, m.InitialLSN = d.id, d.lsn, d.initial
	return m
}

// Lineage is what the timeline came from before.
func (t *Timeline) Lineage() manifest.Lineage { return t.from().lineage }
