package strata_test

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/page"
)

// TestImportOfAServerIntoShards: a running server goes into no single shard, and into no set of several; the error says what does.
func TestImportOfAServerIntoShards(t *testing.T) {
	e := memory(t, strata.Options{})
	var shards []*strata.Tenant
	for n := range uint8(2) {
		s, err := e.CreateShard(t.Context(), page.TenantID{7}, page.NewShardIdentity(n, 2, 8))
		require.NoError(t, err)
		_, _, err = s.Import(t.Context(), strata.ImportOptions{Name: "main", Server: "host=/nowhere"})
		require.ErrorContains(t, err, "pg_basebackup -Ft")
		require.Empty(t, s.Statuses())
		shards = append(shards, s)
	}
	set, err := strata.NewShardSet(shards...)
	require.NoError(t, err)
	_, _, err = set.Import(t.Context(), strata.ImportOptions{Name: "main", Server: "host=/nowhere"})
	require.ErrorContains(t, err, "pg_basebackup -Ft")
}

// TestImportMetrics: what imports did is told.
func TestImportMetrics(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	e := memory(t, strata.Options{Registerer: reg})
	tn, err := e.DefaultTenant(t.Context())
	require.NoError(t, err)
	_, _, err = tn.Import(t.Context(), strata.ImportOptions{Name: "main", PGData: t.TempDir()})
	require.Error(t, err)
	families, err := reg.Gather()
	require.NoError(t, err)
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.Metric {
			name := f.GetName()
			for _, l := range m.Label {
				if l.GetName() != "store" {
					name += " " + l.GetValue()
				}
			}
			got[name] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	for name, want := range map[string]float64{"strata_imports running": 0, "strata_imports interrupted": 0, "strata_imports_ended_total failed": 1,
		"strata_imports_ended_total finished": 0, "strata_import_jobs done": 0, "strata_import_pages all": 0, "strata_import_bytes all": 0,
		"strata_import_jobs_done_total": 0, "strata_import_pages_done_total": 0, "strata_import_retries_total": 0, "strata_import_checkpoints_total ok": 0} {
		require.Contains(t, got, name)
		require.Equal(t, want, got[name], name)
	}
}
