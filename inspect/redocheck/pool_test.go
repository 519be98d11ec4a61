package redocheck_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/inspect/redocheck"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/walredo"
	"github.com/stratapg/strata/walredo/chooser"
	"github.com/stratapg/strata/walredo/native"
	"github.com/stratapg/strata/walredo/pool"
	"github.com/stratapg/strata/walredo/sandbox"
	"github.com/stratapg/strata/walredo/worker"
)

// TestMain lets this test binary be the program that a redo pool starts.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "redo-worker" {
		if err := serveRedo(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func serveRedo(args []string) error {
	f := flag.NewFlagSet("redo-worker", flag.ContinueOnError)
	version, flavour := f.Int("pg", 0, ""), f.String("flavour", "stock", "")
	checksums, report := f.Bool("checksums", false, ""), f.Bool("report-failures", false, "")
	if err := f.Parse(args); err != nil {
		return err
	}
	k := walredo.Kind{Version: pg.Version(*version), Checksums: *checksums}
	if err := k.Flavour.UnmarshalText([]byte(*flavour)); err != nil {
		return err
	}
	if _, err := sandbox.Enter(sandbox.Limits{}); err != nil {
		return err
	}
	return worker.Serve(context.Background(), os.Stdin, os.Stdout, worker.Options{Kind: k, Redoer: native.New(), ReportFailures: *report})
}

// Redo in sandboxed processes covers what redo in Go covers, and both give the server's pages.
func (o oracle) testPool(t *testing.T) {
	exe, err := os.Executable()
	require.NoError(t, err)
	p, err := pool.New(pool.Options{Worker: pool.Native(exe)})
	require.NoError(t, err)
	both := chooser.New(native.New(), p, chooser.Verify)
	defer both.Close()
	want := o.check(t, nil)
	got := o.check(t, func(opts *redocheck.Options) { opts.Redoer = both })
	require.Equal(t, want.Total, got.Total)
	require.Empty(t, got.First)
	require.Positive(t, both.Metrics().Compared)
	require.Zero(t, both.Metrics().Disagreements)
	m := p.Metrics()
	require.EqualValues(t, 1, m.Launches)
	require.Zero(t, m.Failed+m.Retries+m.Crashes)
	t.Logf("%d pages made in both ways", both.Metrics().Compared)
}
