package legacy

import "github.com/stratapg/strata/compaction"

// fold gives jobs that fold history below the cutoff.
func (p *planner) fold() []compaction.Job { return nil }
