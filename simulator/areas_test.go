package simulator_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/compaction/legacy"
	"github.com/stratapg/strata/compaction/tiered"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/page"
	sim "github.com/stratapg/strata/simulator"
	"github.com/stratapg/strata/simulator/mock"
	"github.com/stratapg/strata/simulator/stats"
	"github.com/stratapg/strata/simulator/trace"
	"github.com/stratapg/strata/simulator/workload"
)

// part is a brute force of what is measured of some of the keys.
type part struct {
	from, to     page.Key
	wal, written int64
	deltas       []int
}

func (p *part) has(k page.Key) bool { return !k.Less(p.from) && k.Less(p.to) }

// spread sums numbers up by sorting them.
func spread(all []int) (s stats.Spread) {
	if len(all) == 0 {
		return s
	}
	slices.Sort(all)
	sum := 0
	for _, n := range all {
		sum += n
	}
	at := func(percent int) int { return all[(len(all)*percent+99)/100-1] }
	return stats.Spread{Mean: float64(sum) / float64(len(all)), P50: at(50), P99: at(99), Max: all[len(all)-1]}
}

// written is a record with its place.
type written struct {
	key  page.Key
	lsn  page.LSN
	size int64
	init bool
}

// TestHotAndCold compares what is measured of hot and of cold keys apart, WAL, bytes written and deltas per read, with a brute force
// that knows the records, and of layers their rectangles alone.
func TestHotAndCold(t *testing.T) {
	if !testkit.WithoutRace(t) {
		return
	}
	rapid.Check(t, func(t *rapid.T) {
		const pageBytes, start = 8192, page.LSN(1000)
		keys := rapid.Uint32Range(4, 60).Draw(t, "keys")
		hot := rapid.IntRange(1, 999).Draw(t, "hot")
		first := page.RelTag{Spc: 1663, DB: 5, Rel: 1}.Block(0)
		tr := &trace.Trace{Header: trace.Header{Source: "test", Preload: true, Regions: []trace.Region{{First: first.String(), Keys: keys}}}}
		var facts []written
		rand, at := workload.NewRand(rapid.Uint64().Draw(t, "records"), ""), start
		for range rapid.IntRange(60, 400).Draw(t, "number") {
			r := trace.Record{Place: uint32(rand.Below(uint64(keys))), Size: 2000 + uint32(rand.Below(7000)), Init: rand.Permille(100)}
			at += page.LSN(r.Size)
			tr.Records, tr.Bytes = append(tr.Records, r), tr.Bytes+int64(r.Size)
			facts = append(facts, written{first.Add(r.Place), at, int64(r.Size), r.Init})
		}
		middle := first.Add(uint32(int64(keys) * int64(hot) / 1000))
		parts := []part{{from: first, to: middle}, {from: middle, to: first.Add(keys)}}
		var live []*mock.Layer
		flushed := start
		layer := func(_ time.Duration, c mock.Change) {
			l := c.Layer
			if c.Deleted {
				live = slices.DeleteFunc(live, func(o *mock.Layer) bool { return o == l })
				return
			}
			live = append(live, l)
			for i := range parts {
				p, n := &parts[i], int64(0)
				for k := uint32(0); l.Image && k < keys; k++ {
					if key := first.Add(k); p.has(key) && l.Keys.Contains(key) {
						n += pageBytes
					}
				}
				for _, f := range facts {
					if !l.Image && p.has(f.key) && l.Keys.Contains(f.key) && l.LSNs.Contains(f.lsn) {
						n += f.size
					}
				}
				switch c.Kind {
				case mock.Import:
				case mock.Flush:
					p.wal, p.written = p.wal+n, p.written+n
					flushed = max(flushed, l.Last())
				default:
					p.written += n
				}
			}
		}
		read := func(_ time.Duration, m sim.Mark) {
			if m.Kind != "read" {
				return
			}
			key := first.Add(m.Key)
			stop := page.LSN(0) // the newest fact that needs nothing older
			for _, l := range live {
				if l.Image && l.Keys.Contains(key) && l.Last() <= m.LSN {
					stop = max(stop, l.Last()+1)
				}
			}
			for _, f := range facts {
				if f.key == key && f.init && f.lsn <= m.LSN {
					stop = max(stop, f.lsn)
				}
			}
			n := 0
			for _, l := range live {
				if !l.Image && l.Keys.Contains(key) && l.LSNs.Start <= m.LSN && l.LSNs.End > stop && stop <= min(flushed, m.LSN) {
					n++
				}
			}
			for i := range parts {
				if parts[i].has(key) {
					parts[i].deltas = append(parts[i].deltas, n)
				}
			}
		}
		c := sim.Config{
			Name: "hot and cold", Seed: rapid.Uint64().Draw(t, "seed"), Preload: true, Trace: tr,
			Regions: []sim.Region{{Name: "table", Blocks: 1, Hot: hot}},
			Phases:  []sim.Phase{{Records: int64(len(facts)), Rate: 1 << 20}},
			Options: compaction.Options{CheckpointDistance: 60_000, CompactionTargetSize: 40_000, CompactionThreshold: 3, ImageCreationThreshold: 2},
			Reads:   sim.Reads{Number: 3, Keys: workload.Keys{Kind: "uniform"}, Old: 300},
		}
		s := rapid.SampledFrom([]compaction.Strategy{legacy.New(), tiered.New()}).Draw(t, "strategy")
		r, err := sim.Run(t.Context(), c, s, sim.Observer{Layer: layer, Mark: read})
		require.NoError(t, err)
		require.Len(t, r.Areas, 2)
		for i, name := range []string{"table hot", "table cold"} {
			a, p := r.Areas[i], parts[i]
			want := stats.Area{Name: name, WALMB: p.wal / stats.MB, WrittenMB: p.written / stats.MB, Deltas: spread(p.deltas)}
			if p.wal > 0 {
				want.WriteAmp = float64(p.written) / float64(p.wal)
			}
			require.Equal(t, want, a)
		}
	})
}
