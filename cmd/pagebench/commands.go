package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/stratapg/strata/bench/pagebench"
	"github.com/stratapg/strata/pageserver/client"
)

// serverFlags are those of all subcommands.
type serverFlags struct {
	api, pages, token string
	runtime           time.Duration
	limit             int
}

func (f *serverFlags) register(fs *pflag.FlagSet) {
	fs.StringVar(&f.api, "mgmt-api-endpoint", "http://localhost:9898", "URL of the management API")
	fs.StringVar(&f.pages, "page-service-connstring", "postgres://postgres@localhost:64000", "URL of the page service")
	fs.StringVar(&f.token, "pageserver-jwt", "", "token, where the server asks for one (or environment PAGESERVER_JWT)")
	fs.DurationVar(&f.runtime, "runtime", 0, "how long to measure; without it until an interrupt")
	fs.IntVar(&f.limit, "limit-to-first-n-targets", 0, "take the first so many targets, by id")
}

func (f *serverFlags) management() *pagebench.API {
	if f.token == "" {
		f.token = os.Getenv("PAGESERVER_JWT")
	}
	return &pagebench.API{Endpoint: f.api, Token: f.token}
}

// address gives host:port of the page service, and how to connect.
func (f *serverFlags) address() (string, client.Options, error) {
	u, err := url.Parse(f.pages)
	if err != nil {
		return "", client.Options{}, usageError{fmt.Errorf("--page-service-connstring: %w", err)}
	}
	if u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return "", client.Options{}, usageError{fmt.Errorf("--page-service-connstring: scheme %q: postgres:// is spoken here", u.Scheme)}
	}
	port := u.Port()
	if port == "" {
		port = "64000"
	}
	o := client.Options{Token: f.token}
	if p, ok := u.User.Password(); ok && o.Token == "" {
		o.Token = p
	}
	return net.JoinHostPort(u.Hostname(), port), o, nil
}

func parseTargets(args []string) (out []pagebench.Target, err error) {
	for _, a := range args {
		t, err := pagebench.ParseTarget(a)
		if err != nil {
			return nil, usageError{err}
		}
		out = append(out, t)
	}
	return out, nil
}

// targets finds what is to be asked.
func (f *serverFlags) targets(c *cobra.Command, args []string) ([]pagebench.Target, error) {
	named, err := parseTargets(args)
	if err != nil {
		return nil, err
	}
	return f.management().Discover(c.Context(), named, f.limit)
}

func printResult(c *cobra.Command, r pagebench.Result) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	fmt.Fprintf(c.ErrOrStderr(), "%.0f requests per second, %d missed\n", float64(r.Total.Count())/max(r.Elapsed.Seconds(), 1e-9), r.Missed)
	_, err = fmt.Fprintln(c.OutOrStdout(), string(text))
	return err
}

func newGetPage() *cobra.Command {
	var f serverFlags
	var g pagebench.GetPage
	var engine, mode, cache string
	var relnode uint32
	c := &cobra.Command{
		Use:   "get-page-latest-lsn [TENANT/TIMELINE ...]",
		Short: "Random pages of all relations: latency and number",
		Long: `Reads pages of relations, each equally likely, over pagestream_v3. A client keeps --queue-depth requests under way, or
begins --per-client-rate of them a second; those that could not begin in time are counted as missed. With --open-loop none
is missed, and latency counts from the time at which a request was to begin.

A batch of pages counts as one request. Nothing is counted during --warm-up.`,
		Example: "  pagebench get-page-latest-lsn --num-clients 4 --queue-depth 32 --runtime 10s",
		RunE: func(c *cobra.Command, args []string) error {
			if err := g.Validate(); err != nil {
				return usageError{err}
			}
			targets, err := f.targets(c, args)
			if err != nil {
				return err
			}
			api := f.management()
			if err := api.Configure(c.Context(), engine, mode); err != nil {
				return err
			}
			spaces, err := api.Keyspaces(c.Context(), targets, relnode, cache)
			if err != nil {
				return err
			}
			if g.Addr, g.Connect, err = f.address(); err != nil {
				return err
			}
			g.Runtime = f.runtime
			g.Progress = func(requests, missed float64) {
				fmt.Fprintf(c.ErrOrStderr(), "RPS: %.0f   MISSED: %.0f\n", requests, missed)
			}
			r, err := g.Run(c.Context(), spaces)
			if err != nil {
				return err
			}
			return printResult(c, r)
		},
	}
	fs := c.Flags()
	f.register(fs)
	fs.IntVar(&g.Clients, "num-clients", 1, "connections for each target")
	fs.IntVar(&g.QueueDepth, "queue-depth", 1, "requests that a client keeps under way")
	fs.IntVar(&g.BatchSize, "batch-size", 1, "consecutive pages that make a request")
	fs.Float64Var(&g.Rate, "per-client-rate", 0, "requests that each client begins in a second; 0 is as many as can be")
	fs.BoolVar(&g.OpenLoop, "open-loop", false, "with a rate, count latency from when a request was to begin")
	fs.Float64Var(&g.Latest, "req-latest-probability", 1, "how often the newest version is asked for rather than the one at a fixed LSN")
	fs.DurationVar(&g.WarmUp, "warm-up", 0, "how long nothing is counted at first")
	fs.Uint64Var(&g.Seed, "seed", 1, "of the pages chosen")
	fs.Uint32Var(&relnode, "only-relnode", 0, "pages of one relation only, by its file number")
	fs.StringVar(&cache, "keyspace-cache", "", "file that keeps the key spaces for the next run")
	fs.StringVar(&engine, "set-io-engine", "", "switch the server to an I/O engine first")
	fs.StringVar(&mode, "set-io-mode", "", "switch the server to an I/O mode first: buffered, direct or direct-rw")
	return c
}

func newBaseBackup() *cobra.Command {
	var f serverFlags
	var b pagebench.Backup
	c := &cobra.Command{
		Use:     "basebackup [TENANT/TIMELINE ...]",
		Short:   "Base backups as computes take them: latency and number",
		Long:    "Takes base backups of the last state again and again, one client for each target, and measures until the last byte.",
		Example: "  pagebench basebackup --runtime 10s",
		RunE: func(c *cobra.Command, args []string) error {
			targets, err := f.targets(c, args)
			if err != nil {
				return err
			}
			if b.Addr, b.Connect, err = f.address(); err != nil {
				return err
			}
			b.Runtime = f.runtime
			r, err := b.Run(c.Context(), targets)
			if err != nil {
				return err
			}
			return printResult(c, r)
		},
	}
	f.register(c.Flags())
	c.Flags().Int("num-clients", 1, "taken and ignored, as by Neon's: there is one client for each target")
	c.Flags().BoolVar(&b.NoCompression, "no-compression", false, "archives as they are, without gzip")
	return c
}

func newInitialSize() *cobra.Command {
	var f serverFlags
	var poll time.Duration
	c := &cobra.Command{
		Use:     "trigger-initial-size-calculation [TENANT/TIMELINE ...]",
		Short:   "Have the server reckon logical sizes",
		Example: "  pagebench trigger-initial-size-calculation --poll-for-completion 100ms",
		RunE: func(c *cobra.Command, args []string) error {
			targets, err := f.targets(c, args)
			if err != nil {
				return err
			}
			for _, t := range targets {
				for {
					size, accurate, err := f.management().InitialSizes(c.Context(), t)
					if err != nil {
						return err
					}
					if accurate || poll == 0 {
						fmt.Fprintf(c.ErrOrStderr(), "%s: %d bytes\n", t, size)
						break
					}
					select {
					case <-c.Context().Done():
						return c.Context().Err()
					case <-time.After(poll):
					}
				}
			}
			return nil
		},
	}
	f.register(c.Flags())
	c.Flags().DurationVar(&poll, "poll-for-completion", 0, "ask again so often until the size is known")
	return c
}
