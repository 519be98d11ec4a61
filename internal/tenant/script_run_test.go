package tenant

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/virtualfile"
)

// scriptLength is how many steps one store lives.
const scriptLength = 1500

// tinyMemory leaves in-memory layers next to none, so that their values go to scratch files.
func tinyMemory(o *Options) { o.Config.MemBytes, o.Config.MemChunk = 160<<10, 4<<10 }

// TestScriptAgainstModel runs stores through random puts, reads, snapshots, flushes, branches, leases, compaction under strategies that
// change at random, collection, folding, crashes, faults and full disks, with and without memory, a background that compacts too, and
// reserved room, and compares all they say with a map. In the long form (make long) these are 120,000 steps, each of many operations
// on files.
func TestScriptAgainstModel(t *testing.T) {
	noLeaks(t)
	seeds := testkit.Rand(t, 1)
	steps, crashes, compacted, folded, collected, faults, spilled := 0, 0, 0, 0, 0, int64(0), int64(0)
	for world := 0; steps < testkit.Size(3_000, 12_000, 120_000); world++ {
		rnd := rand.New(rand.NewPCG(seeds.Uint64(), uint64(world)))
		o := testOptions(nil)
		o.Config.CheckpointDistance = []int64{4 << 10, 24 << 10, 100 << 10}[rnd.IntN(3)]
		o.Config.Unchecked = false // a flip that nobody sees gives a wrong value
		if world%2 == 0 {
			o.Config.CheckpointDistance = 100 << 10 // some timelines alone fill it
			tinyMemory(&o)
		}
		if rnd.IntN(2) == 0 {
			o.ReserveBytes = 64 << 10
		}
		o.Config.Compaction.Options = eager()
		o.Config.Compaction.Options.FoldMinBytes, o.Config.Compaction.Options.FoldRatio = 1, 1
		if rnd.IntN(2) == 0 { // whenever something is flushed
			o.Config.Compaction.Period, o.Config.Compaction.Strategy = time.Hour, strategyNamed(t, "")
		}
		s := &script{TestingT: t, rnd: rnd, options: o, mem: virtualfile.NewMem(), chaos: newChaos(rnd), collects: world%4 != 3}
		func() {
			defer func() {
				if t.Failed() {
					t.Logf("store %d, step %d; last steps:\n%s", world, steps, s)
				}
			}()
			s.begin()
			for range scriptLength {
				s.do()
				steps++
			}
			s.end()
		}()
		faults += s.chaos.hits()
		spilled += s.spilled
		crashes += s.crashes
		compacted += s.compacted
		folded += s.folded
		collected += s.collected
	}
	require.Positive(t, spilled)
	require.Positive(t, faults)
	require.Positive(t, compacted)
	require.Positive(t, folded)
	require.Positive(t, collected)
	t.Logf("%d steps, %d crashes, %d faults, %d jobs of compaction, %d folds, %d layers collected, %d bytes of values in scratch files",
		steps, crashes, faults, compacted, folded, collected, spilled)
}

// TestEveryModeGivesTheSameAnswers runs one script on the operating system's files under every mode, engine,
// with and without trailers, with and without memory.
func TestEveryModeGivesTheSameAnswers(t *testing.T) {
	noLeaks(t)
	seed := testkit.Rand(t, 2).Uint64()
	first := ""
	for _, mode := range []virtualfile.Mode{virtualfile.Buffered, virtualfile.Direct, virtualfile.DirectRW} {
		for _, engine := range []virtualfile.EngineKind{virtualfile.EngineStd, virtualfile.EngineURing} {
			for _, unchecked := range []bool{false, true} {
				name := fmt.Sprintf("%s/engine %d/unchecked %v", mode, engine, unchecked)
				o := testOptions(nil)
				o.Dir = filepath.Join(t.TempDir(), "s")
				o.Config.IOMode, o.Config.IOEngine, o.Config.Unchecked = mode, engine, unchecked
				o.Config.CheckpointDistance = 24 << 10
				o.Config.Compaction.Options = eager()
				if engine == virtualfile.EngineURing != unchecked {
					tinyMemory(&o)
				}
				sum := sha256.New()
				s := &script{TestingT: t, rnd: rand.New(rand.NewPCG(seed, 0)), options: o, answers: sum}
				s.begin()
				m := s.store.Metrics().Disk
				for range testkit.Size(100, 700, 20_000) {
					s.do()
				}
				for _, h := range s.hs {
					for _, d := range s.timeline(h).Layers() {
						require.Equal(t, !unchecked, d.Checked)
						_, err := s.timeline(h).VerifyLayer(context.Background(), d, nil)
						require.NoError(t, err)
					}
				}
				s.end()
				got := hex.EncodeToString(sum.Sum(nil))
				if first == "" {
					first = got
				}
				require.Equal(t, first, got, name)
				t.Logf("%s: engine %v in mode %v, answers %.8s", name, m.Engine, m.Mode, got)
			}
		}
	}
}
