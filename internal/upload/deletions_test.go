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
