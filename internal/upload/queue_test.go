package upload_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/clock"
	"github.com/stratapg/strata/internal/upload"
	"github.com/stratapg/strata/internal/upload/index"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/remote"
	"github.com/stratapg/strata/remote/faultstore"
	"github.com/stratapg/strata/remote/memstore"
	"github.com/stratapg/strata/virtualfile"
)

var place = upload.Place{Tenant: page.TenantID{1}, Timeline: page.TimelineID{2}}

// bed is a queue with what it works on.
type bed struct {
	t      testing.TB
	fs     virtualfile.FS
	store  *memstore.Store
	faults *faultstore.Store
	q      *upload.Queue
	gone   *deleter
	valid  *validator
}

// validator says what it is told to.
type validator struct {
	mu    sync.Mutex
	valid bool
	err   error
	stale func(upload.Place, uint32) bool // of those who are valid; nil is nobody
}

func (v *validator) Validate(_ context.Context, p upload.Place, generation uint32) (bool, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.valid && (v.stale == nil || !v.stale(p, generation)), v.err
}

func (v *validator) set(valid bool, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.valid, v.err = valid, err
}

// deleter notes what it is given.
type deleter struct {
	mu      sync.Mutex
	objects []upload.Object
}

func (d *deleter) Delete(_ upload.Place, _ uint32, objects []upload.Object) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.objects = append(d.objects, objects...)
}

func (d *deleter) Keep(context.Context, upload.Place, upload.Object) error { return nil }

func newBed(t testing.TB) *bed {
	b := &bed{t: t, fs: virtualfile.NewMem(), store: memstore.New(), gone: &deleter{}, valid: &validator{valid: true}}
	b.faults = faultstore.New(b.store, 1)
	b.q = b.open(1, nil)
	return b
}

func (b *bed) open(generation uint32, part *index.Part) *upload.Queue {
	q := upload.New(upload.Config{Remote: b.faults, FS: b.fs, Place: place, Generation: generation, Validator: b.valid, Deletions: b.gone,
		Logger: slog.New(slog.DiscardHandler), Clock: clock.System, Parallel: 2}, part)
	b.t.Cleanup(func() { _ = q.Shutdown(context.Background(), false) })
	return q
}

// file makes a file of a layer.
func (b *bed) file(n int) (layer.Desc, string) {
	d := layer.Desc{Keys: page.FullRange, LSNs: page.LSNRange{Start: page.LSN(n*8 + 1), End: page.LSN(n*8 + 9)}, Size: int64(100 + n), Generation: 1}
	path := "/" + d.FileName()
	data := make([]byte, d.Size)
	data[0] = byte(n)
	require.NoError(b.t, virtualfile.WriteFileAtomic(b.fs, path, data))
	return d, path
}

// publish does what a flush does.
func (b *bed) publish(n int) layer.Desc {
	d, path := b.file(n)
	require.NoError(b.t, b.q.Layer(d, path))
	b.q.Index(func(p *index.Part) { p.Metadata.DiskConsistentLSN = d.LSNs.End - 1 })
	return d
}

func (b *bed) load(generation uint32) (*index.Part, uint32) {
	p, g, err := upload.Load(b.t.Context(), b.store, place, generation)
	require.NoError(b.t, err)
	return p, g
}

func (b *bed) keys() (keys []string) {
	for e, err := range b.store.List(b.t.Context(), "", remote.ListOptions{}) {
		require.NoError(b.t, err)
		keys = append(keys, e.Key)
	}
	return keys
}

// TestUpload: what was scheduled is in the remote after Wait, with checksums, and the LSN has moved.
func TestUpload(t *testing.T) {
	b := newBed(t)
	var ds []layer.Desc
	for i := range 20 {
		ds = append(ds, b.publish(i))
	}
	require.NoError(t, b.q.Wait(t.Context()))
	p, g := b.load(7)
	require.Equal(t, uint32(1), g)
	require.Equal(t, 20, p.Layers.Len())
	require.Len(t, b.keys(), 21)
	last := ds[19].LSNs.End - 1
	require.Equal(t, last, p.Metadata.DiskConsistentLSN)
	require.Equal(t, last, b.q.RemoteConsistentLSN())
	for i := range ds {
		l, ok := b.q.Uploaded(&ds[i])
		require.True(t, ok)
		named, _ := p.Layers.Find(&ds[i])
		require.Equal(t, named, l)
		require.NotZero(t, l.Sum)
		require.Equal(t, ds[i].Size, l.Desc.Size)
	}
	require.Equal(t, upload.Status{Projected: last, RemoteConsistentLSN: last}, b.q.Status())
}

// TestForgotten: a layer that is forgotten is deleted once an index without it is up.
func TestForgotten(t *testing.T) {
	b := newBed(t)
	d, kept := b.publish(1), b.publish(2)
	require.NoError(t, b.q.Wait(t.Context()))
	b.q.Forget(d)
	b.q.Index(nil)
	b.q.Delete(upload.ObjectOf(&d))
	require.NoError(t, b.q.Wait(t.Context()))
	require.Equal(t, []upload.Object{upload.ObjectOf(&d)}, b.gone.objects)
	p, _ := b.load(1)
	require.Equal(t, 1, p.Layers.Len())
	_, named := p.Layers.Find(&kept)
	require.True(t, named)
	_, ok := b.q.Uploaded(&d)
	require.False(t, ok)
}

// TestDown: while the remote is down there is debt, with its reason, and it goes by itself.
func TestDown(t *testing.T) {
	b := newBed(t)
	b.faults.Set(&faultstore.Fault{Op: faultstore.Put, Nth: 1, Sticky: true})
	for i := range 5 {
		b.publish(i)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- b.q.Wait(ctx) }()
	require.Eventually(t, func() bool { return b.q.Status().Err != nil }, waitFor, tick)
	s := b.q.Status()
	require.Equal(t, 5, s.Layers)
	require.EqualValues(t, 5*100+10, s.Bytes)
	require.True(t, s.Index)
	require.ErrorIs(t, s.Err, remote.ErrUnavailable)
	require.False(t, s.Oldest.IsZero())
	require.Zero(t, b.q.RemoteConsistentLSN())
	cancel()
	err := <-done
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorContains(t, err, "injected")

	b.faults.Set()
	require.NoError(t, b.q.Wait(t.Context()))
	require.True(t, b.q.Status().Idle())
	require.NoError(t, b.q.Status().Err)
	require.EqualValues(t, 40, b.q.RemoteConsistentLSN())
}

// TestUploadsArePaidFor: the bytes of layers count against the bandwidth.
func TestUploadsArePaidFor(t *testing.T) {
	b := newBed(t)
	var paid atomic.Int64
	q := upload.New(upload.Config{Remote: b.faults, FS: b.fs, Place: place, Generation: 1, Validator: b.valid, Deletions: b.gone,
		Logger: slog.New(slog.DiscardHandler), Clock: clock.System,
		Bandwidth: upload.NewBandwidth(1<<40, func() time.Time { paid.Add(1); return time.Now() })}, nil)
	const layers = 3
	for i := range layers {
		d, path := b.file(i)
		require.NoError(t, q.Layer(d, path))
	}
	q.Index(nil)
	require.NoError(t, q.Shutdown(t.Context(), true))
	require.EqualValues(t, layers, paid.Load(), "once for each, as each is smaller than what is paid for at once")
}

// TestUploadedAgain: an object that is to be deleted, and is uploaded again before, stays.
func TestUploadedAgain(t *testing.T) {
	b, y := newBed(t), newYard(t)
	q := upload.New(upload.Config{Remote: y.store, FS: b.fs, Place: place, Generation: 1, Validator: b.valid, Deletions: y.d,
		Logger: slog.New(slog.DiscardHandler), Clock: clock.System}, nil)
	d, path := b.file(1)
	require.NoError(t, q.Layer(d, path))
	q.Index(nil)
	require.NoError(t, q.Wait(t.Context()))
	q.Forget(d)
	q.Index(nil)
	q.Delete(upload.ObjectOf(&d))
	require.NoError(t, q.Wait(t.Context()))
	require.EqualValues(t, 1, y.d.Counts().Pending)
	require.NoError(t, q.Layer(d, path))
	q.Index(nil)
	require.NoError(t, q.Shutdown(t.Context(), true))
	require.NoError(t, y.d.Flush(t.Context()))
	_, err := y.store.Head(t.Context(), place.Prefix()+upload.ObjectName(&d))
	require.NoError(t, err)
}

// TestNotValidated: the LSN moves only once the generation was found to be the last, and not at all if it is not.
func TestNotValidated(t *testing.T) {
	b := newBed(t)
	b.valid.set(true, fmt.Errorf("no answer"))
	b.publish(1)
	require.Eventually(t, func() bool { return b.q.Status().Projected == 16 && b.q.Status().Err != nil }, waitFor, tick)
	require.Zero(t, b.q.RemoteConsistentLSN())
	b.valid.set(true, nil)
	require.NoError(t, b.q.Wait(t.Context()))
	require.EqualValues(t, 16, b.q.RemoteConsistentLSN())
	b.valid.set(false, nil)
	d := b.publish(2)
	require.ErrorIs(t, b.q.Wait(t.Context()), upload.ErrStale)
	require.EqualValues(t, 16, b.q.RemoteConsistentLSN())
	require.True(t, b.q.Status().Stale)
	// Nothing goes to the remote any more, deletions least of all.
	before := b.keys()
	b.publish(3)
	b.q.Forget(d)
	b.q.Index(nil)
	b.q.Delete(upload.ObjectOf(&d))
	require.ErrorIs(t, b.q.Wait(t.Context()), upload.ErrStale)
	require.Equal(t, before, b.keys())
	require.Empty(t, b.gone.objects)
}

// TestShutdown: with flush all is up; without it what runs is cut off, and no index names what is not there.
func TestShutdown(t *testing.T) {
	b := newBed(t)
	b.publish(1)
	require.NoError(t, b.q.Shutdown(t.Context(), true))
	p, _ := b.load(1)
	require.Equal(t, 1, p.Layers.Len())

	b.q = b.open(1, p)
	begun := make(chan struct{}, 9)
	b.faults.Set(&faultstore.Fault{Op: faultstore.Put, Nth: 1, Sticky: true, Before: func(ctx context.Context) {
		begun <- struct{}{}
		<-ctx.Done()
	}})
	b.publish(2)
	<-begun
	wait := make(chan error)
	go func() { wait <- b.q.Wait(context.Background()) }()
	require.NoError(t, b.q.Shutdown(t.Context(), false))
	require.ErrorIs(t, <-wait, upload.ErrStopped)
	require.ErrorIs(t, b.q.Wait(t.Context()), upload.ErrStopped)
	p, _ = b.load(1)
	require.Equal(t, 1, p.Layers.Len())
}

// TestGenerations: the newest index that is not above ours is ours to read; one above says that we are stale.
func TestGenerations(t *testing.T) {
	b := newBed(t)
	_, _, err := upload.Load(t.Context(), b.store, place, 1)
	require.ErrorIs(t, err, remote.ErrNotFound)
	b.publish(1)
	require.NoError(t, b.q.Wait(t.Context()))
	p, g := b.load(12)
	require.Equal(t, uint32(1), g)
	b.q = b.open(12, p)
	d, path := b.file(2)
	d.Generation = 12
	require.NoError(t, b.q.Layer(d, path))
	b.q.Index(nil)
	require.NoError(t, b.q.Wait(t.Context()))
	p, g = b.load(12)
	require.Equal(t, uint32(12), g)
	require.Equal(t, 2, p.Layers.Len())
	named, _ := p.Layers.Find(&d)
	require.Equal(t, uint32(12), named.Desc.Generation)
	_, _, err = upload.Load(t.Context(), b.store, place, 11)
	require.ErrorIs(t, err, upload.ErrStale)
	require.Contains(t, b.keys(), place.LayerKey(d.Name(), 12, ""))
	require.Contains(t, b.keys(), place.Prefix()+"index_part.json-0000000c")
}
