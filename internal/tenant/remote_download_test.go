package tenant

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/evict"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/internal/timeline"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/remote"
	"github.com/stratapg/strata/remote/faultstore"
	"github.com/stratapg/strata/remote/memstore"
	"github.com/stratapg/strata/virtualfile"
)

// remoteTenant is whose the timelines of these tests are.
var remoteTenant = page.TenantID{0x77, 15: 1}

func remoteOptions(fs virtualfile.FS, s remote.Storage) Options {
	o := testOptions(fs)
	o.DefaultTenant, o.RemoteURL = remoteTenant, "test:"
	o.Config.Remote, o.Config.CheckpointDistance, o.Config.Memory = s, 1<<20, 256<<20
	o.Config.Download = timeline.DownloadConfig{Stall: time.Hour, Pause: time.Microsecond}
	return o
}

func remoteKey(n uint32) page.Key { return page.RelTag{Spc: 1663, DB: 5, Rel: 16384}.Block(n) }

// fill makes a timeline of as many L0 layers, each with one page of its own and a new version of page 0, and gives the last LSN.
func fill(t *testing.T, s *Store, layers int) *timeline.Timeline {
	tn, err := s.DefaultTenant()
	require.NoError(t, err)
	return fillTenant(t, tn, layers)
}

func fillTenant(t *testing.T, tn *Tenant, layers int) *timeline.Timeline {
	tl, err := tn.Create(t.Context(), meta("main"))
	require.NoError(t, err)
	for i := range layers {
		lsn := firstLSN + page.LSN(8*(i+1))
		var b page.Batch
		img := func(n uint32) []byte { return remotePage(n, lsn) }
		b.PutImage(remoteKey(0), lsn, img(0))
		b.PutImage(remoteKey(uint32(i+1)), lsn, img(uint32(i+1)))
		b.End, b.Prev = lsn, lsn-8
		require.NoError(t, tl.Put(t.Context(), &b))
		require.NoError(t, tl.Flush(t.Context()))
	}
	require.NoError(t, tl.WaitUploads(t.Context()))
	return tl
}

func remotePage(n uint32, lsn page.LSN) []byte {
	return []byte(strings.Repeat(fmt.Sprintf("%d at %s ", n, lsn), pg.BlockSize))[:pg.BlockSize]
}

// remoteGate counts what is read of layers, and holds it back while it is shut.
type remoteGate struct {
	remote.Storage
	gets, open, most atomic.Int64
	mu               sync.Mutex
	shut             chan struct{}
}

func (g *remoteGate) close() func() {
	c := make(chan struct{})
	g.mu.Lock()
	g.shut = c
	g.mu.Unlock()
	return sync.OnceFunc(func() {
		g.mu.Lock()
		g.shut = nil
		g.mu.Unlock()
		close(c)
	})
}

func (g *remoteGate) Get(ctx context.Context, key string, o remote.GetOptions) (*remote.Download, error) {
	if !strings.Contains(key, "__") {
		return g.Storage.Get(ctx, key, o)
	}
	g.gets.Add(1)
	n := g.open.Add(1)
	defer g.open.Add(-1)
	for old := g.most.Load(); n > old && !g.most.CompareAndSwap(old, n); old = g.most.Load() {
	}
	g.mu.Lock()
	shut := g.shut
	g.mu.Unlock()
	if shut != nil {
		select {
		case <-shut:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return g.Storage.Get(ctx, key, o)
}

// attached makes a timeline of so many layers elsewhere, and attaches it to an empty disk.
func attached(t *testing.T, layers int, change func(*Options)) (*Store, *timeline.Timeline, *remoteGate, *virtualfile.MemFS) {
	store := memstore.New()
	first, err := Open(t.Context(), remoteOptions(virtualfile.NewMem(), store))
	require.NoError(t, err)
	fill(t, first, layers)
	require.NoError(t, first.Close())
	g := &remoteGate{Storage: store}
	fs := virtualfile.NewMem()
	o := remoteOptions(fs, g)
	if change != nil {
		change(&o)
	}
	second, err := Open(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, second.Close()) })
	_, tls, err := second.Attach(t.Context(), AttachOptions{Tenant: remoteTenant})
	require.NoError(t, err)
	require.Len(t, tls, 1)
	require.Equal(t, "main", tls[0].Name())
	require.Len(t, tls[0].Layers(), layers)
	require.Zero(t, g.gets.Load(), "no layer was fetched")
	return second, tls[0], g, fs
}

// layerFiles lists the files of layers and of downloads.
func layerFiles(t *testing.T, fs virtualfile.FS, tl *timeline.Timeline) (layers, temporary []string) {
	names, err := fs.List(filepath.Join("store", "tenants", remoteTenant.String(), "timelines", tl.ID().String()))
	require.NoError(t, err)
	for _, n := range names {
		switch {
		case strings.HasSuffix(n, virtualfile.TempSuffix):
			temporary = append(temporary, n)
		case strings.Contains(n, "__"):
			layers = append(layers, n)
		}
	}
	return layers, temporary
}

func requirePage(t require.TestingT, ctx context.Context, tl *timeline.Timeline, n uint32, at page.LSN, version page.LSN) {
	v, err := tl.Get(ctx, remoteKey(n), at)
	require.NoError(t, err)
	require.Equal(t, string(remotePage(n, version)), string(v))
}

// TestReadOfAColdPage: the layers that a read may need are on their way together, each once however many read, and a reader
// that gives up does not take them from the others.
func TestReadOfAColdPage(t *testing.T) {
	const layers = 5
	_, tl, g, fs := attached(t, layers, nil)
	open := g.close()
	last := tl.LastRecordLSN()
	impatient, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		_, err := tl.Get(impatient, remoteKey(1), last)
		require.ErrorIs(t, err, context.Canceled)
	})
	require.Eventually(t, func() bool { return g.open.Load() == layers }, 10*time.Second, time.Millisecond, "all of them at once")
	for range 4 {
		wg.Go(func() { requirePage(t, t.Context(), tl, 1, last, firstLSN+8) })
	}
	require.Eventually(t, func() bool { return tl.WaitingForLayers() == 5*(layers+1) }, 10*time.Second, time.Millisecond, "five readers, of all layers, and each of the one it is at")
	cancel()
	open()
	wg.Wait()
	require.EqualValues(t, layers, g.gets.Load(), "each was fetched once")
	here, temp := layerFiles(t, fs, tl)
	require.Len(t, here, layers)
	require.Empty(t, temp)
	requirePage(t, t.Context(), tl, 0, last, last)
	require.EqualValues(t, layers, g.gets.Load(), "what is here is not fetched again")
}

// lateLayer holds one layer back, of those that are asked for.
type lateLayer struct {
	remote.Storage
	name atomic.Pointer[string]
	shut chan struct{}
}

func (s *lateLayer) Get(ctx context.Context, key string, o remote.GetOptions) (*remote.Download, error) {
	if name := s.name.Load(); name != nil && strings.Contains(key, *name) {
		select {
		case <-s.shut:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return s.Storage.Get(ctx, key, o)
}

// TestLayersAreOpenedAsTheyCome: what has come is made ready for the read while it waits for the first of its layers.
func TestLayersAreOpenedAsTheyCome(t *testing.T) {
	const layers = 5
	late := &lateLayer{shut: make(chan struct{})}
	s, tl, _, _ := attached(t, layers, func(o *Options) {
		late.Storage = o.Config.Remote
		o.Config.Remote = late
	})
	newest := slices.MaxFunc(tl.Layers(), func(a, b layer.Desc) int { return cmp.Compare(a.LSNs.End, b.LSNs.End) })
	name := newest.Name()
	late.name.Store(&name)
	var wg sync.WaitGroup
	var trace layer.Trace
	before := s.Metrics().FileOpens
	wg.Go(func() {
		_, err := tl.Get(layer.WithTrace(t.Context(), &trace), remoteKey(1), tl.LastRecordLSN())
		assert.NoError(t, err)
	})
	require.Eventually(t, func() bool { return s.Metrics().FileOpens == before+layers-1 }, 10*time.Second, time.Millisecond, "all but the newest")
	close(late.shut)
	wg.Wait()
	require.Equal(t, before+layers, s.Metrics().FileOpens)
	require.GreaterOrEqual(t, trace.IndexLoads, layers, "what was looked ahead for counts")
}

// TestNobodyWaits: a download that nobody wants any more ends, and leaves nothing.
func TestNobodyWaits(t *testing.T) {
	_, tl, g, fs := attached(t, 3, nil)
	open := g.close()
	defer open()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, err := tl.Get(ctx, remoteKey(1), tl.LastRecordLSN())
		done <- err
	}()
	require.Eventually(t, func() bool { return g.open.Load() == 3 }, 10*time.Second, time.Millisecond)
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)
	require.Eventually(t, func() bool { return g.open.Load() == 0 }, 10*time.Second, time.Millisecond)
	here, _ := layerFiles(t, fs, tl)
	require.Empty(t, here)
	open()
	requirePage(t, t.Context(), tl, 1, tl.LastRecordLSN(), firstLSN+8)
}

// TestLimits: no more downloads run at once than may.
func TestLimits(t *testing.T) {
	_, tl, g, _ := attached(t, 8, func(o *Options) { o.Config.Download.Concurrent = 2 })
	var seen []timeline.DownloadProgress
	require.NoError(t, tl.Download(t.Context(), func(p timeline.DownloadProgress) { seen = append(seen, p) }))
	require.LessOrEqual(t, g.most.Load(), int64(2))
	require.Len(t, seen, 8)
	end := seen[7]
	require.Equal(t, end.TotalLayers, end.Layers)
	require.Equal(t, end.TotalBytes, end.Bytes)
	require.NoError(t, tl.Download(t.Context(), nil))
	require.EqualValues(t, 8, g.gets.Load())
}

// silent is a storage whose bodies bring a few bytes, and then nothing, for the first so many requests.
type silent struct {
	remote.Storage
	left atomic.Int64
	from []int64
}

func (s *silent) Get(ctx context.Context, key string, o remote.GetOptions) (*remote.Download, error) {
	d, err := s.Storage.Get(ctx, key, o)
	if err != nil || !strings.Contains(key, "__") {
		return d, err
	}
	s.from = append(s.from, o.Offset) // one layer, so one request at a time
	if s.left.Add(-1) < 0 {
		return d, nil
	}
	out := *d
	out.Body = &silentBody{d.Body, ctx, 1000}
	return &out, nil
}

type silentBody struct {
	io.ReadCloser
	ctx  context.Context
	left int
}

func (b *silentBody) Read(p []byte) (int, error) {
	if b.left == 0 {
		<-b.ctx.Done()
		return 0, context.Cause(b.ctx)
	}
	n, err := b.ReadCloser.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

// TestStall: a download that brings nothing any more goes on where it was with another request.
func TestStall(t *testing.T) {
	s := &silent{}
	s.left.Store(2)
	st, tl, _, _ := attached(t, 1, func(o *Options) {
		s.Storage = o.Config.Remote
		o.Config.Remote = s
		o.Config.Download.Stall = 500 * time.Millisecond // what a busy machine is not late by
	})
	requirePage(t, t.Context(), tl, 1, tl.LastRecordLSN(), firstLSN+8)
	require.Equal(t, []int64{0, 1000, 2000}, s.from)
	require.EqualValues(t, 2, st.Metrics().Downloads.Stalls)
}

// twisted is a storage that changes a byte of layers in the first so many answers.
type twisted struct {
	remote.Storage
	left atomic.Int64
}

func (s *twisted) Get(ctx context.Context, key string, o remote.GetOptions) (*remote.Download, error) {
	d, err := s.Storage.Get(ctx, key, o)
	if err != nil || !strings.Contains(key, "__") || s.left.Add(-1) < 0 {
		return d, err
	}
	out := *d
	out.Body = twistedBody{d.Body}
	return &out, nil
}

type twistedBody struct{ io.ReadCloser }

func (b twistedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 {
		p[n/2] ^= 1
	}
	return n, err
}

// TestDamagedOnTheWay: bytes that are not those that were uploaded never become a layer.
func TestDamagedOnTheWay(t *testing.T) {
	for _, times := range []int64{1, 1000} {
		s := &twisted{}
		s.left.Store(times)
		_, tl, _, fs := attached(t, 1, func(o *Options) {
			s.Storage = o.Config.Remote
			o.Config.Remote = s
		})
		_, err := tl.Get(t.Context(), remoteKey(1), tl.LastRecordLSN())
		if times == 1 {
			require.NoError(t, err)
			continue
		}
		require.ErrorContains(t, err, "checksum")
		here, temp := layerFiles(t, fs, tl)
		require.Empty(t, here)
		require.Empty(t, temp)
	}
}

// TestLayerIsGone: what another writer has deleted is an error that says so, never an older page.
func TestLayerIsGone(t *testing.T) {
	_, tl, g, _ := attached(t, 2, nil)
	for e, err := range g.List(t.Context(), "", remote.ListOptions{}) {
		require.NoError(t, err)
		if strings.Contains(e.Key, "__") {
			require.NoError(t, g.Delete(t.Context(), e.Key))
		}
	}
	_, err := tl.Get(t.Context(), remoteKey(1), tl.LastRecordLSN())
	require.ErrorIs(t, err, timeline.ErrStale)
}

// TestDownloadFaults: whatever fails once on the local disk, or in the remote, a later read gets the page.
func TestDownloadFaults(t *testing.T) {
	for nth := 1; ; nth += testkit.Size(5, 1, 1) {
		disk, far := &virtualfile.Fault{Err: errors.New("fault of the disk")}, &faultstore.Fault{Op: faultstore.Get, Key: func(k string) bool { return strings.Contains(k, "__") }}
		var s *faultstore.Store
		_, tl, _, _ := attached(t, 2, func(o *Options) {
			o.Config.FS = virtualfile.NewFaulty(o.Config.FS, disk)
			s = faultstore.New(o.Config.Remote, 1)
			o.Config.Remote = s
		})
		disk.Arm(nth)
		s.Set(far)
		_, err := tl.Get(t.Context(), remoteKey(1), tl.LastRecordLSN())
		hit := disk.Hits() > 0
		disk.Arm(0)
		if err == nil && !hit {
			return
		}
		requirePage(t, t.Context(), tl, 1, tl.LastRecordLSN(), firstLSN+8)
	}
}

// TestEvict: what was evicted is off the disk and comes again; a reader keeps what it has, and what is wanted stays.
func TestEvict(t *testing.T) {
	st, tl, g, fs := attached(t, 4, nil)
	require.NoError(t, tl.Download(t.Context(), nil))
	last := tl.LastRecordLSN()
	requirePage(t, t.Context(), tl, 1, last, firstLSN+8)
	used := fs.Used()
	r, err := st.Evict(t.Context(), evict.Limits{MaxBytes: 1})
	require.NoError(t, err)
	require.Equal(t, 4, r.Layers)
	require.GreaterOrEqual(t, used-fs.Used(), r.Bytes, "the space is free")
	here, _ := layerFiles(t, fs, tl)
	require.Empty(t, here)
	requirePage(t, t.Context(), tl, 2, last, firstLSN+16)
	require.Greater(t, g.gets.Load(), int64(4))

	require.NoError(t, tl.Download(t.Context(), nil))
	snap, err := tl.Snapshot(t.Context(), last)
	require.NoError(t, err)
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	done, err := tl.Evict(short, tl.Layers()...)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Zero(t, done.Layers)
	here, _ = layerFiles(t, fs, tl)
	require.Len(t, here, 4, "the snapshot holds them")
	snap.Close()
	done, err = tl.Evict(t.Context(), tl.Layers()...)
	require.NoError(t, err)
	require.Equal(t, 4, done.Layers)
}

// TestEvictionSparesWhatIsNotUploaded: a layer that remote storage has not got stays, and survives a restart with those that are
// away.
func TestEvictionSparesWhatIsNotUploaded(t *testing.T) {
	mem, fs := memstore.New(), virtualfile.NewMem()
	s := faultstore.New(mem, 1)
	o := remoteOptions(fs, s)
	o.Config.Upload.CloseTime = time.Millisecond
	st, err := Open(t.Context(), o)
	require.NoError(t, err)
	tl := fill(t, st, 2)
	s.Set(&faultstore.Fault{Op: faultstore.Put, Nth: 1, Sticky: true})
	lsn := tl.LastRecordLSN() + 8
	var b page.Batch
	b.PutImage(remoteKey(9), lsn, remotePage(9, lsn))
	b.End, b.Prev = lsn, lsn-8
	require.NoError(t, tl.Put(t.Context(), &b))
	require.NoError(t, tl.Flush(t.Context()))
	r, err := st.Evict(t.Context(), evict.Limits{MaxBytes: 1})
	require.NoError(t, err)
	require.Equal(t, 2, r.Layers)
	here, _ := layerFiles(t, fs, tl)
	require.Len(t, here, 1)
	require.NoError(t, st.Close())
	s.Set()
	_, err = Open(t.Context(), testOptions(fs))
	require.ErrorIs(t, err, ErrNoRemote)
	st, err = Open(t.Context(), o)
	require.NoError(t, err)
	tn, err := st.DefaultTenant()
	require.NoError(t, err)
	tl, err = tn.Timeline("main")
	require.NoError(t, err)
	requirePage(t, t.Context(), tl, 9, lsn, lsn)
	requirePage(t, t.Context(), tl, 1, lsn, firstLSN+8)
	require.NoError(t, st.Close())
}

// TestEvictionsBesideReads: pages are right while their layers come and go.
func TestEvictionsBesideReads(t *testing.T) {
	_, tl, _, _ := attached(t, 6, nil)
	last := tl.LastRecordLSN()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	var wg sync.WaitGroup
	var reads, evictions atomic.Int64
	enough := func() bool { return ctx.Err() != nil && reads.Load() > 0 && evictions.Load() > 0 }
	for i := range uint32(4) {
		wg.Go(func() {
			for !enough() {
				requirePage(t, t.Context(), tl, i+1, last, firstLSN+page.LSN(8*(i+1)))
				reads.Add(1)
			}
		})
	}
	wg.Go(func() {
		for !enough() {
			done, err := tl.Evict(t.Context(), tl.Layers()...)
			require.NoError(t, err)
			evictions.Add(int64(done.Layers))
		}
	})
	wg.Wait()
}
