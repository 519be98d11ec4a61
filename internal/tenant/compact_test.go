package tenant

import (
	"context"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/compaction/catalog"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/internal/timeline"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

// strategyNamed gives a strategy of the catalogue.
func strategyNamed(t require.TestingT, name string) compaction.Strategy {
	s, err := catalog.New(name)
	require.NoError(t, err)
	return s
}

// eager has strategies do whatever they can.
func eager() compaction.Options {
	return compaction.Options{CheckpointDistance: 4 << 10, CompactionTargetSize: 8 << 10, CompactionThreshold: 2,
		ImageCreationThreshold: 1, ImageCheckDistance: 1, MaxVisits: 3, MaxRecords: 4}
}

// TestCompactKeepsEveryVersion compacts a history under each strategy, and reads all of it before and after.
func TestCompactKeepsEveryVersion(t *testing.T) {
	noLeaks(t)
	for _, name := range catalog.Names() {
		t.Run(name, func(t *testing.T) {
			o := testOptions(nil)
			o.Config.Compaction.Strategy, o.Config.Compaction.Options = strategyNamed(t, name), eager()
			s := &script{TestingT: t, rnd: rand.New(rand.NewPCG(1, 2)), options: o, mem: virtualfile.NewMem(), chaos: newChaos(rand.New(rand.NewPCG(1, 2)))}
			s.begin()
			h := s.hs[0]
			for range 20 {
				for range 20 {
					s.put(h)
				}
				s.flush(h)
			}
			tl := s.timeline(h)
			before := tl.Info()
			report, err := tl.Compact(context.Background(), timeline.CompactRequest{})
			require.NoError(t, err)
			require.Positive(t, report.Jobs)
			t.Logf("%+v of %d layers, %d bytes", report, before.Layers, before.LayerBytes)
			for lsn := h.initial; lsn <= h.last; lsn += page.LSN(8 * testkit.Size(71, 7, 1)) {
				h.same(t, tl, modelSets[0], lsn)
			}
			h.same(t, tl, modelSets[0], h.last)
			s.end()
		})
	}
}
