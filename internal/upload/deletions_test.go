package upload_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/clock"
	"github.com/stratapg/strata/internal/upload"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/remote"
	"github.com/stratapg/strata/remote/faultstore"
	"github.com/stratapg/strata/remote/memstore"
	"github.com/stratapg/strata/virtualfile"
)

// yard is a store with objects to be deleted.
type yard struct {
	t      *testing.T
	fs     virtualfile.FS
	store  *memstore.Store
	faults *faultstore.Store
	valid  *validator
	d      *upload.Deletions
}

func newYard(t *testing.T) *yard {
	y := &yard{t: t, fs: virtualfile.NewMem(), store: memstore.New(), valid: &validator{valid: true}}
	y.faults = faultstore.New(y.store, 1)
	y.open()
	return y
}

// open begins as a process does.
func (y *yard) open() {
	d, err := upload.NewDeletions(upload.DeletionsConfig{Remote: y.faults, FS: y.fs, Dir: "/deletion", Validator: y.valid, Delay: time.Hour,
		Logger: slog.New(slog.DiscardHandler), Clock: clock.System})
	require.NoError(y.t, err)
	y.d = d
	y.t.Cleanup(d.Stop)
}

// objects puts objects of layers.
func (y *yard) objects(from, to int) (out []upload.Object) {
	for i := from; i < to; i++ {
		d := layer.Desc{Keys: page.FullRange, LSNs: page.LSNRange{Start: page.LSN(i*8 + 1), End: page.LSN(i*8 + 9)}, Generation: 3}
		_, err := y.store.Put(y.t.Context(), place.Prefix()+upload.ObjectName(&d), bytes.NewReader([]byte("x")), 1, remote.PutOptions{})
		require.NoError(y.t, err)
		out = append(out, upload.ObjectOf(&d))
	}
	return out
}

func (y *yard) count() (n int) {
	for _, err := range y.store.List(y.t.Context(), "tenants/", remote.ListOptions{}) {
		require.NoError(y.t, err)
		n++
	}
	return n
}

func (y *yard) lists() int {
	names, _ := y.fs.List("/deletion")
	return len(names)
}

// TestDeletions: objects go in batches of what one request takes, although some requests fail, and their list with them.
func TestDeletions(t *testing.T) {
	y := newYard(t)
	all := y.objects(0, 2500)
	y.d.Delete(place, 3, all[:2499])
	require.Equal(t, 2500, y.count(), "nothing happens at once")
	y.faults.Set(&faultstore.Fault{Op: faultstore.Delete, Nth: 7}, &faultstore.Fault{Op: faultstore.Delete, Nth: 2000, Effect: faultstore.LostReply})
	require.NoError(t, y.d.Flush(t.Context()))
	require.Equal(t, 1, y.count())
	require.Zero(t, y.lists())
	require.Equal(t, upload.DeletionCounts{Deleted: 2499, Failures: 2}, y.d.Counts())
	require.NoError(t, y.d.Flush(t.Context()))
}

// TestStaleDeletions: what a writer that was replaced wants to delete stays.
func TestStaleDeletions(t *testing.T) {
	y := newYard(t)
	y.d.Delete(place, 3, y.objects(0, 5))
	y.valid.set(false, nil)
	require.NoError(t, y.d.Flush(t.Context()))
	require.Equal(t, 5, y.count())
	require.Equal(t, upload.DeletionCounts{Dropped: 5}, y.d.Counts())
	require.Zero(t, y.lists())
	// Nothing is deleted either while nobody says whether we are the last.
	y.valid.set(true, fmt.Errorf("no answer"))
	y.d.Delete(place, 3, y.objects(0, 5))
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer cancel()
		for y.d.Counts().Failures == 0 {
			time.Sleep(tick)
		}
	}()
	require.ErrorIs(t, y.d.Flush(ctx), context.Canceled)
	require.Equal(t, 5, y.count())
}

// TestKeep: a deletion is taken back, or waited for once it is on its way.
func TestKeep(t *testing.T) {
	y := newYard(t)
	all := y.objects(0, 3)
	y.d.Delete(place, 3, all)
	require.NoError(t, y.d.Keep(t.Context(), place, all[0]))
	var begun sync.Once
	running, goOn := make(chan struct{}), make(chan struct{})
	y.faults.Set(&faultstore.Fault{Op: faultstore.Delete, Nth: 1, Sticky: true, Effect: faultstore.Wait, Before: func(context.Context) {
		begun.Do(func() { close(running) })
		<-goOn
	}})
	flushed := make(chan error, 1)
	go func() { flushed <- y.d.Flush(t.Context()) }()
	<-running
	kept := make(chan error, 1)
	go func() { kept <- y.d.Keep(t.Context(), place, all[1]) }()
	select {
	case <-kept:
		t.Fatal("it did not wait for the request that deletes the object")
	case <-time.After(tick):
	}
	close(goOn)
	require.NoError(t, <-kept)
	require.NoError(t, <-flushed)
	require.Equal(t, 1, y.count())
}

// TestResume: what a process leaves is deleted by the next, but for what its index names, and not before it has read that.
func TestResume(t *testing.T) {
	y := newYard(t)
	all := y.objects(0, 10)
	y.d.Delete(place, 3, all[:4])
	y.d.Stop()
	require.Equal(t, 1, y.lists())
	y.open()
	y.d.Delete(place, 4, all[4:6])
	require.NoError(t, y.d.Flush(t.Context()))
	require.Equal(t, 8, y.count())
	require.Equal(t, 1, y.lists())
	y.d.Resume(place, 4, func(o upload.Object) bool { return o == all[0] })
	require.Zero(t, y.lists())
	require.NoError(t, y.d.Flush(t.Context()))
	require.Equal(t, 5, y.count())
	y.d.Resume(place, 4, func(upload.Object) bool { return false })
	require.NoError(t, y.d.Flush(t.Context()))
	require.Equal(t, 5, y.count())
}

// TestKilledWhileItDeletes: a list is on the disk before the first of its objects goes, without those that were taken back; so what a
// process did not come to is deleted by the next.
func TestKilledWhileItDeletes(t *testing.T) {
	for seed := range uint64(8) {
		y := newYard(t)
		all := y.objects(0, 4)
		y.d.Delete(place, 3, all)
		require.NoError(t, y.d.Keep(t.Context(), place, all[0]))
		var left *virtualfile.MemFS
		y.faults.Set(&faultstore.Fault{Op: faultstore.Delete, Nth: 1, Effect: faultstore.Wait, Before: func(context.Context) {
			left = y.fs.(*virtualfile.MemFS).CrashClone(seed)
		}})
		require.NoError(t, y.d.Flush(t.Context()))
		y.d.Stop()
		y.objects(0, 4) // as if none had gone
		y.fs = left
		y.open()
		require.Equal(t, 1, y.lists())
		y.d.Resume(place, 4, func(upload.Object) bool { return false })
		require.NoError(t, y.d.Flush(t.Context()))
		require.Equal(t, 1, y.count())
		_, err := y.store.Head(t.Context(), place.Prefix()+all[0].Name+"-00000003")
		require.NoError(t, err, "what was taken back stays")
	}
}

// TestResumeOfAnOlderWriter: what a writer of a higher generation was to delete is not for one of a lower.
func TestResumeOfAnOlderWriter(t *testing.T) {
	y := newYard(t)
	y.d.Delete(place, 3, y.objects(0, 2))
	y.d.Stop()
	y.open()
	y.d.Resume(place, 2, func(upload.Object) bool { return false })
	require.NoError(t, y.d.Flush(t.Context()))
	require.Equal(t, 2, y.count())
}

// TestEachWriterIsAsked: a list holds what several writers gave; what the stale ones gave stays, and only that.
func TestEachWriterIsAsked(t *testing.T) {
	y := newYard(t)
	tenant, shard, timeline := place, place, place
	tenant.Tenant[0]++
	shard.Shard = "-0102"
	timeline.Timeline[0]++
	y.valid.stale = func(p upload.Place, generation uint32) bool {
		return p.Tenant == place.Tenant && p.Shard == "" && generation == 3
	}
	type given struct {
		place      upload.Place
		generation uint32
		stays      bool
	}
	writers := []given{{place, 4, false}, {place, 3, true}, {tenant, 3, false}, {shard, 3, false}, {timeline, 3, true}, {timeline, 4, false}}
	for i, w := range writers {
		o := upload.Object{Name: fmt.Sprintf("object-%d", i), Generation: w.generation}
		_, err := y.store.Put(t.Context(), fmt.Sprintf("%s%s-%08x", w.place.Prefix(), o.Name, w.generation), bytes.NewReader(nil), 0, remote.PutOptions{})
		require.NoError(t, err)
		y.d.Delete(w.place, w.generation, []upload.Object{o})
	}
	require.Equal(t, len(writers), y.count())
	require.NoError(t, y.d.Flush(t.Context()))
	for i, w := range writers {
		_, err := y.store.Head(t.Context(), fmt.Sprintf("%sobject-%d-%08x", w.place.Prefix(), i, w.generation))
		if w.stays {
			require.NoError(t, err, "%d", i)
		} else {
			require.ErrorIs(t, err, remote.ErrNotFound, "%d", i)
		}
	}
	require.Equal(t, upload.DeletionCounts{Deleted: 4, Dropped: 2}, y.d.Counts())
}

// TestDeletionsBegin: nobody has to ask for what is due: it begins after a while, or when there is very much.
func TestDeletionsBegin(t *testing.T) {
	y := newYard(t)
	many := make([]upload.Object, 1<<14)
	for i := range many {
		many[i] = upload.Object{Name: fmt.Sprint(i), Generation: 3}
	}
	y.d.Delete(place, 3, many[1:])
	require.Zero(t, y.d.Counts().Deleted)
	y.d.Delete(place, 3, many[:1])
	require.Eventually(t, func() bool { return y.d.Counts().Deleted == int64(len(many)) }, waitFor, tick)

	d, err := upload.NewDeletions(upload.DeletionsConfig{Remote: y.store, FS: y.fs, Dir: "/deletion", Validator: y.valid, Delay: time.Microsecond,
		Logger: slog.New(slog.DiscardHandler), Clock: clock.System})
	require.NoError(t, err)
	defer d.Stop()
	d.Delete(place, 3, y.objects(0, 1))
	require.Eventually(t, func() bool { return y.count() == 0 }, waitFor, tick)
}

// TestLeases: generations only grow, each has one holder, and only the last one's is valid.
func TestLeases(t *testing.T) {
	store := memstore.New()
	l := upload.Leases{Remote: store}
	g, err := l.Acquire(t.Context(), place, 0)
	require.NoError(t, err)
	require.Equal(t, uint32(1), g)
	g, err = l.Acquire(t.Context(), place, 41)
	require.NoError(t, err)
	require.Equal(t, uint32(42), g)
	for generation, want := range map[uint32]bool{1: false, 41: false, 42: true, 50: true} {
		valid, err := l.Validate(t.Context(), place, generation)
		require.NoError(t, err)
		require.Equal(t, want, valid, "%d", generation)
	}
	other := place
	other.Tenant[0]++
	g, err = l.Acquire(t.Context(), other, 0)
	require.NoError(t, err)
	require.Equal(t, uint32(1), g)

	const writers = 20
	got := make([]uint32, writers)
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			g, err := l.Acquire(t.Context(), place, 0)
			if err == nil {
				got[i] = g
			}
		})
	}
	wg.Wait()
	seen, last := map[uint32]bool{}, uint32(0)
	for _, g := range got {
		require.False(t, seen[g], "generation %d twice", g)
		seen[g], last = true, max(last, g)
	}
	for g := range seen {
		valid, err := l.Validate(t.Context(), place, g)
		require.NoError(t, err)
		require.Equal(t, g == last, valid)
	}
}
