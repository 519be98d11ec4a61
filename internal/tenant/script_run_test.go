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

const (
	// scriptLength is how many steps one store lives.
	scriptLength = 1500
	// longBurst is how many puts or reads follow each other in the long form, which so makes a million operations without as
	// many more openings and files.
	longBurst = 8
)

// tinyMemory leaves in-memory layers next to none, so that their values go to scratch files.
func tinyMemory(o *Options) { o.Config.MemBytes, o.Config.MemChunk = 160<<10, 4<<10 }

// TestScriptAgainstModel runs stores through random puts, reads, snapshots, flushes, branches, leases, compaction under strategies that
// change at random, collection, folding, crashes, faults and full disks, with and without memory, a background that compacts too, and
// reserved room, and compares all they say with a map: a million operations and more in the long form (make long).
func TestScriptAgainstModel(t *testing.T) {
	noLeaks(t)
	seeds := testkit.Rand(t, 1)
	var done scriptCounts
	enough := func(steps int) bool { return steps >= testkit.Size(3_000, 12_000, 0) }
	if testkit.Long() {
		enough = func(int) bool { return done.operations >= 1_000_000 }
	}
	steps, crashes, compacted, folded, collected, faults, spilled := 0, 0, 0, 0, 0, int64(0), int64(0)
	for world := 0; !enough(steps); world++ {
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
		if testkit.Long() {
			s.burst = longBurst
		}
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
		done.add(s.done)
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
	t.Logf("%v in %d stores of %d steps, %d crashes, %d faults, %d jobs of compaction, %d folds, %d layers collected, %d bytes of values in scratch files",
		done, steps/scriptLength, scriptLength, crashes, faults, compacted, folded, collected, spilled)
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
				t.Logf("%s: engine %v in mode %v, %v, answers %.8s", name, m.Engine, m.Mode, s.done, got)
			}
		}
	}
}
