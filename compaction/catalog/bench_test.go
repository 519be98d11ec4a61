package catalog_test

import (
	"bufio"
	"compress/gzip"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/page"
)

// grown is a timeline of n layers in about the shape that legacy leaves: stacks of L1 deltas under images of each
// gigabyte, some keys with deltas of their own, a few L0s, and a read point in the middle of history.
func grown(n int) *compaction.Snapshot {
	const columns, pages, tall, l0s = 500, 16384, 1 << 20, 12
	rel := page.RelTag{Spc: 1663, DB: 5, Rel: 16384}
	s := &compaction.Snapshot{InitialLSN: 1}
	var live []page.Range
	for c := range uint32(columns) {
		rel.Rel = 16384 + c
		live = append(live, rel.Blocks(pages))
	}
	s.Live = page.NewSet(live...)
	for i := 0; len(s.Layers) < n; i++ {
		lsn := page.LSN(1 + i*tall)
		lsns := page.LSNRange{Start: lsn, End: lsn + tall}
		if len(s.Layers) >= n-l0s {
			s.Layers = append(s.Layers, compaction.Layer{ID: compaction.ID{Keys: page.FullRange, LSNs: lsns}, Size: 256 << 20})
			s.LastRecordLSN = lsns.End - 1
			continue
		}
		for c := range uint32(columns) {
			rel.Rel = 16384 + c
			keys := page.Range{Start: rel.Block(c % 5), End: rel.Block(pages + c%7)}
			id := compaction.ID{Keys: keys, LSNs: lsns}
			switch {
			case i%4 == 3:
				id.Keys, id.LSNs, id.Image = rel.Blocks(pages), page.LSNRange{Start: lsn - 1, End: lsn}, true
			case c%50 == 1:
				id.Keys = page.Range{Start: rel.Block(1), End: rel.Block(2)}
			}
			if len(s.Layers) < n-l0s {
				s.Layers = append(s.Layers, compaction.Layer{ID: id, Size: 128 << 20})
			}
		}
		s.LiveLSN = lsns.End - 1
	}
	s.DiskConsistentLSN, s.Cutoff = s.LastRecordLSN, s.LiveLSN*3/4
	s.Retain = []compaction.ReadPoint{{LSN: s.LiveLSN / 2}}
	return s
}

// chained gives the deltas of a timeline stretches of long chains of records, as layers that were merged or flushed here have them: as
// many as there may be, with a hot page or two in each, and elsewhere few.
func chained(s *compaction.Snapshot) *compaction.Snapshot {
	out := *s
	out.Layers = slices.Clone(s.Layers)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range out.Layers {
		l := &out.Layers[i]
		if l.Image {
			continue
		}
		all := page.Chains{Rest: 1}
		at, step := l.Keys.Start, uint32(16384/page.MaxChains)
		if l.L0() {
			at = page.RelTag{Spc: 1663, DB: 5, Rel: 16384}.Block(0)
		}
		for range page.MaxChains {
			records := 2 + rng.IntN(8)
			if rng.IntN(32) == 0 {
				records = 64
			}
			if r := (page.Range{Start: at, End: at.Add(step - rng.Uint32N(step/2))}).Intersect(l.Keys); !r.Empty() {
				all.Long = append(all.Long, page.Chain{Keys: r, Records: records})
			}
			if at = at.Add(step); l.L0() {
				at.F4 += 7 // another relation
			}
		}
		l.Chains = &all
	}
	return &out
}

// variants are snapshots that make planners go all the way: with L0s that are due, and without, so that images and
// history are looked at.
func variants(s *compaction.Snapshot) map[string]*compaction.Snapshot {
	quiet := *s
	quiet.Options = compaction.Options{CompactionThreshold: 100, ImageCreationThreshold: 1000, CheckpointDistance: 1 << 18}
	images := quiet
	images.Options.ImageCreationThreshold = 1
	return map[string]*compaction.Snapshot{"busy": s, "images": &images, "quiet": &quiet, "chained": chained(s)}
}

// BenchmarkPlan tells what planning costs over 100,000 layers.
func BenchmarkPlan(b *testing.B) {
	snaps := variants(grown(100_000))
	for _, s := range all(b) {
		for _, name := range []string{"busy", "images", "quiet", "chained"} {
			b.Run(s.Name()+"/"+name, func(b *testing.B) {
				jobs := 0
				for b.Loop() {
					jobs = len(s.Plan(snaps[name]).Jobs)
				}
				b.ReportMetric(float64(jobs), "jobs")
			})
		}
	}
}

// TestGrown checks the plans of such a timeline, on a smaller scale.
func TestGrown(t *testing.T) {
	for name, snap := range variants(grown(4000)) {
		for _, s := range all(t) {
			t.Run(s.Name()+"/"+name, func(t *testing.T) { requireSound(t, s, snap, 40) })
		}
	}
}

// requireSound has a plan's first jobs checked.
func requireSound(t *testing.T, by compaction.Strategy, s *compaction.Snapshot, most int) {
	plan := by.Plan(s)
	plan.Jobs = plan.Jobs[:min(len(plan.Jobs), most)]
	require.NoError(t, compaction.CheckPlan(s, &plan))
}

// TestRealMaps plans for the layers that real timelines of Neon had.
func TestRealMaps(t *testing.T) {
	for _, name := range []string{"large-layer-map", "odd-brook"} {
		s := realMap(t, testkit.Fixture(t, "layermaps/"+name+"-layernames.txt.gz"))
		for _, by := range all(t) {
			t.Run(name+"/"+by.Name(), func(t *testing.T) { requireSound(t, by, s, 40) })
		}
	}
}

// realMap reads a list of names "KEY-KEY__LSN" and "KEY-KEY__LSN-LSN", which tell no sizes.
func realMap(t *testing.T, file string) *compaction.Snapshot {
	f, err := os.Open(file)
	require.NoError(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	require.NoError(t, err)
	s := &compaction.Snapshot{InitialLSN: 1}
	for lines := bufio.NewScanner(z); lines.Scan(); {
		keys, lsns, ok := strings.Cut(lines.Text(), "__")
		require.True(t, ok, lines.Text())
		from, to, _ := strings.Cut(keys, "-")
		first, last, delta := strings.Cut(lsns, "-")
		l := compaction.Layer{Size: 128 << 20}
		l.Image = !delta
		require.NoError(t, l.Keys.Start.UnmarshalText([]byte(from)))
		require.NoError(t, l.Keys.End.UnmarshalText([]byte(to)))
		l.LSNs.Start = lsnOf(t, first)
		if l.LSNs.End = l.LSNs.Start + 1; delta {
			l.LSNs.End = lsnOf(t, last)
		}
		s.Layers = append(s.Layers, l)
		s.LastRecordLSN = max(s.LastRecordLSN, l.Last())
	}
	s.DiskConsistentLSN = s.LastRecordLSN
	s.LiveLSN = compaction.Boundary(s)
	return s
}

func lsnOf(t *testing.T, hex string) page.LSN {
	require.Len(t, hex, 16)
	lsn, err := page.ParseLSN(hex[:8] + "/" + hex[8:])
	require.NoError(t, err)
	return lsn
}
