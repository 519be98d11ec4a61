package plannertest

import (
	"testing"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/page"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// imager makes images of everything, in parts, at every durable LSN it is asked for. It never settles.
type imager struct{}

func (imager) Name() string { return "imager" }

func (imager) Plan(s *compaction.Snapshot) compaction.Plan {
	var p compaction.Plan
	parts := compaction.Partition(s.Live, 8)
	for _, part := range append(parts, compaction.SparsePart(parts)) {
		p.Jobs = append(p.Jobs, compaction.Job{Kind: compaction.Image, Priority: compaction.PriorityImage,
			Rect: compaction.Rect{Keys: part.Keys, LSNs: page.LSNRange{Start: s.DiskConsistentLSN, End: s.DiskConsistentLSN + 1}}})
	}
	return p
}

// TestWhatIsRemovedIsNotMissed removes whatever the checker lets go, at random, from worlds with real entries, and reads everything.
func TestWhatIsRemovedIsNotMissed(t *testing.T) {
	Lives(t, testkit.Size(40, 100, 1000))
	removed := 0
	rapid.Check(t, func(t *rapid.T) {
		w := NewWorld(drawOptions(t), rapid.Bool().Draw(t, "branched"))
		imaged := page.LSN(0)
		for range rapid.IntRange(2, 12).Draw(t, "steps") {
			w.Ingest(t, rapid.IntRange(1, 20).Draw(t, "records"))
			must(t, w.Flush(simple{}))
			switch rapid.IntRange(0, 4).Draw(t, "step") {
			case 0:
				must(t, w.Settle(t, simple{}))
			case 1:
				s := w.Snapshot(nil)
				plan := imager{}.Plan(s)
				for i := range plan.Jobs {
					if s.DiskConsistentLSN > imaged && rapid.Bool().Draw(t, "image") {
						must(t, w.Do(s, &plan.Jobs[i], 1))
					}
				}
				imaged = s.DiskConsistentLSN
			case 2:
				w.MoveCutoff(t)
			case 3:
				w.Branch(t)
			}
			s := w.Snapshot(nil)
			var remove []int
			for i := range s.Layers {
				with := append(remove[:len(remove):len(remove)], i)
				if rapid.Bool().Draw(t, "remove") && compaction.CheckRemoval(s, with, nil, nil) == nil {
					remove = with
				}
			}
			for _, i := range remove {
				w.remove(s.Layers[i].ID)
				removed++
			}
			must(t, w.Check())
		}
	})
	require.NotZero(t, removed)
}
