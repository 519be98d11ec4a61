package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stratapg/strata/bench/pagebench"
	"github.com/stratapg/strata/cmd/internal/cli"
)

func newChurn() *cobra.Command {
	var f serverFlags
	var churn pagebench.Churn
	var engine string
	c := &cobra.Command{
		Use:   "ondemand-download-churn [TENANT/TIMELINE ...]",
		Short: "Evict layers and download them again, one by one at random",
		Long: `Evicts layers that are on the server's disk and downloads those that are not, over the management API. The server needs
remote storage. Calls that found nothing to do have the layers listed anew, which timeline_restarts counts.`,
		Example: "  pagebench ondemand-download-churn --concurrency-per-target 10 --runtime 30s",
		RunE: func(c *cobra.Command, args []string) error {
			churn.API, churn.Runtime = f.management(), f.runtime
			churn.Progress = func(n pagebench.Churned) {
				fmt.Fprintf(c.ErrOrStderr(), "evictions=%d/s downloads=%d/s download_bytes=%.2fMiB/s timeline_restarts=%d\n",
					n.Evictions, n.Downloads, float64(n.DownloadedBytes)/(1<<20), n.Restarts)
			}
			if err := churn.API.Configure(c.Context(), engine, ""); err != nil {
				return err
			}
			targets, err := f.targets(c, args)
			if err != nil {
				return err
			}
			r, err := churn.Run(c.Context(), targets)
			if err != nil {
				return err
			}
			return printJSON(c, r)
		},
	}
	fs := c.Flags()
	f.register(fs)
	fs.IntVar(&churn.Tasks, "tasks-per-target", 1, "lists of layers that are worked on for each target at once")
	fs.IntVar(&churn.Concurrency, "concurrency-per-target", 1, "calls under way for each list")
	fs.StringVar(&engine, "set-io-engine", "", "switch the server to an I/O engine first")
	fs.Uint64Var(&churn.Seed, "seed", 1, "of the layers chosen")
	return c
}

func newAuxFiles() *cobra.Command {
	var f serverFlags
	var a pagebench.Aux
	c := &cobra.Command{
		Use:     "aux-files [TENANT/TIMELINE]",
		Short:   "Write auxiliary files, and list them again and again",
		Long:    "Writes files of a timeline without WAL, which only a server for tests allows (strata serve --testing), and lists them.",
		Example: "  pagebench aux-files",
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 1 {
				return cli.Usagef("one target at most is wanted")
			}
			targets, err := f.targets(c, args)
			if err != nil {
				return err
			}
			a.API = f.management()
			a.Tell = func(line string) { fmt.Fprintln(c.OutOrStdout(), line) }
			return a.Run(c.Context(), targets[0])
		},
	}
	f.register(c.Flags())
	c.Flags().IntVar(&a.Batches, "batches", 100, "how many batches of files are written")
	c.Flags().IntVar(&a.Files, "files", 100, "files of a batch")
	c.Flags().IntVar(&a.Lists, "lists", 100, "how often all files are listed")
	return c
}

func newIdleStreams() *cobra.Command {
	var f serverFlags
	var i pagebench.Idle
	c := &cobra.Command{
		Use:   "idle-streams",
		Short: "Open many streams that ask for nothing, and see what they cost",
		Long: `Opens streams of pages of one timeline, over gRPC as Neon's does or, with a server postgres://, each on a connection of
its own; prints by how much the server's resident memory grew, as its metrics tell; and keeps them open for --runtime, or until an
interrupt.`,
		Example: "  pagebench idle-streams --server grpc://localhost:51051 --count 1000 --runtime 0s",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var err error
			if i.Way, err = f.way(false); err != nil {
				return err
			}
			f.limit = 1
			targets, err := f.targets(c, nil)
			if err != nil {
				return err
			}
			i.API = f.management()
			i.Progress = func(n int) { fmt.Fprintf(c.ErrOrStderr(), "opened %d/%d streams\n", n, i.Count) }
			r, closeAll, err := i.Open(c.Context(), targets[0])
			if err != nil {
				return err
			}
			defer closeAll()
			if err := printJSON(c, r); err != nil {
				return err
			}
			pagebench.Hold(c.Context(), f.runtime, c.Flags().Changed("runtime"))
			return nil
		},
	}
	fs := c.Flags()
	fs.StringVar(&f.pages, "server", "grpc://localhost:51051", "URL of the page service")
	fs.StringVar(&f.api, "http-server", "http://localhost:9898", "URL of the management API")
	fs.StringVar(&f.token, "pageserver-jwt", "", "token, where the server asks for one (or environment PAGESERVER_JWT)")
	fs.DurationVar(&f.runtime, "runtime", 0, "how long the streams are kept; without it until an interrupt")
	fs.IntVar(&i.Count, "count", 100000, "how many streams")
	fs.IntVar(&i.PerConnection, "per-connection", 100, "streams of one connection, over gRPC")
	fs.BoolVar(&i.SendRequest, "send-request", false, "have each stream ask for one page first")
	return c
}

// units of sizes, the longest first.
var units = []struct {
	name string
	size int64
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"", 1}}

func parseSize(s string) (int64, error) {
	for _, u := range units {
		if n, ok := strings.CutSuffix(s, u.name); ok {
			var v int64
			if _, err := fmt.Sscanf(n+";", "%d;", &v); err != nil || v < 0 || v > 1<<40/u.size {
				return 0, fmt.Errorf("%q: a number with KiB, MiB or GiB is wanted, 1 TiB at most", s)
			}
			return v * u.size, nil
		}
	}
	return 0, fmt.Errorf("%q is no size", s)
}
