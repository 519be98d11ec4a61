package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/cmd/internal/cli"
	"github.com/stratapg/strata/internal/sample"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/pageserver"
	"github.com/stratapg/strata/pageserver/manage"
	"github.com/stratapg/strata/pageserver/pageapi"
	"github.com/stratapg/strata/remote/remoteurl"
	"github.com/stratapg/strata/virtualfile"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// served is the sample cluster behind all three doors, with remote storage.
type served struct {
	api, pages, grpc string // URLs
	target, engine   string
	tl               *strata.Timeline
}

// extract unpacks the sample's cluster, with one database.
func extract(t *testing.T, dir string) {
	src, err := sample.Open(filepath.Join(testkit.RepoRoot(t), "testdata", "sample"))
	require.NoError(t, err)
	require.NoError(t, src.ExtractCluster(dir))
	for _, db := range []string{"4", "5"} {
		require.NoError(t, os.RemoveAll(filepath.Join(dir, "base", db)))
	}
}

func serve(t *testing.T) *served {
	dir := t.TempDir()
	extract(t, filepath.Join(dir, "cluster"))
	e, err := strata.Open(t.Context(), strata.Options{Dir: "/store", FS: virtualfile.NewMem(), CreateIfMissing: true,
		Remote: strata.RemoteOptions{URL: "file://" + t.TempDir(), Open: remoteurl.Open}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, e.Close()) })
	tn, err := e.DefaultTenant(t.Context())
	require.NoError(t, err)
	tl, _, err := tn.Import(t.Context(), strata.ImportOptions{PGData: filepath.Join(dir, "cluster"), Name: "main"})
	require.NoError(t, err)
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	api, err := manage.New(manage.Config{Engine: e, Testing: true, Gatherer: reg})
	require.NoError(t, err)
	web := httptest.NewServer(api)
	t.Cleanup(web.Close)
	pages, err := pageserver.New(pageserver.Config{Engine: e})
	require.NoError(t, err)
	calls, err := pageapi.New(pageapi.Config{Engine: e})
	require.NoError(t, err)
	return &served{api: web.URL, pages: "postgres://postgres@" + listen(t, pages.Serve), grpc: "grpc://" + listen(t, calls.Serve),
		target: tn.ID().String() + "/" + tl.Info().ID.String(), tl: tl, engine: e.Metrics().Disk.Engine.String()}
}

// listen serves at some address until the test ends.
func listen(t *testing.T, serve func(context.Context, net.Listener) error) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- serve(ctx, l) }()
	t.Cleanup(func() {
		stop()
		require.NoError(t, <-ended)
	})
	return l.Addr().String()
}

// flags are those by which the server is found.
func (s *served) flags() []string {
	return []string{"--mgmt-api-endpoint", s.api, "--page-service-connstring", s.pages}
}

// bench runs a subcommand that is to end with a code.
func (s *served) bench(t *testing.T, code int, args ...string) (stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	require.Equal(t, code, cli.Run(t.Context(), newRoot(), args, &out, &errs), "%v: %s", args, &errs)
	return out.String(), errs.String()
}

// measured runs a subcommand for as long as it takes to have a result, and looks at that.
func (s *served) measured(t *testing.T, args ...string) {
	t.Helper()
	for runtime := 100 * time.Millisecond; ; runtime *= 2 {
		out, errs := s.bench(t, 0, append(args, "--runtime", runtime.String())...)
		var o output
		dec := json.NewDecoder(strings.NewReader(out))
		dec.DisallowUnknownFields()
		require.NoError(t, dec.Decode(&o), out)
		require.Len(t, o.Total.Percentiles, 4)
		require.Contains(t, errs, "requests per second")
		if o.Total.Count > 0 {
			return
		}
		require.Less(t, runtime, time.Minute)
	}
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
	s := serve(t)
	target, tl := s.target, s.tl
	bench := func(code int, args ...string) (string, string) {
		t.Helper()
		return s.bench(t, code, append(args, s.flags()...)...)
	}
	measured := func(args ...string) {
		t.Helper()
		s.measured(t, append(args, s.flags()...)...)
	}
	measured("get-page-latest-lsn")
	measured("get-page-latest-lsn", target, "--num-clients", "2", "--queue-depth", "8", "--batch-size", "3", "--req-latest-probability", "0.5", "--warm-up", "50ms")
	measured("get-page-latest-lsn", "--per-client-rate", "100", "--open-loop", "--keyspace-cache", filepath.Join(t.TempDir(), "keys"))
	measured("get-page-latest-lsn", "--per-client-rate", "50", "--set-io-mode", "buffered")
	measured("basebackup", "--no-compression")
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
	plot := filepath.Join(t.TempDir(), "run.svg")
	measured("get-page-latest-lsn", "--plot", plot)
	svg, err := os.ReadFile(plot)
	require.NoError(t, err)
	require.Contains(t, string(svg), "latency by percentile")

	over := func(url string, args ...string) (int, string) {
		var out, errs bytes.Buffer
		code := cli.Run(t.Context(), newRoot(), append(args, "--page-service-connstring", url, "--mgmt-api-endpoint", s.api), &out, &errs)
		return code, out.String() + errs.String()
	}
	for _, args := range [][]string{{"--queue-depth", "4"}, {"--batch-size", "7", "--compression"}, {"--per-client-rate", "100", "--open-loop"}} {
		s.measured(t, append([]string{"get-page-latest-lsn", "--page-service-connstring", s.grpc, "--mgmt-api-endpoint", s.api}, args...)...)
	}
	for _, c := range [][]string{
		{"ftp://x", "postgres:// and grpc:// are spoken here", "get-page-latest-lsn", target},
		{s.pages, "only grpc:// has it", "get-page-latest-lsn", "--compression"},
		{s.pages, "the simple one", "get-page-latest-lsn", "--rich-client"},
		{s.grpc, "over postgres://", "basebackup"},
	} {
		code, said := over(c[0], c[2:]...)
		require.Equal(t, 2, code)
		require.Contains(t, said, c[1])
	}
}

// TestLayersAndStreams runs the subcommands that ask for no pages.
func TestLayersAndStreams(t *testing.T) {
	s := serve(t)
	require.Eventually(t, func() bool { // evictions need layers of which the manifest says that remote storage has them
		where, err := s.tl.Residence()
		return err == nil && len(where) > 0 && !slices.ContainsFunc(where, func(r strata.Residence) bool { return !r.Remote })
	}, time.Minute, time.Millisecond)
	var out string
	var churned map[string]any
	all := func() bool {
		for _, name := range []string{"downloads_count", "downloads_bytes", "evictions_count", "timeline_restarts"} {
			if n, ok := churned[name].(float64); !ok || n <= 0 {
				return false
			}
		}
		return true
	}
	for runtime := 200 * time.Millisecond; !all(); runtime *= 2 { // however busy the machine is
		require.Less(t, runtime, time.Minute, out)
		out, _ = s.bench(t, 0, append([]string{"ondemand-download-churn", "--runtime", runtime.String(), "--tasks-per-target", "2", "--concurrency-per-target", "3", "--set-io-engine", s.engine}, s.flags()...)...)
		require.NoError(t, json.Unmarshal([]byte(out), &churned))
	}
	require.Contains(t, churned, "runtime")

	out, _ = s.bench(t, 0, append([]string{"aux-files", "--batches", "3", "--files", "4", "--lists", "2"}, s.flags()...)...)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	require.Len(t, lines, 1+3+2)
	require.Equal(t, "operating on timeline "+s.target, lines[0])
	require.Equal(t, "ingested 4 files", lines[3])
	require.Regexp(t, `^12 files found in [0-9.e-]+s$`, lines[5])
	_, errs := s.bench(t, 2, "aux-files", s.target, s.target)
	require.Contains(t, errs, "one target at most")

	out, _ = s.bench(t, 0, append([]string{"ingest", "--volume", "4KiB", "--value-size", "64", "--batch", "8", "--keys", "20"}, s.flags()...)...)
	var put struct {
		output
		Bytes, Layers int64
	}
	require.NoError(t, json.Unmarshal([]byte(out), &put))
	require.EqualValues(t, 8, put.Total.Count)
	require.EqualValues(t, 4096, put.Bytes)
	require.Len(t, s.tl.Layers(), int(put.Layers))
	found, err := s.tl.Cluster(s.tl.LastRecordLSN()).AuxFiles(t.Context())
	require.NoError(t, err)
	require.Len(t, found, 12+20)

	for _, args := range [][]string{{"--server", s.grpc, "--per-connection", "7"}, {"--server", s.pages}} {
		out, _ = s.bench(t, 0, append([]string{"idle-streams", "--http-server", s.api, "--count", "30", "--runtime", "0s", "--send-request"}, args...)...)
		var idle struct{ Streams, Before, After int64 }
		require.NoError(t, json.Unmarshal([]byte(strings.NewReplacer("resident_bytes_", "").Replace(out)), &idle))
		require.EqualValues(t, 30, idle.Streams)
		require.Positive(t, idle.Before)
	}
}

// TestInProcess asks a store without any server, and makes one.
func TestInProcess(t *testing.T) {
	s := &served{}
	store := filepath.Join(t.TempDir(), "store")
	out, _ := s.bench(t, 0, "ingest", "--store", store, "--volume", "2MiB", "--value-size", "1000", "--keys", "500", "--random")
	var r struct {
		output
		Bytes int64 `json:"bytes"`
	}
	require.NoError(t, json.Unmarshal([]byte(out), &r))
	require.Positive(t, r.Total.Count)
	require.GreaterOrEqual(t, r.Bytes, int64(2<<20))
	for _, c := range [][]string{{"1", "there already", "--store", store}, {"2", "with --store none", "--store", store, "a/b"}, {"2", "1 TiB", "--store", store, "--volume", "9999GiB"}, {"2", "1 and more", "--store", store, "--batch", "0"}} {
		code, err := strconv.Atoi(c[0])
		require.NoError(t, err)
		_, errs := s.bench(t, code, append([]string{"ingest"}, c[2:]...)...)
		require.Contains(t, errs, c[1])
	}

	dir := t.TempDir()
	extract(t, filepath.Join(dir, "cluster"))
	e, err := strata.Open(t.Context(), strata.Options{Dir: filepath.Join(dir, "store"), CreateIfMissing: true})
	require.NoError(t, err)
	tn, err := e.DefaultTenant(t.Context())
	require.NoError(t, err)
	_, _, err = tn.Import(t.Context(), strata.ImportOptions{PGData: filepath.Join(dir, "cluster"), Name: "main"})
	require.NoError(t, err)
	require.NoError(t, e.Close())
	s.measured(t, "get-page-latest-lsn", "--store", filepath.Join(dir, "store"), "--queue-depth", "8", "--batch-size", "4", "--req-latest-probability", "0.5")
	s.measured(t, "basebackup", "--store", filepath.Join(dir, "store"))
	_, errs := s.bench(t, 2, "get-page-latest-lsn", "--store", filepath.Join(dir, "store"), "--set-io-mode", "direct")
	require.Contains(t, errs, "are for servers")
}
