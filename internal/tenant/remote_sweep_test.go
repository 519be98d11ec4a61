package tenant

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/compaction/catalog"
	"github.com/stratapg/strata/internal/clock"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/internal/timeline"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/remote"
	"github.com/stratapg/strata/remote/faultstore"
	"github.com/stratapg/strata/remote/memstore"
	"github.com/stratapg/strata/virtualfile"
)

// sweep is a store with faults in its remote, in which timelines are made, flushed, compacted and deleted, and which is attached
// elsewhere in the end.
type sweep struct {
	t      *testing.T
	far    *memstore.Store
	faults []*faultstore.Fault
	stores []*faultstore.Store
}

// sweepDelay is what takes seconds outside tests.
const sweepDelay = 2 * time.Millisecond

// hasten has what waits for remote storage wait for next to nothing.
func hasten(o *Options) {
	o.Config.Upload = timeline.UploadConfig{CloseTime: sweepDelay, DeleteDelay: sweepDelay}
	o.Config.Sleep = func(ctx context.Context, d time.Duration) error { return clock.Sleep(ctx, d/1000) }
}

// reach gives the remote as a process sees it.
func (w *sweep) reach() *faultstore.Store {
	s := faultstore.New(w.far, 1, w.faults...)
	w.stores = append(w.stores, s)
	return s
}

func (w *sweep) open(fs virtualfile.FS, s *faultstore.Store) (*Store, error) {
	o := remoteOptions(fs, s)
	hasten(&o)
	strategy, err := catalog.New("legacy")
	require.NoError(w.t, err)
	o.Config.Compaction = timeline.CompactionConfig{Strategy: strategy, Options: compaction.Options{CheckpointDistance: 4 << 10, CompactionTargetSize: 64 << 10,
		CompactionThreshold: 2, ImageCreationThreshold: 1, ImageCheckDistance: 1}}
	return Open(w.t.Context(), o)
}

func (w *sweep) sound() {
	for _, s := range w.stores {
		s.Set()
	}
}

// patient tries what may be tried again.
func patient(ctx context.Context, what func() error) error {
	var err error
	for range 5 {
		if err = what(); err == nil || ctx.Err() != nil {
			return err
		}
	}
	return err
}

const sweepLayers = 3

// write does all of it that is not done yet.
func (w *sweep) write(ctx context.Context, s *Store) error {
	tn, err := s.Tenant(remoteTenant)
	if err != nil {
		return err
	}
	var main *timeline.Timeline
	for _, name := range []string{"main", "gone"} {
		tl, err := tn.Timeline(name)
		if errors.Is(err, ErrTimelineNotFound) {
			tl, err = tn.Create(ctx, meta(name))
		}
		if errors.Is(err, ErrNotActive) && name == "gone" {
			break // it is being deleted
		}
		if err != nil {
			return err
		}
		for tl.LastRecordLSN() < firstLSN+8*sweepLayers {
			n := uint32(tl.LastRecordLSN()-firstLSN)/8 + 1
			var b page.Batch
			b.End = firstLSN + page.LSN(8*n)
			b.PutImage(remoteKey(n), b.End, remotePage(n, b.End))
			if err := errors.Join(tl.Put(ctx, &b), tl.Flush(ctx)); err != nil {
				return err
			}
		}
		if name == "main" {
			main = tl
		}
	}
	if _, err := tn.Timeline("branch"); errors.Is(err, ErrTimelineNotFound) {
		if _, err := tn.Branch(ctx, main, "branch", page.TimelineID{}, firstLSN+16); err != nil {
			return err
		}
	}
	if _, err := main.Compact(ctx, timeline.CompactRequest{}); err != nil {
		return err
	}
	if err := tn.Delete(ctx, "gone"); err != nil && !errors.Is(err, ErrTimelineNotFound) {
		return err
	}
	for _, tl := range tn.Timelines() {
		if err := tl.WaitUploads(ctx); err != nil {
			return err
		}
	}
	return s.env.Deletions().Flush(ctx)
}

// attach makes a store of the remote alone, and compares.
func (w *sweep) attach(ctx context.Context) error {
	fs := virtualfile.NewMem()
	far := w.reach()
	s, err := w.open(fs, far)
	for again := 0; err != nil && again < 5; again++ {
		s, err = w.open(fs, far)
	}
	if err != nil {
		return err
	}
	defer func() { require.NoError(w.t, s.Close()) }()
	err = patient(ctx, func() error {
		_, _, err := s.Attach(ctx, AttachOptions{Tenant: remoteTenant})
		return err
	})
	if err != nil {
		return err
	}
	tn, err := s.Tenant(remoteTenant)
	require.NoError(w.t, err)
	names := []string{}
	for _, tl := range tn.Timelines() {
		names = append(names, tl.Name())
	}
	require.Equal(w.t, []string{"branch", "main"}, names)
	for name, pages := range map[string]uint32{"main": sweepLayers, "branch": 2} {
		tl, err := tn.Timeline(name)
		require.NoError(w.t, err)
		for n := uint32(1); n <= pages; n++ {
			requirePage(w.t, ctx, tl, n, tl.LastRecordLSN(), firstLSN+page.LSN(8*n))
		}
		if err := patient(ctx, func() error { return tl.WaitUploads(ctx) }); err != nil {
			return err
		}
	}
	return nil
}

// timelinesLeft are those of which the remote has objects.
func (w *sweep) timelinesLeft() (ids []string) {
	prefix := "tenants/" + remoteTenant.String() + "/timelines/"
	for e, err := range w.far.List(w.t.Context(), prefix, remote.ListOptions{Delimited: true}) {
		require.NoError(w.t, err)
		ids = append(ids, strings.TrimPrefix(e.Prefix, prefix))
	}
	return slices.Compact(ids)
}

// TestRemoteSweep fails the n-th call of the remote while timelines are made, flushed, compacted, deleted and attached, for every n:
// done or not done, once or until the process is killed. In the end all is as if nothing had failed, and nothing is left over.
func TestRemoteSweep(t *testing.T) {
	rnd := testkit.Rand(t, 13)
	stride := testkit.Size(23, 2, 1)
	for _, effect := range []faultstore.Effect{faultstore.Fail, faultstore.LostReply} {
		for _, dies := range []bool{false, true} {
			t.Run(fmt.Sprintf("effect=%d dies=%t", effect, dies), func(t *testing.T) {
				n := 1 + rnd.IntN(stride)
				for ; sweepAt(t, effect, n, dies); n += stride {
				}
				require.Greater(t, n, 20)
				t.Logf("%d calls", n-1)
			})
		}
	}
}

// sweepAt reports whether there was an n-th call.
func sweepAt(t *testing.T, effect faultstore.Effect, n int, dies bool) (hit bool) {
	fault := &faultstore.Fault{Nth: n, Effect: effect}
	w := &sweep{t: t, far: memstore.New(), faults: []*faultstore.Fault{fault}}
	if dies {
		w.faults = append(w.faults, &faultstore.Fault{Nth: n + 1, Sticky: true})
	}
	fs := virtualfile.NewMem()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ran, stop := context.WithCancel(ctx)
	far := w.reach()
	if dies {
		go stopOnceHit(ran, far, fault, stop)
	}
	s, err := w.open(fs, far)
	if err == nil {
		if err = w.write(ran, s); err != nil && !dies {
			err = patient(ctx, func() error { return w.write(ctx, s) })
		}
	}
	stop()
	if !dies && s != nil {
		require.NoError(t, err)
		require.NoError(t, s.Close())
	}
	if dies || s == nil { // the next process finds what is durable
		clone := fs.CrashClone(uint64(n))
		if s != nil {
			_ = s.Close()
		}
		w.sound()
		w.faults = nil
		s, err = w.open(clone, w.reach())
		require.NoError(t, err)
		require.NoError(t, patient(ctx, func() error { return w.write(ctx, s) }))
		require.NoError(t, s.Close())
	}
	require.Len(t, w.timelinesLeft(), 2)
	require.NoError(t, w.attach(ctx))
	for _, s := range w.stores {
		_, hits := s.Seen(fault)
		hit = hit || hits > 0
	}
	return hit
}

// stopOnceHit gives a process some time to go on after the remote has gone away from it.
func stopOnceHit(ctx context.Context, s *faultstore.Store, fault *faultstore.Fault, stop func()) {
	for ctx.Err() == nil {
		if _, hits := s.Seen(fault); hits > 0 {
			break
		}
		time.Sleep(sweepDelay)
	}
	time.Sleep(2 * sweepDelay)
	stop()
}
