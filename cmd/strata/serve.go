package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/pageserver"
	"github.com/stratapg/strata/pageserver/auth"
	"github.com/stratapg/strata/pageserver/manage"
	"github.com/stratapg/strata/pageserver/pageapi"
	"github.com/stratapg/strata/pageserver/statuspage"
	"github.com/stratapg/strata/pageserver/tally"
)

// serveFlags are those of serve beside the store's.
type serveFlags struct {
	listen    string
	http      string
	grpc      string
	cert, key string
	authKeys  string
	audience  string
	testing   bool
	config    pageserver.Config
	limits    limitFlags
	backups   cacheFlags
}

func newServe() *cobra.Command {
	var f storeFlags
	var s serveFlags
	c := &cobra.Command{
		Use:   "serve",
		Short: "Serve pages and backups of all timelines to PostgreSQL computes",
		Long: `Opens the store and serves its timelines over the PostgreSQL wire protocol, as Neon's page service does, until it
is interrupted. Connections may ask for

  pagestream_v2 TENANT TIMELINE, pagestream_v3 TENANT TIMELINE    a stream of page requests
  basebackup TENANT TIMELINE [LSN|latest] [--gzip] [--replica]    what a Neon compute starts from
  fullbackup TENANT TIMELINE [LSN]                                a base backup that a stock server starts from
  lease lsn TENANT TIMELINE LSN                                   an LSN kept readable for ten minutes

with ids in hexadecimal; those of the store are printed at the start. With --auth-keys each client has to send a JSON Web
Token as its password, signed by Ed25519 or RSA (EdDSA, RS256), whose scope is "tenant" with a tenant_id, or "pageserverapi";
without, nobody is asked who they are: listen on a loopback address, or behind something that asks. With --tls-cert and
--tls-key TLS is required. All these files are read again when they change.

With --grpc the same is served over gRPC there, as Neon's page_api, with health checks and reflection; the token is then the
metadata "authorization: Bearer ...".

With --http the management API is served there too, with Neon's paths (/v1/tenant, .../timeline, .../keyspace and so on),
metrics and profiles; GET /openapi.json describes it, and / is a page for people.

With --basebackup-cache-dir base backups of clusters that were shut down are kept in that folder and sent from there;
the first who asks for one that is not there yet has it made, and others wait for it. docs/backups.md tells more.

WAL is not taken in by this process yet: a store has one process that writes, so ingest before.`,
		Example: "  strata import --pgdata /var/lib/postgresql/15/main\n  strata serve --listen 127.0.0.1:64000",
		Args:    exactArgs(0),
	}
	f.register(c.Flags())
	c.Flags().StringVar(&s.listen, "listen", "127.0.0.1:64000", "address of the page service")
	c.Flags().StringVar(&s.http, "http", "", "address of the management API, such as 127.0.0.1:9898; none without")
	c.Flags().StringVar(&s.grpc, "grpc", "", "address of the page service over gRPC, such as 127.0.0.1:51051; none without")
	c.Flags().StringVar(&s.cert, "tls-cert", "", "file with the certificate, PEM")
	c.Flags().StringVar(&s.key, "tls-key", "", "file with its key, PEM")
	c.Flags().StringVar(&s.authKeys, "auth-keys", "", "file, or folder of files, with the public keys of those who sign tokens, PEM")
	c.Flags().StringVar(&s.audience, "auth-audience", "", "name that a token's aud has to be or contain")
	c.Flags().BoolVar(&s.testing, "testing", false, "allow what changes a timeline without WAL, for pagebench aux-files; never where WAL is ingested too")
	s.limits.register(c.Flags())
	s.backups.register(c.Flags())
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		if (s.cert == "") != (s.key == "") {
			return usageError{errors.New("serve: --tls-cert and --tls-key belong together")}
		}
		if s.audience != "" && s.authKeys == "" {
			return usageError{errors.New("serve: --auth-audience is for tokens, which --auth-keys asks for")}
		}
		return runServe(cmd, f, s)
	}
	return c
}

func runServe(cmd *cobra.Command, f storeFlags, s serveFlags) (err error) {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	kept, err := s.backups.options()
	if err != nil {
		return err
	}
	engine, _, err := f.openTenant(cmd, strata.Options{Registerer: reg, BackupCache: kept})
	if err != nil {
		return err
	}
	defer func() { err = andAlso(err, engine.Close()) }()
	s.config.Engine, s.config.Logger = engine, warnings(cmd)
	s.limits.pages(&s.config)
	if err := s.secure(); err != nil {
		return err
	}
	pages, calls, api, err := s.servers(engine, reg)
	if err != nil {
		return err
	}
	if err := tellTimelines(cmd, engine); err != nil {
		return err
	}
	start := time.Now()
	if err := s.serve(cmd, pages, calls, api); err != nil {
		return err
	}
	m, g := pages.Metrics(), calls.Metrics()
	return closing{name: "serve"}.add("connections", m.Accepted+g.Accepted).add("pages", m.Pages+g.Pages).seconds(start).write(cmd.OutOrStdout(), f.json)
}

// servers makes the three servers of an engine.
func (s *serveFlags) servers(engine *strata.Engine, reg *prometheus.Registry) (*pageserver.Server, *pageapi.Server, *manage.Server, error) {
	c := s.config
	pages, err := pageserver.New(c)
	if err != nil {
		return nil, nil, nil, err
	}
	calls, err := pageapi.New(s.limits.callsOf(c))
	if err != nil {
		return nil, nil, nil, err
	}
	counts := tally.Collector{"pagestream": pages.Counts(), "grpc": calls.Counts()}
	reg.MustRegister(pages, calls, counts)
	api, err := manage.New(manage.Config{Engine: engine, Testing: s.testing, Auth: c.Auth, TLS: c.TLS, Gatherer: reg, Logger: c.Logger, Page: statuspage.New(engine, counts)})
	if err == nil {
		reg.MustRegister(api)
	}
	return pages, calls, api, err
}

// secure reads the certificate and the keys of tokens.
func (s *serveFlags) secure() (err error) {
	if s.cert != "" {
		c := &certificate{cert: s.cert, key: s.key}
		if _, err := c.get(nil); err != nil {
			return fmt.Errorf("serve: %w", err)
		}
		s.config.TLS, s.config.RequireTLS = &tls.Config{GetCertificate: c.get, MinVersion: tls.VersionTLS12}, true
	}
	if s.authKeys != "" {
		if s.config.Auth, err = auth.Open(s.authKeys, auth.Options{Audience: s.audience}); err != nil {
			return fmt.Errorf("serve: --auth-keys: %w", err)
		}
	}
	return nil
}

// tellTimelines prints what is served.
func tellTimelines(cmd *cobra.Command, engine *strata.Engine) error {
	for _, id := range engine.Tenants() {
		t, err := engine.Tenant(cmd.Context(), id)
		if err != nil {
			return err
		}
		for _, tl := range t.Timelines() {
			fmt.Fprintf(cmd.ErrOrStderr(), "serve: tenant %s timeline %s %s\n", id, tl.ID, tl.Name)
		}
	}
	return nil
}

// serve listens at all addresses until the command is interrupted, or one of them fails.
func (s *serveFlags) serve(cmd *cobra.Command, pages *pageserver.Server, calls *pageapi.Server, api *manage.Server) error {
	all, ctx := errgroup.WithContext(cmd.Context())
	begin := func(what, addr string, serve func(context.Context, net.Listener) error) error {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			return fmt.Errorf("serve: %w", err)
		}
		fmt.Fprintf(cmd.ErrOrStderr(), "serve: %s on %s\n", what, l.Addr())
		all.Go(func() error { return serve(ctx, l) })
		return nil
	}
	failed := func(err error) error {
		all.Go(func() error { return err })
		return all.Wait()
	}
	if s.http != "" {
		if err := begin("management API", s.http, api.Serve); err != nil {
			return failed(err)
		}
	}
	if s.grpc != "" {
		if err := begin("gRPC", s.grpc, calls.Serve); err != nil {
			return failed(err)
		}
	}
	if err := begin("listening", s.listen, pages.Serve); err != nil {
		return failed(err)
	}
	return all.Wait()
}
