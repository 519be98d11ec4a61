package tenant

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/timeline"
	"github.com/stratapg/strata/internal/upload/index"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/remote/memstore"
	"github.com/stratapg/strata/virtualfile"
)

// TestSecondary: layers that a heatmap names come to a store that has not attached the tenant, within the time that there is, and
// are there when it does; a writer that has just come keeps the heatmap as it was, and one that was replaced writes none.
func TestSecondary(t *testing.T) {
	const layers = 5
	id := page.TenantShardID{Tenant: remoteTenant}
	store := memstore.New()
	first, err := Open(t.Context(), remoteOptions(virtualfile.NewMem(), store))
	require.NoError(t, err)
	defer func() { require.NoError(t, first.Close()) }()
	last := fill(t, first, layers).LastRecordLSN()
	writer, err := first.Shard(id)
	require.NoError(t, err)

	g, fs := &remoteGate{Storage: store}, virtualfile.NewMem()
	o := remoteOptions(fs, g)
	o.DefaultTenant = page.TenantID{1}
	second, err := Open(t.Context(), o)
	require.NoError(t, err)
	defer func() { require.NoError(t, second.Close()) }()
	st, err := second.DownloadSecondary(t.Context(), id, nil)
	require.NoError(t, err)
	require.Equal(t, SecondaryStatus{}, st, "there is no heatmap yet")

	r, err := writer.WriteHeatmap(t.Context(), time.Minute)
	require.NoError(t, err)
	require.Equal(t, 1, r.Timelines)
	require.Equal(t, layers, r.Layers)
	_, err = first.DownloadSecondary(t.Context(), id, nil)
	require.ErrorIs(t, err, ErrTenantExists)

	// Nothing comes in the time that there is.
	open := g.close()
	short, cancel := context.WithCancel(t.Context())
	go func() {
		for g.open.Load() < layers {
			time.Sleep(time.Millisecond)
		}
		cancel()
	}()
	st, err = second.DownloadSecondary(short, id, nil)
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, layers, st.TotalLayers)
	require.Zero(t, st.Layers)
	open()
	var told []int
	st, err = second.DownloadSecondary(t.Context(), id, func(s SecondaryStatus) { told = append(told, s.Layers) })
	require.NoError(t, err)
	require.Equal(t, []int{0, 1, 2, 3, 4, 5}, told)
	require.Equal(t, timeline.DownloadProgress{Layers: layers, TotalLayers: layers, Bytes: r.Bytes, TotalBytes: r.Bytes}, st.DownloadProgress)
	require.False(t, st.Modified.IsZero())
	gets := g.gets.Load()
	st, err = second.DownloadSecondary(t.Context(), id, nil)
	require.NoError(t, err)
	require.Equal(t, layers, st.Layers)
	require.Equal(t, gets, g.gets.Load(), "what is here is not fetched again")

	_, tls, err := second.Attach(t.Context(), AttachOptions{Tenant: remoteTenant})
	require.NoError(t, err)
	for n := range uint32(layers) {
		requirePage(t, t.Context(), tls[0], n+1, last, firstLSN+page.LSN(8*(n+1)))
	}
	require.Equal(t, gets, g.gets.Load(), "all layers were here")
	names, err := fs.List(filepath.Join("store", "secondary", remoteTenant.String()))
	require.NoError(t, err)
	require.Empty(t, names)

	_, err = writer.WriteHeatmap(t.Context(), 0)
	require.ErrorIs(t, err, timeline.ErrStale)
	third, err := Open(t.Context(), remoteOptions(virtualfile.NewMem(), store))
	require.NoError(t, err)
	defer func() { require.NoError(t, third.Close()) }()
	tn, cold, err := third.Attach(t.Context(), AttachOptions{Tenant: remoteTenant})
	require.NoError(t, err)
	r, err = tn.WriteHeatmap(t.Context(), 0)
	require.NoError(t, err)
	require.Equal(t, layers, r.Layers, "it has none of them, and they are still wanted")
	// What was evicted since is not.
	require.NoError(t, cold[0].Download(t.Context(), nil))
	resident, _, err := cold[0].Resident()
	require.NoError(t, err)
	_, err = cold[0].Evict(t.Context(), resident[0].Desc)
	require.NoError(t, err)
	r, err = tn.WriteHeatmap(t.Context(), 0)
	require.NoError(t, err)
	require.Equal(t, layers-1, r.Layers)
	h, err := readHeatmap(t.Context(), store, tn.place(page.TimelineID{}))
	require.NoError(t, err)
	require.Len(t, h.of(cold[0].ID()), layers-1)
	require.Equal(t, "heatmap-v1.json", index.HeatmapName)
}

// TestSecondaryForgets: what a heatmap names no more leaves the disk.
func TestSecondaryForgets(t *testing.T) {
	id := page.TenantShardID{Tenant: remoteTenant}
	store := memstore.New()
	first, err := Open(t.Context(), remoteOptions(virtualfile.NewMem(), store))
	require.NoError(t, err)
	defer func() { require.NoError(t, first.Close()) }()
	tl := fill(t, first, 3)
	writer, err := first.Shard(id)
	require.NoError(t, err)
	_, err = writer.WriteHeatmap(t.Context(), 0)
	require.NoError(t, err)
	fs := virtualfile.NewMem()
	o := remoteOptions(fs, store)
	o.DefaultTenant = page.TenantID{1}
	second, err := Open(t.Context(), o)
	require.NoError(t, err)
	defer func() { require.NoError(t, second.Close()) }()
	_, err = second.DownloadSecondary(t.Context(), id, nil)
	require.NoError(t, err)
	resident, _, err := tl.Resident()
	require.NoError(t, err)
	_, err = tl.Evict(t.Context(), resident[0].Desc, resident[1].Desc)
	require.NoError(t, err)
	_, err = writer.WriteHeatmap(t.Context(), 0)
	require.NoError(t, err)
	st, err := second.DownloadSecondary(t.Context(), id, nil)
	require.NoError(t, err)
	require.Equal(t, 1, st.TotalLayers)
	names, err := fs.List(timeline.WarmDir("store", id, tl.ID()))
	require.NoError(t, err)
	require.Equal(t, []string{resident[2].Desc.FileName()}, names)
	require.NoError(t, second.ForgetSecondary(id))
	names, err = fs.List(filepath.Join("store", "secondary"))
	require.NoError(t, err)
	require.Empty(t, names)
}
