package strata_test

import (
	"context"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/virtualfile"
)

func TestOptionsReportEveryFault(t *testing.T) {
	err := strata.Options{
		ReadOnly: true, CreateIfMissing: true, CheckpointDistance: 1, Memory: 1, IOMode: 9, IOEngine: 9,
		Pressure: strata.Pressure{L0Slow: 5, L0Stop: 5}, CheckpointTimeout: strata.Every(-1), MaxFrozenLayers: -1, MaxOpenFiles: 1, ImageLayerSize: 1 << 40,
		ImageCompression: layer.Compression{Level: 23},
	}.Validate()
	for _, want := range []string{"Dir is empty", "exclude each other", "CheckpointDistance is 1", "MaxFrozenLayers is -1", "MaxOpenFiles is 1", "ImageLayerSize is 1099511627776",
		"Memory is 1", "IOMode is 9", "IOEngine is 9", "L0Slow is 5", "Every(-1ns)", "ImageCompression.Level is 23"} {
		require.ErrorContains(t, err, want)
	}
	require.NoError(t, strata.Options{Dir: "x"}.Validate())
	require.ErrorContains(t, strata.Options{Dir: "x", AllowDamaged: true}.Validate(), "AllowDamaged")
	require.ErrorContains(t, strata.Options{Dir: "x", Remote: strata.RemoteOptions{URL: "file:///y"}}.Validate(), "Remote.URL is set without Open")
	_, err = strata.Open(context.Background(), strata.Options{})
	require.ErrorContains(t, err, "Dir is empty")
}

func memory(t *testing.T, o strata.Options) *strata.Engine {
	if o.FS == nil {
		o.FS = virtualfile.NewMem()
	}
	o.Dir, o.CreateIfMissing = "store", true
	e, err := strata.Open(context.Background(), o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, e.Close()) })
	return e
}

func TestCreateReportsEveryFault(t *testing.T) {
	ctx := context.Background()
	tn, err := memory(t, strata.Options{}).DefaultTenant(ctx)
	require.NoError(t, err)
	_, err = tn.Create(ctx, strata.CreateOptions{Version: 9, Flavour: 7, WALSegSize: 3, InitialLSN: 4})
	for _, want := range []string{"no name", "Version is 9", "Flavour is 7", "WALSegSize is 3", "InitialLSN is 0/4"} {
		require.ErrorContains(t, err, want)
	}
	_, _, err = tn.Import(ctx, strata.ImportOptions{Name: "x", PGData: t.TempDir()})
	require.Error(t, err)
	require.Empty(t, tn.Timelines())
}

func TestMetricsAreRegisteredAndTakenBack(t *testing.T) {
	ctx := context.Background()
	reg := prometheus.NewPedanticRegistry()
	e := memory(t, strata.Options{Registerer: reg})
	tn, err := e.DefaultTenant(ctx)
	require.NoError(t, err)
	tl, err := tn.Create(ctx, strata.CreateOptions{Name: "main", Version: pg.V15, InitialLSN: 8})
	require.NoError(t, err)
	var b page.Batch
	b.PutImage(page.RelTag{Spc: 1663, DB: 1, Rel: 1}.Block(0), 16, []byte("x"))
	require.NoError(t, tl.Put(ctx, &b))
	require.NoError(t, tl.Flush(ctx))
	m := e.Metrics()
	require.EqualValues(t, 1, m.PutValues)
	require.EqualValues(t, 1, m.Flushes)
	families, err := reg.Gather()
	require.NoError(t, err)
	got := map[string]float64{}
	for _, f := range families {
		x := f.GetMetric()[0]
		got[f.GetName()] = x.GetCounter().GetValue() + x.GetGauge().GetValue()
	}
	require.EqualValues(t, 1, got["strata_put_values_total"])
	require.EqualValues(t, m.FlushBytes, got["strata_flush_bytes_total"])
	require.NoError(t, e.Close())
	families, err = reg.Gather()
	require.NoError(t, err)
	require.Empty(t, families)
}

func TestPageOfNothing(t *testing.T) {
	ctx := context.Background()
	tn, err := memory(t, strata.Options{}).DefaultTenant(ctx)
	require.NoError(t, err)
	tl, err := tn.Create(ctx, strata.CreateOptions{Name: "main", Version: pg.V15, InitialLSN: 0x1000})
	require.NoError(t, err)
	rel := page.RelTag{Spc: 1663, DB: 1, Rel: 1}
	_, err = tl.Page(ctx, rel, 0, 0x1000)
	require.ErrorIs(t, err, strata.ErrNotFound)
	_, err = tl.Page(ctx, rel, 0, 0x1008)
	require.ErrorIs(t, err, strata.ErrFutureLSN)
	require.ErrorContains(t, err, "ends at 0/1000")
	_, err = tl.Page(ctx, rel, 0, 0xFF8)
	require.ErrorIs(t, err, strata.ErrBeforeHistory)
	_, err = tl.ResolveLSN(ctx, 0xFF8)
	require.ErrorIs(t, err, strata.ErrBeforeHistory)
}
