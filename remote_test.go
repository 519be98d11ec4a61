package strata_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/remote"
	"github.com/stratapg/strata/remote/memstore"
)

// TestRemoteOptionsReportEveryFault: each of them is named.
func TestRemoteOptionsReportEveryFault(t *testing.T) {
	o := strata.Options{Dir: "x", Remote: strata.RemoteOptions{
		Storage: memstore.New(), Open: func(context.Context, string) (remote.Storage, error) { return memstore.New(), nil },
		Upload:   strata.UploadOptions{Parallel: -1, BytesPerSecond: -2, CloseTime: -3, DeleteDelay: -4},
		Download: strata.DownloadOptions{Concurrent: 5000, Stall: -5, Attempts: -6, Pause: -7},
		Evict:    strata.EvictOptions{EvictLimits: strata.EvictLimits{MaxUsagePct: 101, MinAvailBytes: -8, MaxBytes: -9, MaxAge: -10, CoveredAge: -11, ReserveBytes: -12}, Period: -13},

		HeatmapPeriod: -14,
	}}
	err := o.Validate()
	for _, want := range []string{"Parallel is -1", "BytesPerSecond is -2", "CloseTime is -3", "DeleteDelay is -4", "Concurrent is 5000", "Stall is -5", "Attempts is -6",
		"Pause is -7", "MaxUsagePct is 101", "MinAvailBytes is -8", "MaxBytes is -9", "MaxAge is -10", "CoveredAge is -11", "ReserveBytes is -12", "Evict.Period is -13",
		"HeatmapPeriod is -14", "exclude each other"} {
		require.ErrorContains(t, err, want)
	}
	o.Remote = strata.RemoteOptions{Evict: strata.EvictOptions{Period: time.Second, EvictLimits: strata.EvictLimits{ReserveBytes: 1}}}
	require.ErrorContains(t, o.Validate(), "nothing would ever be evicted")
	o.Remote.Evict.MaxBytes = 1
	require.NoError(t, o.Validate())
}

// TestRemoteConsistentLSN: what was uploaded is told, and counted.
func TestRemoteConsistentLSN(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	e := memory(t, strata.Options{Registerer: reg, Remote: strata.RemoteOptions{Storage: remote.Limit(memstore.New(), remote.LimitOptions{})}})
	tn, err := e.DefaultTenant(t.Context())
	require.NoError(t, err)
	const first = page.LSN(0x1500000)
	tl, err := tn.Create(t.Context(), strata.CreateOptions{Name: "main", Version: pg.V17, InitialLSN: first, WALSegSize: 16 << 20})
	require.NoError(t, err)
	var b page.Batch
	b.PutImage(page.RelTag{Spc: 1663, DB: 5, Rel: 16384}.Block(0), first+8, make([]byte, pg.BlockSize))
	b.End = first + 8
	require.NoError(t, tl.Put(t.Context(), &b))
	require.NoError(t, tl.Flush(t.Context()))
	require.NoError(t, tl.WaitUploads(t.Context()))
	require.Equal(t, first+8, tl.RemoteConsistentLSN())
	require.True(t, tl.UploadStatus().Idle())
	require.Eventually(t, func() bool { // somebody may be about to open it
		r, err := e.Evict(t.Context(), strata.EvictLimits{MaxAge: 1})
		require.NoError(t, err)
		return r.Layers == 1
	}, 10*time.Second, time.Millisecond)
	require.NoError(t, tl.Download(t.Context(), nil))
	families, err := reg.Gather()
	require.NoError(t, err)
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			got[strings.TrimPrefix(f.GetName(), "strata_")] += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	for _, name := range []string{"uploaded_layers_total", "downloaded_layers_total", "evicted_layers_total"} {
		require.EqualValues(t, 1, got[name], name)
	}
	for _, name := range []string{"remote_requests_total", "remote_request_seconds_total", "remote_request_bytes_total", "remote_turns"} {
		require.Positive(t, got[name], name)
	}
	require.Positive(t, e.RemoteRequests(remote.KindPut).Bytes)
	for _, name := range []string{"remote_requests_running", "remote_turns_waiting", "remote_turn_waits_total", "upload_debt_bytes", "upload_debt_waits_total", "remote_deletions_pending", "remote_deletions_total", "remote_deletions_dropped_total", "downloads_running"} {
		require.Contains(t, got, name)
		require.Zero(t, got[name], name)
	}
}
