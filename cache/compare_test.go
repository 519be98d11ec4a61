package cache_test

import (
	"bufio"
	"compress/gzip"
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/cache"
	"github.com/stratapg/strata/cache/cachesim"
	"github.com/stratapg/strata/internal/testkit"
)

// realLayers reads the names of a real layer map.
func realLayers(t testing.TB, name string) (all []cachesim.Layer) {
	f, err := os.Open(testkit.Fixture(t, "layermaps/"+name+"-layernames.txt.gz"))
	require.NoError(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	require.NoError(t, err)
	for in := bufio.NewScanner(z); in.Scan(); {
		l, err := cachesim.ParseLayer(strings.TrimSpace(in.Text()))
		require.NoError(t, err)
		all = append(all, l)
	}
	return all
}

// policies of a cache of so many blocks: what ships, what it is compared with, and two simulations.
var policies = map[string]func(t testing.TB, blocks int) cachesim.Policy{
	"s3-fifo": func(t testing.TB, blocks int) cachesim.Policy { return open(t, cache.New, blocks) },
	"clock":   func(t testing.TB, blocks int) cachesim.Policy { return open(t, cache.NewClock, blocks) },
	"lru":     func(_ testing.TB, blocks int) cachesim.Policy { return cachesim.NewLRU(blocks) },
	"tinylfu": func(_ testing.TB, blocks int) cachesim.Policy { return cachesim.NewTinyLFU(blocks) },
}

// shipped is a real cache as a Policy.
type shipped struct {
	t testing.TB
	c *cache.Blocks
}

func open(t testing.TB, make func(cache.Options) (*cache.Blocks, error), blocks int) *shipped {
	c, err := make(cache.Options{Bytes: int64(blocks) * cache.CostOfBlock})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return &shipped{t, c}
}

func (s *shipped) Access(k cache.Key) bool {
	hit := true
	p, err := s.c.Get(context.Background(), k, cache.Index, func(context.Context, []byte) error {
		hit = false
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	p.Release()
	return hit
}

// run gives the shares of hits of all accesses and of those that no scan made, after the first fifth.
func run(p cachesim.Policy, steps []cachesim.Step) (all, reads float64) {
	return ratios(steps, func(i int) bool { return p.Access(steps[i].Key) })
}

func ratios(steps []cachesim.Step, hit func(i int) bool) (all, reads float64) {
	var hits, hitsOfReads, numReads float64
	warm := len(steps) / 5
	for i := range steps {
		h := hit(i)
		if i < warm {
			continue
		}
		if !steps[i].Scan {
			numReads++
		}
		if h {
			hits++
			if !steps[i].Scan {
				hitsOfReads++
			}
		}
	}
	return hits / float64(len(steps)-warm), hitsOfReads / max(numReads, 1)
}

func steps(w cachesim.Workload) (all []cachesim.Step) {
	for s := range w.Steps() {
		all = append(all, s)
	}
	return all
}

// TestCompare replays page reads over a real layer map, alone and beside scans, on caches of several sizes. What
// ships must do no worse than a clock and LRU, and must lose little of its hits to scans. Run it with -v to
// see the table that the package doc shows.
func TestCompare(t *testing.T) {
	layers := realLayers(t, "odd-brook")
	reads := testkit.Size(500, 2_000, 12_000)
	sizes := []int{1 << 11, 1 << 13}
	if testkit.Long() {
		sizes = append(sizes, 1<<12, 1<<14, 1<<15)
	}
	quiet := steps(cachesim.Workload{Layers: layers, Reads: reads, Seed: 1})
	noisy := steps(cachesim.Workload{Layers: layers, Reads: reads, ScanBlocks: 60, Seed: 1})
	for _, blocks := range sizes {
		got := map[string][2]float64{}
		for name, make := range policies {
			_, alone := run(make(t, blocks), quiet)
			_, beside := run(make(t, blocks), noisy)
			got[name] = [2]float64{alone, beside}
		}
		_, alone := ratios(quiet, best(quiet, blocks))
		_, beside := ratios(noisy, best(noisy, blocks))
		line := fmt.Sprintf("%6d blocks: best %.3f %.3f", blocks, alone, beside)
		for _, name := range []string{"s3-fifo", "clock", "lru", "tinylfu"} {
			line += fmt.Sprintf("  %s %.3f %.3f", name, got[name][0], got[name][1])
		}
		t.Log(line)
		const noise = 0.01
		for _, other := range []string{"clock", "lru"} {
			require.Greater(t, got["s3-fifo"][0], got[other][0]-noise)
			require.Greater(t, got["s3-fifo"][1], got[other][1]-noise)
		}
		lost := func(name string) float64 { return got[name][0] - got[name][1] }
		const short = 0.005 // what the shortest run may be off, being all warm-up
		require.Less(t, lost("s3-fifo"), lost("clock")+short, "hits lost to scans")
		require.Less(t, lost("s3-fifo"), lost("lru")+short, "hits lost to scans")
	}
}

func best(steps []cachesim.Step, blocks int) func(i int) bool {
	keys := make([]cache.Key, len(steps))
	for i := range steps {
		keys[i] = steps[i].Key
	}
	hit := cachesim.Best(keys, blocks)
	return func(i int) bool { return hit[i] }
}
