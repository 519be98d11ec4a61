package tenant

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/internal/timeline"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

// manyKeys are more than a read fetches at once.
const manyKeys = 700

func manyKey(n int) page.Key { return page.RelTag{Spc: 1663, DB: 5, Rel: 16384}.Block(uint32(n)) }

// manyOptions make a layer or two of all these keys.
var manyOptions = compaction.Options{CheckpointDistance: 64 << 10, CompactionTargetSize: 8 << 20, CompactionThreshold: 2, ImageCreationThreshold: 1, ImageCheckDistance: 1}

var manySet = page.NewSet(page.Range{Start: manyKey(0), End: manyKey(manyKeys)})

func manyValue(n int, lsn page.LSN) []byte { return fmt.Appendf(nil, "%d at %s", n, lsn) }

// putMany puts a version of all keys, and flushes.
func putMany(t require.TestingT, tl *timeline.Timeline) page.LSN {
	var b page.Batch
	lsn := tl.LastRecordLSN() + 8
	for n := range manyKeys {
		b.PutImage(manyKey(n), lsn, manyValue(n, lsn))
	}
	require.NoError(t, tl.Put(context.Background(), &b))
	require.NoError(t, tl.Flush(context.Background()))
	return lsn
}

// readMany reads all keys, and calls meanwhile once some of them have come.
func readMany(p pages, lsn, want page.LSN, meanwhile func()) error {
	n := 0
	err := p.GetVectored(context.Background(), manySet, lsn, func(k page.Key, v []byte, err error) error {
		if err == nil && (k != manyKey(n) || !bytes.Equal(v, manyValue(n, want))) {
			err = fmt.Errorf("%s is %q", k.Describe(), v)
		}
		if n == 10 && meanwhile != nil {
			meanwhile()
		}
		n++
		return err
	})
	if err == nil && n != manyKeys {
		err = fmt.Errorf("%d keys of %d", n, manyKeys)
	}
	if err != nil {
		return fmt.Errorf("at %s: %w", lsn, err)
	}
	return nil
}

// imageAll makes one image layer of all that there is.
type imageAll struct{}

func (imageAll) Name() string { return "image all" }

func (imageAll) Plan(s *compaction.Snapshot) (p compaction.Plan) {
	at := s.DiskConsistentLSN
	for i := range s.Layers {
		if s.Layers[i].Image && s.Layers[i].LSNs.Start == at {
			return p
		}
	}
	p.Jobs = []compaction.Job{{Kind: compaction.Image, Reason: "it is a test",
		Rect: compaction.Rect{Keys: page.FullRange, LSNs: page.LSNRange{Start: at, End: at + 1}}}}
	return p
}

// forget gives up all history: of the layers that there were none is left in the timeline, but for what is held.
func forget(t require.TestingT, tl *timeline.Timeline, held bool) {
	before := tl.Layers()
	putMany(t, tl)
	_, err := tl.Compact(context.Background(), timeline.CompactRequest{Strategy: imageAll{}})
	require.NoError(t, err)
	_, err = tl.GC(context.Background(), timeline.GCRequest{})
	require.NoError(t, err)
	for _, d := range before {
		require.True(t, held || !slices.Contains(tl.Layers(), d), "%s is there still", d.Name())
	}
}

// TestWhoReadsKeepsWhatItReads: a read that has begun, a snapshot, work that holds a state, a lease and a branch find all that
// they began with, whatever is collected meanwhile.
func TestWhoReadsKeepsWhatItReads(t *testing.T) {
	ctx := context.Background()
	store := func(t *testing.T) (*Tenant, *timeline.Timeline, page.LSN) {
		noLeaks(t)
		o := testOptions(virtualfile.NewMem())
		o.Config.CheckpointDistance, o.Config.Compaction.Options = 1<<20, manyOptions
		_, tn, tl := opened(t, o)
		putMany(t, tl)
		return tn, tl, putMany(t, tl)
	}
	refused := func(t *testing.T, tl *timeline.Timeline, lsn page.LSN) {
		require.ErrorIs(t, readMany(tl, lsn, lsn, nil), timeline.ErrBeforeHistory, "nothing else keeps it")
	}
	t.Run("read", func(t *testing.T) {
		_, tl, lsn := store(t)
		require.NoError(t, readMany(tl, lsn, lsn, func() { forget(t, tl, false) }))
		refused(t, tl, lsn)
	})
	t.Run("snapshot", func(t *testing.T) {
		_, tl, lsn := store(t)
		s, err := tl.Snapshot(ctx, lsn)
		require.NoError(t, err)
		forget(t, tl, false)
		require.NoError(t, readMany(s, lsn, lsn, nil))
		require.NoError(t, readMany(s, lsn-8, lsn-8, func() { forget(t, tl, false) }))
		s.Close()
		refused(t, tl, lsn)
	})
	t.Run("work", func(t *testing.T) {
		_, tl, lsn := store(t)
		state, release, err := tl.Hold(ctx, lsn)
		require.NoError(t, err)
		for range 2 {
			forget(t, tl, true)
			require.NoError(t, readMany(tl, state, lsn, nil))
		}
		release()
		refused(t, tl, lsn)
	})
	t.Run("lease", func(t *testing.T) {
		_, tl, lsn := store(t)
		l, err := tl.Lease(ctx, lsn, time.Hour)
		require.NoError(t, err)
		for range 2 {
			forget(t, tl, true)
			require.NoError(t, readMany(tl, l.LSN, lsn, nil))
		}
	})
	t.Run("branch", func(t *testing.T) {
		tn, tl, lsn := store(t)
		b, err := tn.Branch(ctx, tl, "branch", page.TimelineID{}, lsn)
		require.NoError(t, err)
		for range 2 {
			forget(t, tl, true)
			require.NoError(t, readMany(b, lsn, lsn, nil))
		}
		// A read of the branch that has found its ancestor's layers goes on with them when the branch needs them no more.
		require.NoError(t, readMany(b, lsn, lsn, func() { forget(t, b, true); forget(t, tl, true) }))
		require.NoError(t, readMany(b, b.LastRecordLSN(), b.LastRecordLSN(), nil))
	})
}

// TestReadersBesideCollection is for the race detector, and checks what it reads: one puts, two compact, fold and collect, one
// branches, others read: at the end, at LSNs that they hold, through snapshots, and branches.
func TestReadersBesideCollection(t *testing.T) {
	noLeaks(t)
	o := testOptions(virtualfile.NewMem())
	o.Config.CheckpointDistance, o.Config.Compaction.Options = 1<<20, manyOptions
	_, tn, tl := opened(t, o)
	ctx := context.Background()
	putMany(t, tl)
	done := make(chan struct{})
	var wg sync.WaitGroup
	var errs [8]error
	background := func(n int, fn func(rnd *rand.Rand) error) {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(1, uint64(n)))
			for {
				if errs[n] = fn(rnd); errs[n] != nil {
					return
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	// What one has at the moment may be given up at any moment, unless it is held.
	unlessGone := func(err error) error {
		if errors.Is(err, timeline.ErrBeforeHistory) {
			return nil
		}
		return err
	}
	background(0, func(*rand.Rand) error { last := tl.LastRecordLSN(); return unlessGone(readMany(tl, last, last, nil)) })
	background(1, func(*rand.Rand) error {
		s, err := tl.Snapshot(ctx, tl.LastRecordLSN())
		if err != nil {
			return unlessGone(err)
		}
		defer s.Close()
		return errors.Join(readMany(s, s.LSN(), s.LSN(), nil), readMany(s, s.LSN(), s.LSN(), nil))
	})
	background(2, func(*rand.Rand) error {
		lsn, release, err := tl.Hold(ctx, tl.LastRecordLSN())
		if err != nil {
			return unlessGone(err)
		}
		defer release()
		return errors.Join(readMany(tl, lsn, lsn, nil), readMany(tl, lsn, lsn, nil))
	})
	branches := 0
	background(3, func(*rand.Rand) error {
		if branches == 4 {
			<-done
			return nil
		}
		branches++
		b, err := tn.Branch(ctx, tl, fmt.Sprint("b", branches), page.TimelineID{}, tl.LastRecordLSN())
		if err != nil {
			return unlessGone(err)
		}
		at := b.Meta().AncestorLSN
		return errors.Join(readMany(b, at, at, nil), readMany(b, at, at, nil))
	})
	background(4, func(rnd *rand.Rand) error {
		_, err := tl.Compact(ctx, timeline.CompactRequest{Strategy: strategyNamed(t, []string{"legacy", "tiered", "partitioned"}[rnd.IntN(3)]), Thorough: true})
		return err
	})
	background(5, func(rnd *rand.Rand) error {
		_, err := tl.GC(ctx, timeline.GCRequest{Horizon: int64(rnd.IntN(4)) * 8})
		return err
	})
	// On a machine with few processors somebody may hold every state of the first rounds.
	const most = 100
	removed := func() int64 { return int64(tn.store.Metrics().GC.Layers) }
	for i := 0; i < testkit.Size(2, 5, 200) || i < most && removed() == 0; i++ {
		putMany(t, tl)
		forget(t, tl, true)
	}
	close(done)
	wg.Wait()
	require.NoError(t, errors.Join(errs[:]...))
	require.Positive(t, removed())
}
