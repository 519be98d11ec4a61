package timeline

import (
	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/page"
)

// Whatever reads a timeline's relations has to know how they are listed.
var (
	_ datadir.RelDirs = (*Timeline)(nil)
	_ datadir.RelDirs = (*Snapshot)(nil)
	_ datadir.RelDirs = pinned{}
)

// RelDirs says how the timeline lists its relations. A branch does it as its ancestor, so that it goes for LSNs of that too.
func (t *Timeline) RelDirs() page.RelDirs { return t.meta.RelDirs }

// RelDirs is Timeline.RelDirs.
func (s *Snapshot) RelDirs() page.RelDirs { return s.t.meta.RelDirs }

// RelDirs is Timeline.RelDirs.
func (p pinned) RelDirs() page.RelDirs { return p.t.meta.RelDirs }
