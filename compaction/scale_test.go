package compaction

import (
	"testing"

	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/page"
	"github.com/stretchr/testify/require"
)

// large is a timeline of about n layers: columns of 64 layers each, an image after every three deltas, some deltas over four columns, and 20 L0s.
func large(n int) *Snapshot {
	s := &Snapshot{Generation: 7, InitialLSN: 1, Cutoff: 48_000, LastRecordLSN: 70_000, DiskConsistentLSN: 70_000}
	for c := range uint32(n / 64) {
		for row := range page.LSN(64) {
			from, to, at := c*1000, (c+1)*1000, 1000+row*1000
			switch {
			case row%4 == 3:
				s.Layers = append(s.Layers, image(from, to, at))
			case c%4 == 0 && row%8 == 0:
				s.Layers = append(s.Layers, delta(from, to+3000, at, at+1000))
			case row%8 != 0:
				s.Layers = append(s.Layers, delta(from, to, at, at+1000))
			}
		}
	}
	for n := range page.LSN(20) {
		s.Layers = append(s.Layers, l0(66_000+n*100, 66_100+n*100))
	}
	for r := range page.LSN(50) {
		s.Retain = append(s.Retain, ReadPoint{LSN: 500 + r*900})
	}
	return s
}

func BenchmarkGC(b *testing.B) {
	s := large(100_000)
	for b.Loop() {
		GC(s)
	}
}

func BenchmarkCheckDrop(b *testing.B) {
	s := large(100_000)
	s.Retain = s.Retain[:1]
	plan := GC(s)
	b.ReportMetric(float64(len(plan.Jobs[0].Obsolete)), "layers/job")
	for b.Loop() {
		if err := CheckJob(s, &plan.Jobs[0]); err != nil {
			b.Fatal(err)
		}
	}
}

// l0Job retiles the L0s of large.
func l0Job(s *Snapshot) *Job {
	j := &Job{Kind: Retile, Rect: Rect{page.FullRange, page.LSNRange{Start: 66_000, End: 68_000}}, Cut: func() Cutter { return nil }}
	for i := range s.Layers {
		if s.Layers[i].L0() {
			j.Inputs = append(j.Inputs, i)
		}
	}
	j.Obsolete = j.Inputs
	return j
}

func BenchmarkCheckJob(b *testing.B) {
	s := large(100_000)
	j := l0Job(s)
	for b.Loop() {
		if err := CheckJob(s, j); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPublish is what the 500th output of a job costs.
func BenchmarkPublish(b *testing.B) {
	s := large(100_000)
	j := l0Job(s)
	var before []Output
	for n := range uint32(500) {
		l := delta(n*1000, (n+1)*1000, 66_000, 68_000)
		before = append(before, Output{Layer: l, Rect: l.Rect()})
	}
	add := before[499:]
	for b.Loop() {
		MovedBy(s, j, before)
		if err := CheckStep(s, j, before[:499], add, nil); err != nil {
			b.Fatal(err)
		}
	}
}

// TestLarge keeps the benchmarks running, and knows how much there is to drop.
func TestLarge(t *testing.T) {
	s := large(testkit.Size(2_000, 10_000, 100_000))
	plan := GC(s)
	require.NotEmpty(t, plan.Jobs)
	require.NoError(t, CheckPlan(s, &plan))
	require.NoError(t, CheckJob(s, l0Job(s)))
}
