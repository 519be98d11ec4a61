package catalog_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/compaction/catalog"
	"github.com/stratapg/strata/page"
)

// knob is an option by its name, a timeline, and two values next to each other, for each of which the plan is another.
type knob struct {
	name     string
	strategy string
	change   func(s *compaction.Snapshot)
	a, b     any
}

// knobs are all of them, most of them at the last value that does something and the first that does not.
func knobs() []knob {
	const mib = 1 << 20
	l0s := func(n int, size int64) func(s *compaction.Snapshot) {
		return func(s *compaction.Snapshot) {
			s.Layers = nil
			for i := range n {
				s.Layers = append(s.Layers, deltaOf(page.FullRange, page.LSN(10+10*i), size))
			}
		}
	}
	checked := func(age time.Duration) func(s *compaction.Snapshot) {
		return func(s *compaction.Snapshot) {
			s.ImageCheck = compaction.ImageCheck{LSN: 7000, Age: age}
			s.Options.ImageCheckDistance = 1000
		}
	}
	history := func(s *compaction.Snapshot) {
		s.Cutoff = 9000
		s.Options.ImageCreationThreshold = 100
		s.Options.FoldMinBytes = 1
	}
	return []knob{
		{"CheckpointDistance", "legacy", l0s(3, 10), int64(39_999), int64(40_000)},
		{"CheckpointDistance", "tiered", l0s(3, 10), int64(40_000), int64(40_001)},
		{"CheckpointDistance", "partitioned", func(s *compaction.Snapshot) { l0s(6, 10)(s); s.Options.MaxVisits = 6 }, int64(40_000), int64(90_000)},
		{"CompactionTargetSize", "legacy", nil, int64(100 * 8192), int64(101 * 8192)},
		{"CompactionThreshold", "legacy", l0s(3, 10), 3, 4},
		{"CompactionThreshold", "tiered", l0s(3, 10), 3, 4},
		{"CompactionUpperLimit", "legacy", l0s(9, 256*mib), 3, 4},
		{"ImageCreationThreshold", "legacy", nil, 3, 4},
		{"ImageCheckDistance", "legacy", func(s *compaction.Snapshot) { s.ImageCheck.LSN = 7000 }, 3, 4},
		{"ImageCheckAge", "legacy", func(s *compaction.Snapshot) { checked(time.Hour)(s); s.Options.ImageSmallBytes = 1 }, time.Hour, time.Hour + 1},
		{"ImageSmallBytes", "legacy", checked(time.Hour), int64(400 * 8192), int64(400*8192 + 1)},
		{"ImageSmallAge", "legacy", checked(49 * time.Hour), 49 * time.Hour, 49*time.Hour + 1},
		{"ImagePreemptThreshold", "legacy", func(s *compaction.Snapshot) {
			begun := deltaOf(blocks(0, 100), 9999, 10)
			begun.Image, begun.LSNs = true, page.LSNRange{Start: s.LiveLSN, End: s.LiveLSN + 1}
			three := s.Layers
			l0s(3, 10)(s)
			s.Layers = append(append(s.Layers, three...), begun)
		}, 1, 2},
		{"ImageForcePercent", "legacy", func(s *compaction.Snapshot) { s.Layers = s.Layers[:1] }, 50, 0},
		{"MetadataThreshold", "legacy", func(s *compaction.Snapshot) {
			for i := range s.Layers {
				s.Layers[i].Keys = compaction.SparseKeys
			}
		}, 3, 4},
		{"FoldMinBytes", "legacy", history, int64(4000), int64(4001)},
		{"FoldRatio", "legacy", history, 200, 201},
		{"FoldJobBytes", "legacy", func(s *compaction.Snapshot) {
			history(s)
			for i := range s.Layers {
				s.Layers[i].Keys = blocks(0, 200)
				other := s.Layers[i]
				other.Keys = blocks(200, 400)
				s.Layers = append(s.Layers, other)
			}
		}, int64(5999), int64(6000)},
		{"MaxVisits", "partitioned", l0s(6, 10), 7, 8},
		{"MaxRecords", "partitioned", func(s *compaction.Snapshot) {
			s.Layers = s.Layers[:1]
			s.Layers[0].Chains = &page.Chains{Rest: 40}
		}, 64, 65},
	}
}

func blocks(from, to uint32) page.Range {
	rel := page.RelTag{Spc: 1663, DB: 5, Rel: 16384}
	return page.Range{Start: rel.Block(from), End: rel.Block(to)}
}

func deltaOf(keys page.Range, at page.LSN, size int64) compaction.Layer {
	return compaction.Layer{ID: compaction.ID{Keys: keys, LSNs: page.LSNRange{Start: at, End: at + 10}}, Size: size}
}

// TestEveryKnobTurns: each option decides something, at the value where it is said to.
func TestEveryKnobTurns(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range knobs() {
		seen[k.name] = true
		t.Run(k.name+"/"+k.strategy, func(t *testing.T) {
			require.NotEqual(t, k.planned(t, k.a), k.planned(t, k.b))
		})
	}
	options := reflect.TypeFor[compaction.Options]()
	for i := range options.NumField() {
		require.True(t, seen[options.Field(i).Name], "%s has no effect", options.Field(i).Name)
	}
}

// planned tells what is to be done with an option set to a value: the jobs, and where they cut 400 blocks of 1000 bytes each.
func (k *knob) planned(t *testing.T, value any) string {
	s := &compaction.Snapshot{
		InitialLSN: 1, LastRecordLSN: 10_000, DiskConsistentLSN: 10_000, LiveLSN: 10_000, Cutoff: 1, Live: page.NewSet(blocks(0, 400)),
		Options: compaction.Options{CheckpointDistance: 1000, CompactionTargetSize: 100 * 8192, CompactionThreshold: 3},
	}
	for i := range 3 {
		s.Layers = append(s.Layers, deltaOf(blocks(0, 400), page.LSN(4000+10*i), 2000))
	}
	if k.change != nil {
		k.change(s)
	}
	reflect.ValueOf(&s.Options).Elem().FieldByName(k.name).Set(reflect.ValueOf(value))
	require.NoError(t, s.Options.Validate())
	by, err := catalog.New(k.strategy)
	require.NoError(t, err)
	plan := by.Plan(s)
	require.NoError(t, compaction.CheckPlan(s, &plan))
	var b strings.Builder
	for i := range plan.Jobs {
		j := &plan.Jobs[i]
		fmt.Fprintln(&b, j.Kind, j.Rect, j.Inputs)
		if j.Cut == nil {
			continue
		}
		c, emit := j.Cut(), func(r compaction.Rect) { fmt.Fprintln(&b, r) }
		for n := range uint32(400) {
			c.Add(compaction.Entry{Key: blocks(n, n+1).Start, LSN: j.Rect.LSNs.Start, Size: 1000}, emit)
		}
		c.Finish(emit)
	}
	return b.String()
}
