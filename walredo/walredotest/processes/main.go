// Package processes gives tests redo in processes: the test binary as a worker, a stock server as one, and a comparison
// of two ways of redo that masks nothing.
package processes

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"

	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/walredo"
	"github.com/stratapg/strata/walredo/native"
	"github.com/stratapg/strata/walredo/pgworker"
	"github.com/stratapg/strata/walredo/sandbox"
	"github.com/stratapg/strata/walredo/worker"
)

// ActAsWorker makes a test binary the worker that a pool started it as, and does not return then. TestMain calls
// it first.
func ActAsWorker() {
	if len(os.Args) < 2 {
		return
	}
	var err error
	switch os.Args[1] {
	case "redo-worker":
		err = serveNative(os.Args[2:])
	case pgworker.Subcommand:
		err = servePG(os.Args[2:])
	default:
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// serveNative does what `strata redo-worker` does.
func serveNative(args []string) error {
	var k walredo.Kind
	f := flag.NewFlagSet("redo-worker", flag.ContinueOnError)
	version := f.Int("pg", 0, "")
	f.TextVar(&k.Flavour, "flavour", pg.Stock, "")
	f.BoolVar(&k.Checksums, "checksums", false, "")
	report := f.Bool("report-failures", false, "")
	if err := f.Parse(args); err != nil {
		return err
	}
	k.Version = pg.Version(*version)
	if err := sandbox.Cleanse(); err != nil {
		return err
	}
	if _, err := sandbox.Enter(sandbox.Limits{}); err != nil && !errors.Is(err, sandbox.ErrUnavailable) {
		return err
	}
	return worker.Serve(context.Background(), os.Stdin, os.Stdout, worker.Options{Kind: k, Redoer: native.New(), ReportFailures: *report})
}

// servePG does what `strata pg-redo-worker` does.
func servePG(args []string) error {
	var o pgworker.Options
	f := flag.NewFlagSet(pgworker.Subcommand, flag.ContinueOnError)
	o.Register(f)
	if err := f.Parse(args); err != nil {
		return err
	}
	return pgworker.Run(o)
}
