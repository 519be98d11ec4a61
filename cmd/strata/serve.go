package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/spf13/cobra"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/pageserver"
	"github.com/stratapg/strata/pageserver/auth"
)

// serveFlags are those of serve beside the store's.
type serveFlags struct {
	listen    string
	cert, key string
	authKeys  string
	audience  string
	config    pageserver.Config
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
  fullbackup TENANT TIMELINE [LSN]                                a base backup that a stock server starts from
  lease lsn TENANT TIMELINE LSN                                   an LSN kept readable for ten minutes

with ids in hexadecimal; those of the store are printed at the start. With --auth-keys each client has to send a JSON Web
Token as its password, signed by Ed25519 or RSA (EdDSA, RS256), whose scope is "tenant" with a tenant_id, or "pageserverapi";
without, nobody is asked who they are: listen on a loopback address, or behind something that asks. With --tls-cert and
--tls-key TLS is required. All these files are read again when they change.

WAL is not taken in by this process yet: a store has one process that writes, so ingest before.`,
		Example: "  strata import --pgdata /var/lib/postgresql/15/main\n  strata serve --listen 127.0.0.1:64000",
		Args:    exactArgs(0),
	}
	f.register(c.Flags())
	c.Flags().StringVar(&s.listen, "listen", "127.0.0.1:64000", "address of the page service")
	c.Flags().StringVar(&s.cert, "tls-cert", "", "file with the certificate, PEM")
	c.Flags().StringVar(&s.key, "tls-key", "", "file with its key, PEM")
	c.Flags().StringVar(&s.authKeys, "auth-keys", "", "file, or folder of files, with the public keys of those who sign tokens, PEM")
	c.Flags().StringVar(&s.audience, "auth-audience", "", "name that a token's aud has to be or contain")
	c.Flags().IntVar(&s.config.Connections, "connections", 4096, "how many connections may be open")
	c.Flags().IntVar(&s.config.Batch, "batch", 32, "how many page requests of one stream are read at once")
	c.Flags().DurationVar(&s.config.WaitLSN, "wait-lsn", 5*time.Minute, "how long a request may wait for WAL")
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
	engine, _, err := f.openTenant(cmd, strata.Options{})
	if err != nil {
		return err
	}
	defer func() { err = andAlso(err, engine.Close()) }()
	s.config.Engine, s.config.Logger = engine, warnings(cmd)
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
	server, err := pageserver.New(s.config)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", s.listen)
	if err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	for _, id := range engine.Tenants() {
		t, err := engine.Tenant(cmd.Context(), id)
		if err != nil {
			return errors.Join(err, l.Close())
		}
		for _, tl := range t.Timelines() {
			fmt.Fprintf(cmd.ErrOrStderr(), "serve: tenant %s timeline %s %s\n", id, tl.ID, tl.Name)
		}
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "serve: listening on %s\n", l.Addr())
	start := time.Now()
	if err := server.Serve(cmd.Context(), l); err != nil {
		return err
	}
	m := server.Metrics()
	return closing{name: "serve"}.add("connections", m.Accepted).add("pages", m.Pages).seconds(start).write(cmd.OutOrStdout(), f.json)
}

// certificate is a pair of files, read again when they have changed. It may be used from many goroutines.
type certificate struct {
	cert, key string

	mu     sync.Mutex
	read   [2]time.Time // when the files were last changed
	loaded *tls.Certificate
}

// get is what a tls.Config asks. While new files cannot be read the old ones stay in use.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var changed [2]time.Time
	for i, name := range []string{c.cert, c.key} {
		if s, err := os.Stat(name); err == nil {
			changed[i] = s.ModTime()
		}
	}
	if c.loaded != nil && changed == c.read {
		return c.loaded, nil
	}
	loaded, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		if c.loaded != nil {
			return c.loaded, nil
		}
		return nil, fmt.Errorf("certificate %s with key %s: %w", c.cert, c.key, err)
	}
	c.loaded, c.read = &loaded, changed
	return c.loaded, nil
}
