package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/stratapg/strata/bench/pagebench"
	"github.com/stratapg/strata/cmd/internal/cli"
)

// getPageFlags are those of get-page-latest-lsn beside the measurement's own.
type getPageFlags struct {
	serverFlags
	g                         pagebench.GetPage
	engine, mode, cache, plot string
	relnode                   uint32
	compression, richClient   bool
}

func newGetPage() *cobra.Command {
	var f getPageFlags
	c := &cobra.Command{
		Use:   "get-page-latest-lsn [TENANT/TIMELINE ...]",
		Short: "Random pages of all relations: latency and number",
		Long: `Reads pages of relations, each equally likely, over pagestream_v3 (postgres://) or gRPC (grpc://), or of a store in this process
(--store). A client keeps --queue-depth requests under way, or begins --per-client-rate of them a second; those that could not
begin in time are counted as missed. With --open-loop none is missed, and latency counts from the time at which a request was
to begin.

A batch of pages counts as one request. Nothing is counted during --warm-up. With --plot latencies by percentile and the
throughput over time are drawn into an SVG file.`,
		Example: "  pagebench get-page-latest-lsn --num-clients 4 --queue-depth 32 --runtime 10s --plot run.svg\n  pagebench get-page-latest-lsn --store ./strata-data --runtime 10s",
		RunE: func(c *cobra.Command, args []string) error {
			f.g.Runtime = f.runtime
			f.g.Progress = func(requests, missed float64) {
				fmt.Fprintf(c.ErrOrStderr(), "RPS: %.0f   MISSED: %.0f\n", requests, missed)
			}
			if err := f.g.Validate(); err != nil {
				return cli.Usage(err)
			}
			r, err := f.run(c, args)
			if err != nil {
				return err
			}
			return printResult(c, r, f.plot)
		},
	}
	fs, g := c.Flags(), &f.g
	f.register(fs)
	f.inProcess(fs)
	fs.IntVar(&g.Clients, "num-clients", 1, "connections for each target")
	fs.IntVar(&g.QueueDepth, "queue-depth", 1, "requests that a client keeps under way")
	fs.IntVar(&g.BatchSize, "batch-size", 1, "consecutive pages that make a request")
	fs.Float64Var(&g.Rate, "per-client-rate", 0, "requests that each client begins in a second; 0 is as many as can be")
	fs.BoolVar(&g.OpenLoop, "open-loop", false, "with a rate, count latency from when a request was to begin")
	fs.Float64Var(&g.Latest, "req-latest-probability", 1, "how often the newest version is asked for rather than the one at a fixed LSN")
	fs.DurationVar(&g.WarmUp, "warm-up", 0, "how long nothing is counted at first")
	fs.Uint64Var(&g.Seed, "seed", 1, "of the pages chosen")
	fs.Uint32Var(&f.relnode, "only-relnode", 0, "pages of one relation only, by its file number")
	fs.StringVar(&f.cache, "keyspace-cache", "", "file that keeps the key spaces for the next run")
	fs.StringVar(&f.engine, "set-io-engine", "", "switch the server to an I/O engine first")
	fs.StringVar(&f.mode, "set-io-mode", "", "switch the server to an I/O mode first: buffered, direct or direct-rw")
	fs.BoolVar(&f.compression, "compression", false, "compress messages, over grpc:// alone (gzip, where Neon's has zstd)")
	fs.BoolVar(&f.richClient, "rich-client", false, "Neon's pooling client; there is none here")
	fs.StringVar(&f.plot, "plot", "", "SVG file for latencies and throughput")
	return c
}

func (f *getPageFlags) run(c *cobra.Command, args []string) (pagebench.Result, error) {
	if f.richClient {
		return pagebench.Result{}, cli.Usagef("--rich-client: this pagebench has one client for each protocol, the simple one")
	}
	if f.store != "" {
		return f.runInProcess(c, args)
	}
	var err error
	if f.g.Way, err = f.way(f.compression); err != nil {
		return pagebench.Result{}, err
	}
	api := f.management()
	targets, err := f.targets(c, args)
	if err != nil {
		return pagebench.Result{}, err
	}
	if err := api.Configure(c.Context(), f.engine, f.mode); err != nil {
		return pagebench.Result{}, err
	}
	spaces, err := api.Keyspaces(c.Context(), targets, f.relnode, f.cache)
	if err != nil {
		return pagebench.Result{}, err
	}
	return f.g.Run(c.Context(), spaces)
}

func (f *getPageFlags) runInProcess(c *cobra.Command, args []string) (r pagebench.Result, err error) {
	if f.engine+f.mode+f.cache != "" {
		return r, cli.Usagef("--set-io-engine, --set-io-mode and --keyspace-cache are for servers")
	}
	e, err := f.open(c)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	l := pagebench.Library{Engine: e}
	targets, err := f.targetsOfStore(l, args)
	if err != nil {
		return r, err
	}
	spaces, err := l.Keyspaces(c.Context(), targets, f.relnode)
	if err != nil {
		return r, err
	}
	f.g.Way = l
	return f.g.Run(c.Context(), spaces)
}
