package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/internal/sample"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/pageserver"
	"github.com/stratapg/strata/pageserver/manage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve serves the sample cluster, and gives the flags by which it is found and the target's name.
func serve(t *testing.T) (flags []string, target string, tl *strata.Timeline) {
	src, err := sample.Open(filepath.Join(testkit.RepoRoot(t), "testdata", "sample"))
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, src.ExtractCluster(filepath.Join(dir, "cluster")))
	e, err := strata.Open(t.Context(), strata.Options{Dir: filepath.Join(dir, "store"), CreateIfMissing: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, e.Close()) })
	tn, err := e.DefaultTenant(t.Context())
	require.NoError(t, err)
	tl, _, err = tn.Import(t.Context(), strata.ImportOptions{PGData: filepath.Join(dir, "cluster"), Name: "main"})
	require.NoError(t, err)
	api, err := manage.New(manage.Config{Engine: e})
	require.NoError(t, err)
	web := httptest.NewServer(api)
	t.Cleanup(web.Close)
	pages, err := pageserver.New(pageserver.Config{Engine: e})
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- pages.Serve(ctx, l) }()
	t.Cleanup(func() {
		stop()
		require.NoError(t, <-ended)
	})
	return []string{"--mgmt-api-endpoint", web.URL, "--page-service-connstring", "postgres://postgres@" + l.Addr().String()},
		tn.ID().String() + "/" + tl.Info().ID.String(), tl
}

// output is what Neon's pagebench prints.
type output struct {
	Total struct {
		Count       int64             `json:"request_count"`
		Mean        string            `json:"latency_mean"`
		Percentiles map[string]string `json:"latency_percentiles"`
	}
}

// TestCommands runs each subcommand for a moment against a served cluster.
func TestCommands(t *testing.T) {
	flags, target, tl := serve(t)
	bench := func(code int, args ...string) (string, string) {
		t.Helper()
		var out, errs bytes.Buffer
		require.Equal(t, code, run(t.Context(), append(args, flags...), &out, &errs), "%s", &errs)
		return out.String(), errs.String()
	}
	measured := func(args ...string) (o output) {
		t.Helper()
		out, errs := bench(0, args...)
		dec := json.NewDecoder(strings.NewReader(out))
		dec.DisallowUnknownFields()
		require.NoError(t, dec.Decode(&o), out)
		require.Positive(t, o.Total.Count)
		require.Len(t, o.Total.Percentiles, 4)
		require.Contains(t, errs, "requests per second")
		return o
	}
	measured("get-page-latest-lsn", "--runtime", "300ms")
	measured("get-page-latest-lsn", target, "--runtime", "300ms", "--num-clients", "2", "--queue-depth", "8", "--batch-size", "3", "--req-latest-probability", "0.5", "--warm-up", "50ms")
	measured("get-page-latest-lsn", "--runtime", "300ms", "--per-client-rate", "100", "--open-loop", "--keyspace-cache", filepath.Join(t.TempDir(), "keys"))
	measured("get-page-latest-lsn", "--runtime", "300ms", "--per-client-rate", "50", "--set-io-mode", "buffered")
	measured("basebackup", "--runtime", "2s", "--no-compression")
	_, errs := bench(0, "trigger-initial-size-calculation")
	size, err := tl.LogicalSize(t.Context())
	require.NoError(t, err)
	require.Equal(t, target+": "+strconv.FormatInt(size.Bytes, 10)+" bytes\n", errs)

	for _, c := range []struct {
		code int
		says string
		args []string
	}{
		{2, "TENANT/TIMELINE", []string{"get-page-latest-lsn", "here"}},
		{2, "needs a rate", []string{"get-page-latest-lsn", "--open-loop"}},
		{2, "0 to 1 is wanted", []string{"get-page-latest-lsn", "--req-latest-probability", "2"}},
		{2, "unknown flag", []string{"get-page-latest-lsn", "--colour"}},
		{1, "fewer than 5", []string{"get-page-latest-lsn", "--limit-to-first-n-targets", "5"}},
		{1, "no blocks of relations", []string{"get-page-latest-lsn", "--only-relnode", "1"}},
		{1, "there is no I/O mode", []string{"get-page-latest-lsn", "--set-io-mode", "fast"}},
		{1, "404", []string{"get-page-latest-lsn", strings.Repeat("1", 32) + "/" + strings.Repeat("2", 32)}},
	} {
		out, errs := bench(c.code, c.args...)
		require.Empty(t, out)
		require.Contains(t, errs, c.says)
	}
	var out, said bytes.Buffer
	require.Equal(t, 2, run(t.Context(), []string{"get-page-latest-lsn", target, "--page-service-connstring", "grpc://x", flags[0], flags[1]}, &out, &said))
	require.Contains(t, said.String(), "postgres:// is spoken here")
}
