package plannertest

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stratapg/strata/compaction"
	"pgregory.net/rapid"
)

// Run checks strategies, each by itself and all of them taking turns on one timeline.
func Run(t *testing.T, strategies ...compaction.Strategy) {
	for _, s := range strategies {
		t.Run(s.Name(), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) { History(t, []compaction.Strategy{s}) })
		})
	}
	if len(strategies) > 1 {
		t.Run("switching", func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) { History(t, strategies) })
		})
	}
}

// Lives sets how many random lives a test has, if nobody has said it at the command line.
func Lives(t testing.TB, n int) {
	f := flag.Lookup("rapid.checks")
	before := f.Value.String()
	if before != f.DefValue {
		return
	}
	if err := f.Value.Set(strconv.Itoa(n)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Value.Set(before) }) // which it was
}

// maxRounds is how often a strategy may plan until there is nothing to do any more: more than any of them needs
// for worlds as small as these.
const maxRounds = 300

// drawOptions gives options that make much of little.
func drawOptions(t *rapid.T) compaction.Options {
	return compaction.Options{
		CheckpointDistance:     int64(rapid.SampledFrom([]int{2000, 8000, 40000}).Draw(t, "distance")),
		CompactionTargetSize:   int64(rapid.SampledFrom([]int{1, 4, 16}).Draw(t, "target") * imageSize),
		CompactionThreshold:    rapid.IntRange(2, 4).Draw(t, "threshold"),
		CompactionUpperLimit:   rapid.IntRange(1, 4).Draw(t, "limit"),
		ImageCreationThreshold: rapid.IntRange(1, 3).Draw(t, "images"),
		ImageCheckDistance:     1,
		FoldMinBytes:           int64(rapid.SampledFrom([]int{1, 20000}).Draw(t, "fold")),
		FoldRatio:              rapid.SampledFrom([]int{50, 100}).Draw(t, "ratio"),
		MaxVisits:              rapid.IntRange(3, 8).Draw(t, "visits"),
		MaxRecords:             rapid.IntRange(4, 64).Draw(t, "records"),
	}
}

// History is one random life of a timeline.
func History(t *rapid.T, strategies []compaction.Strategy) {
	w := NewWorld(drawOptions(t), rapid.Bool().Draw(t, "branched"))
	by := strategies[0]
	for range rapid.IntRange(1, 25).Draw(t, "steps") {
		switch rapid.IntRange(0, 9).Draw(t, "step") {
		case 0, 1, 2, 3:
			for range rapid.IntRange(1, 4).Draw(t, "flushes") {
				w.Ingest(t, rapid.IntRange(1, 40).Draw(t, "records"))
				must(t, w.Flush(by))
			}
		case 4:
			w.MoveCutoff(t)
		case 5:
			w.Branch(t)
		case 6:
			must(t, w.GC())
		case 7:
			by = rapid.SampledFrom(strategies).Draw(t, "strategy")
			must(t, w.Plan(t, by, rapid.IntRange(0, 3).Draw(t, "crash after")))
		case 8:
			w.Delete()
			if rapid.Bool().Draw(t, "attach") {
				w.Attach()
			}
		case 9:
			w.imageCheck.Age += time.Hour
			must(t, w.Settle(t, by))
		}
		must(t, w.Check())
	}
	w.imageCheck.Age += time.Hour
	must(t, w.Settle(t, by))
	must(t, w.GC())
	must(t, w.Check())
}

func must(t *rapid.T, err error) {
	if err != nil {
		t.Fatalf("%v", err)
	}
}

// GC removes what no read needs. A second time there must be nothing left to do.
func (w *World) GC() error {
	for round := 0; ; round++ {
		s := w.Snapshot(nil)
		plan := compaction.GC(s)
		if len(plan.Jobs) == 0 {
			return nil
		}
		if round > 0 {
			return fmt.Errorf("garbage collection finds more to do: %s", plan.Jobs[0].Reason)
		}
		for i := range plan.Jobs {
			if err := w.step(s, &plan.Jobs[i], 0); err != nil {
				return err
			}
		}
	}
}

// step checks a job and does it.
func (w *World) step(s *compaction.Snapshot, j *compaction.Job, limit int) error {
	if err := compaction.CheckJob(s, j); err != nil {
		return err
	}
	return w.Do(s, j, limit)
}

// Plan lets a strategy plan, looks at the plan, and does its first job up to some outputs.
func (w *World) Plan(t *rapid.T, by compaction.Strategy, limit int) error {
	s := w.Snapshot(nil)
	plan, err := w.plan(t, by, s)
	if err != nil || len(plan.Jobs) == 0 {
		return err
	}
	return w.Do(s, &plan.Jobs[0], limit)
}

// plan lets a strategy plan and checks what it gives.
func (w *World) plan(t *rapid.T, by compaction.Strategy, s *compaction.Snapshot) (compaction.Plan, error) {
	plan := by.Plan(s)
	if !reflect.DeepEqual(s, w.Snapshot(nil)) {
		return plan, fmt.Errorf("%s has changed the snapshot", by.Name())
	}
	seed := rapid.Uint64().Draw(t, "order")
	shuffled := w.Snapshot(func(ls []compaction.Layer) {
		rand.New(rand.NewPCG(seed, 0)).Shuffle(len(ls), func(i, j int) { ls[i], ls[j] = ls[j], ls[i] })
	})
	if a, b := describe(s, plan), describe(shuffled, by.Plan(shuffled)); !slices.Equal(a, b) {
		return plan, fmt.Errorf("the plan of %s depends on the order of layers:\n%q\n%q", by.Name(), a, b)
	}
	if err := compaction.CheckPlan(s, &plan); err != nil {
		return plan, fmt.Errorf("%s: %w", by.Name(), err)
	}
	for i := range plan.Jobs {
		j := &plan.Jobs[i]
		merges := j.Kind == compaction.Fold && j.Priority == compaction.PriorityL0 // it folds as it goes
		if j.Priority != priorities[j.Kind] && !merges {
			return plan, fmt.Errorf("%s gives a %s job priority %d: who divides the lanes takes it for another kind's", by.Name(), j.Kind, j.Priority)
		}
	}
	if plan.Debt.Bytes < 0 || plan.Debt.Height < 0 {
		return plan, fmt.Errorf("%s has a debt of %+v", by.Name(), plan.Debt)
	}
	if plan.ImagesChecked {
		w.imageCheck = compaction.ImageCheck{LSN: s.LastRecordLSN}
	}
	return plan, nil
}

// priorities are those of the kinds of jobs: L0s come before images, and these before folding.
var priorities = [compaction.Kinds]compaction.Priority{
	compaction.Retile: compaction.PriorityL0, compaction.Image: compaction.PriorityImage,
	compaction.Fold: compaction.PriorityFold, compaction.Drop: compaction.PriorityDrop,
}

// describe gives a plan in words that do not depend on the order of the snapshot's layers.
func describe(s *compaction.Snapshot, p compaction.Plan) []string {
	var all []string
	names := func(is []int) (ns []string) {
		for _, i := range is {
			ns = append(ns, s.Layers[i].ID.String())
		}
		slices.Sort(ns)
		return ns
	}
	for i := range p.Jobs {
		j := &p.Jobs[i]
		all = append(all, fmt.Sprint(j.Kind, j.Rect, names(j.Inputs), names(j.Obsolete), j.MaxRecords, j.Fold, j.Level, j.Priority, j.Cost, j.Reason))
	}
	return append(all, fmt.Sprint(p.ImagesChecked, p.Debt))
}

// Settle plans and does all jobs in turns until there is nothing to do, which must happen, and then must stay so.
func (w *World) Settle(t *rapid.T, by compaction.Strategy) error {
	for range maxRounds {
		s := w.Snapshot(nil)
		plan, err := w.plan(t, by, s)
		if err != nil {
			return err
		}
		if len(plan.Jobs) == 0 {
			again, err := w.plan(t, by, w.Snapshot(nil))
			if err == nil && len(again.Jobs) > 0 {
				err = fmt.Errorf("%s has nothing to do, and then %s", by.Name(), again.Jobs[0].Reason)
			}
			return err
		}
		// As in the engine, a job that another has made void is left to the next plan.
		for i := range plan.Jobs {
			j := newWork(s, &plan.Jobs[i])
			now := w.Snapshot(nil)
			job := j.in(now)
			if len(job.Inputs) != len(plan.Jobs[i].Inputs) || len(job.Obsolete) != len(plan.Jobs[i].Obsolete) {
				continue
			}
			if i > 0 && compaction.CheckJob(now, job) != nil {
				continue
			}
			if err := w.step(now, job, int(^uint(0)>>1)); err != nil {
				return fmt.Errorf("%s: %w", by.Name(), err)
			}
		}
		if err := w.Check(); err != nil {
			return fmt.Errorf("after a plan of %s: %w", by.Name(), err)
		}
	}
	return fmt.Errorf("%s still has jobs after %d plans", by.Name(), maxRounds)
}
