package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/bench/pagebench"
	"github.com/stratapg/strata/cmd/internal/cli"
	"github.com/stratapg/strata/pageserver/client"
	"github.com/stratapg/strata/remote/remoteurl"
)

// serverFlags are those of all subcommands.
type serverFlags struct {
	api, pages, token string
	store             string
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

// way says how pages are asked for.
func (f *serverFlags) way(compress bool) (w pagebench.Way, err error) {
	u, err := url.Parse(f.pages)
	if err != nil {
		return nil, cli.Usagef("--page-service-connstring: %w", err)
	}
	o := client.Options{Token: f.token}
	if p, ok := u.User.Password(); ok && o.Token == "" {
		o.Token = p
	}
	host := func(port string) string { return net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), port)) }
	switch {
	case u.Scheme == "grpc":
		return pagebench.GRPC{Addr: host("51051"), Token: o.Token, Compress: compress}, nil
	case u.Scheme != "postgres" && u.Scheme != "postgresql":
		return nil, cli.Usagef("--page-service-connstring: scheme %q: postgres:// and grpc:// are spoken here", u.Scheme)
	case compress:
		return nil, cli.Usagef("--compression: only grpc:// has it")
	}
	return pagebench.Pagestream{Addr: host("64000"), Connect: o}, nil
}

// inProcess registers the flag that takes the place of a server.
func (f *serverFlags) inProcess(fs *pflag.FlagSet) {
	fs.StringVar(&f.store, "store", "", "open this store in this process, to read only, and ask the library instead of a server")
}

// open opens the store of --store.
func (f *serverFlags) open(c *cobra.Command) (*strata.Engine, error) {
	return strata.Open(c.Context(), strata.Options{Dir: f.store, ReadOnly: true, Remote: strata.RemoteOptions{Open: remoteurl.Open}})
}

func parseTargets(args []string) (out []pagebench.Target, err error) {
	for _, a := range args {
		t, err := pagebench.ParseTarget(a)
		if err != nil {
			return nil, cli.Usage(err)
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

// targetsOfStore finds them in an engine.
func (f *serverFlags) targetsOfStore(l pagebench.Library, args []string) ([]pagebench.Target, error) {
	named, err := parseTargets(args)
	if err != nil {
		return nil, err
	}
	return l.Discover(named, f.limit)
}

func printJSON(c *cobra.Command, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err == nil {
		_, err = fmt.Fprintln(c.OutOrStdout(), string(text))
	}
	return err
}

func printResult(c *cobra.Command, r pagebench.Result, plot string) error {
	if plot != "" {
		if err := os.WriteFile(plot, r.Draw(c.Name()), 0o666); err != nil {
			return err
		}
	}
	fmt.Fprintf(c.ErrOrStderr(), "%.0f requests per second, %d missed\n", float64(r.Total.Count())/max(r.Elapsed.Seconds(), 1e-9), r.Missed)
	return printJSON(c, r)
}
