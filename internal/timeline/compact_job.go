package timeline

import (
	"context"
	"fmt"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/layer"
)

// mergeMemory is what one merge may take: of the share of jobs half is for merges, so that flushes and indexes of
// new layers find room.
func (e *Env) mergeMemory() int64 {
	return max(e.Shares.Jobs.Limit()/int64(2*e.lanes.n), 1<<20)
}

// runJob does one job that the judge has passed. The caller has the compactor's turn and a lane, and has pinned the
// view of the snapshot.
func (t *Timeline) runJob(ctx context.Context, strategy string, s *compaction.Snapshot, descs []layer.Desc, j *compaction.Job, listen func(CompactionInfo)) (CompactionInfo, error) {
	r := &jobRun{snap: s, descs: descs, job: j}
	r.progress = &progress{t: t, begun: t.env.Clock(), total: max(r.inputBytes(), j.Cost.Read), listen: listen, info: CompactionInfo{
		JobID: t.env.jobs.Add(1), Tenant: t.id.Tenant, Timeline: t.id.Timeline, Strategy: strategy,
		Kind: j.Kind, Rect: j.Rect, Reason: j.Reason, Inputs: len(j.Inputs),
	}}
	r.progress.tell(t.env.Events.CompactionBegin, nil)
	t.env.pace.begin()
	err := t.doJob(ctx, r)
	t.env.pace.end()
	info := r.progress.now(err)
	t.env.counters.compaction(&info)
	r.progress.tell(t.env.Events.CompactionEnd, err)
	if err != nil {
		err = fmt.Errorf("timeline %s: %s of %s (%s: %s): %w", t.meta.Name, j.Kind, j.Rect, strategy, j.Reason, err)
	}
	return info, err
}

func (t *Timeline) doJob(ctx context.Context, r *jobRun) error {
	if err := compaction.CheckJob(r.snap, r.job); err != nil {
		return err
	}
	switch r.job.Kind {
	case compaction.Retile:
		return t.retile(ctx, r)
	case compaction.Image:
		return t.image(ctx, r)
	case compaction.Fold:
		return t.fold(ctx, r)
	case compaction.Drop:
		return t.publishOutputs(ctx, r, nil, true)
	}
	return fmt.Errorf("nobody knows how to do a job of kind %s", r.job.Kind)
}
