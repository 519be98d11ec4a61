package strata

import (
	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/page"
)

// Whatever reads relations has to know how they are listed.
var (
	_ datadir.RelDirs = (*Timeline)(nil)
	_ datadir.RelDirs = (*Snapshot)(nil)
	_ datadir.RelDirs = (*ShardedTimeline)(nil)
)

// relDirsFrom gives what a timeline is born with.
func relDirsFrom(f page.RelDirForm, lsn page.LSN) page.RelDirs {
	if f == page.RelDirV1 {
		return page.RelDirs{}
	}
	return page.RelDirs{Form: f, Since: lsn}
}

// RelDirs says how the timeline lists its relations. It never changes.
func (tl *Timeline) RelDirs() page.RelDirs { return tl.t.RelDirs() }

// RelDirs is Timeline.RelDirs.
func (s *Snapshot) RelDirs() page.RelDirs { return s.s.RelDirs() }

// RelDirs is Timeline.RelDirs, which is the same of all shards.
func (tl *ShardedTimeline) RelDirs() page.RelDirs { return tl.parts[0].RelDirs() }
