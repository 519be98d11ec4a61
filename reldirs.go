package strata

import (
	"context"
	"errors"

	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/page"
)

// Whatever reads relations has to know how they are listed.
var (
	_ datadir.RelDirsWanted = (*Timeline)(nil)
	_ datadir.RelDirs       = (*Snapshot)(nil)
	_ datadir.RelDirs       = (*ShardedTimeline)(nil)
)

// relDirsFrom gives what a timeline is born with.
func relDirsFrom(f page.RelDirForm, lsn page.LSN) page.RelDirs {
	if f == page.RelDirV1 {
		return page.RelDirs{}
	}
	return page.RelDirs{Form: f, Since: lsn}
}

// RelDirs says how the timeline lists its relations. It changes where WantRelDirs was asked for, at the next record.
func (tl *Timeline) RelDirs() page.RelDirs { return tl.t.RelDirs() }

// WantedRelDirs is how the timeline is to list its relations from the next record on, page.RelDirV1 if as before.
func (tl *Timeline) WantedRelDirs() page.RelDirForm { return tl.t.WantedRelDirs() }

// WantRelDirs has the timeline list its relations in another form from the next record on that is ingested, while it is in use:
// page.RelDirBoth where it has page.RelDirV1, and page.RelDirV2 where it has page.RelDirBoth. The wish is durable on return, and
// RelDirs tells when it has come true. page.RelDirBoth again makes the relations' own keys good, page.RelDirV1 takes a wish back
// that has not come true. Whatever else is refused with ErrRelDirs, as is page.RelDirV2 while VerifyRelDirs finds a difference.
// A branch has what its ancestor has where it begins, and its wish.
func (tl *Timeline) WantRelDirs(ctx context.Context, form page.RelDirForm) error {
	return tl.t.WantRelDirs(ctx, form)
}

// RelDirs is Timeline.RelDirs.
func (s *Snapshot) RelDirs() page.RelDirs { return s.s.RelDirs() }

// RelDirs is Timeline.RelDirs of the shard that all directories are read from.
func (tl *ShardedTimeline) RelDirs() page.RelDirs { return tl.parts[0].RelDirs() }

// WantRelDirs is Timeline.WantRelDirs of every shard, each at the next record of its own.
func (tl *ShardedTimeline) WantRelDirs(ctx context.Context, form page.RelDirForm) error {
	var errs []error
	for _, p := range tl.parts {
		errs = append(errs, p.WantRelDirs(ctx, form))
	}
	return errors.Join(errs...)
}
