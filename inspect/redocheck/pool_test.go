package redocheck_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/inspect/redocheck"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/walredo/chooser"
	"github.com/stratapg/strata/walredo/native"
	"github.com/stratapg/strata/walredo/pgworker"
	"github.com/stratapg/strata/walredo/pool"
	"github.com/stratapg/strata/walredo/walredotest/processes"
)

// TestMain lets this test binary be the programs that a redo pool starts.
func TestMain(m *testing.M) {
	processes.ActAsWorker()
	os.Exit(m.Run())
}

// Redo in sandboxed processes covers what redo in Go covers, and both give the server's pages.
func (o oracle) testPool(t *testing.T) {
	exe, err := os.Executable()
	require.NoError(t, err)
	p, err := pool.New(pool.Options{Worker: pool.Native(exe)})
	require.NoError(t, err)
	both := chooser.New(native.New(), p, chooser.Verify)
	defer both.Close()
	got := o.check(t, func(opts *redocheck.Options) { opts.Redoer = both })
	require.Empty(t, got.First)
	require.Positive(t, got.Total.Equal)
	require.Equal(t, got.Total.Blocks, got.Total.Equal, "none differs, is uncovered or primed")
	require.Positive(t, both.Metrics().Compared)
	require.Zero(t, both.Metrics().Disagreements)
	m := p.Metrics()
	require.EqualValues(t, 1, m.Launches)
	require.Zero(t, m.Failed+m.Retries+m.Crashes)
	t.Logf("%d pages made in both ways", both.Metrics().Compared)
}

// Redo in Go and a server's own redo, record by record on the same stream without images but those that records
// bring themselves, give pages with every item in the same place.
// One record of so many is compared. CI has the headers of 15 alone.
func (o oracle) testLayout(t *testing.T, every int) {
	if o.version != pg.V15 && !processes.HasLibrary(o.version) {
		return
	}
	server := processes.PGServer(t, o.version)
	exe, err := os.Executable()
	require.NoError(t, err)
	p, err := pool.New(pool.Options{Worker: pgworker.Worker(exe, server)})
	require.NoError(t, err)
	both := &processes.Strict{A: native.New(), B: p, Every: int64(every)}
	defer both.Close()
	r := o.check(t, func(opts *redocheck.Options) { opts.Redoer = both })
	require.Empty(t, r.First)
	require.Zero(t, r.Total.Different)
	pages, identical := both.Compared()
	require.Positive(t, pages)
	m := p.Metrics()
	t.Logf("%d pages made in both ways, %d the same to the last byte; %+v", pages, identical, m)
	require.Equal(t, m.Pages, pages, "none was refused")
	require.EqualValues(t, 1, m.Launches)
	require.Zero(t, m.Failed+m.Retries+m.Crashes)
}
