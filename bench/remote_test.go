package bench

import (
	"bytes"
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/internal/upload"
	"github.com/stratapg/strata/internal/upload/index"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/remote"
	"github.com/stratapg/strata/remote/localstore"
	"github.com/stratapg/strata/virtualfile"
)

var (
	manyTenant   = page.TenantID{0x3A}
	manyTimeline = page.TimelineID{0x3B}
)

// manyLayers is the index of a timeline of n layers: as many images as deltas, a thousand side by side.
func manyLayers(n int) *index.Part {
	const first, step, wide = 0x1500000, 1 << 20, 1000
	rel := page.RelTag{Spc: 1663, DB: 5, Rel: 16384}
	p := index.New()
	p.Metadata = index.Metadata{InitdbLSN: first, GCCutoffLSN: first, PgVersion: 17}
	lsn := page.LSN(first)
	for i := range n {
		if i%(2*wide) == 0 {
			lsn += step
		}
		at := uint32(i % wide)
		d := layer.Desc{Keys: page.Range{Start: rel.Block(at * 16384), End: rel.Block((at + 1) * 16384)}, LSNs: page.LSNRange{Start: lsn - step + 1, End: lsn + 1},
			Size: 128 << 20, Generation: 1, Checked: true}
		if i%(2*wide) >= wide {
			d.Image, d.LSNs.Start = true, lsn
		}
		if err := p.Layers.Put(index.Layer{Desc: d, Sum: index.Sum(i + 1)}); err != nil {
			panic(err)
		}
	}
	p.Metadata.DiskConsistentLSN = lsn
	p.Origin = &index.Origin{Name: "many", WALSegSize: 16 << 20, SystemID: 1, InitialLSN: first}
	return p
}

// manyStore is a remote that has nothing but the index of so many layers.
func manyStore(tb testing.TB, n int) remote.Storage {
	tb.Helper()
	s, err := localstore.Open(virtualfile.NewOS(), tb.TempDir())
	require.NoError(tb, err)
	b, err := manyLayers(n).Encode()
	require.NoError(tb, err)
	place := upload.Place{Tenant: manyTenant, Timeline: manyTimeline}
	_, err = s.Put(tb.Context(), place.IndexKey(1), bytes.NewReader(b), int64(len(b)), remote.PutOptions{})
	require.NoError(tb, err)
	return s
}

// attachMany attaches the timeline to a new store, and gives how long that took. It returns once its own index is in the remote.
func attachMany(tb testing.TB, s remote.Storage) (*strata.Engine, *strata.Timeline, time.Duration) {
	tb.Helper()
	e, err := strata.Open(tb.Context(), strata.Options{Dir: tb.TempDir(), CreateIfMissing: true, Remote: strata.RemoteOptions{Storage: s}})
	require.NoError(tb, err)
	start := time.Now()
	_, tls, err := e.Attach(tb.Context(), strata.AttachOptions{Tenant: manyTenant})
	took := time.Since(start)
	require.NoError(tb, err)
	require.Len(tb, tls, 1)
	return e, tls[0], took
}

func heapInUse() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestMemoryPerRemoteLayer attaches a timeline of very many layers, of which none is on the local disk.
func TestMemoryPerRemoteLayer(t *testing.T) {
	layers := testkit.Size(5_000, 50_000, 100_000)
	const most = 300
	s := manyStore(t, layers)
	defer s.Close()
	before := heapInUse()
	e, tl, took := attachMany(t, s)
	require.NoError(t, tl.WaitUploads(context.Background()))
	require.Len(t, tl.Layers(), layers)
	each := float64(heapInUse()-before) / float64(layers)
	t.Logf("%d layers in %s, %.0f bytes each", layers, took, each)
	require.NoError(t, e.Close())
	if layers >= 50_000 { // below that what every store has counts too much
		require.Less(t, each, float64(most))
	}
}

// BenchmarkAttachManyLayers attaches a timeline of 100,000 layers by its index.
func BenchmarkAttachManyLayers(b *testing.B) {
	s := manyStore(b, 100_000)
	defer s.Close()
	var sum time.Duration
	for b.Loop() {
		e, _, took := attachMany(b, s)
		sum += took
		b.StopTimer()
		require.NoError(b, e.Close())
		b.StartTimer()
	}
	b.ReportMetric(sum.Seconds()/float64(b.N), "s/attach")
}
