package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pageserver/client"
	"github.com/stratapg/strata/pageserver/pagestream"
)

// makeCertificate writes a certificate of a number, and its key.
func makeCertificate(t *testing.T, cert, key string, number int64) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	c := &x509.Certificate{SerialNumber: big.NewInt(number), DNSNames: []string{"localhost"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &k.PublicKey, k)
	require.NoError(t, err)
	secret, err := x509.MarshalPKCS8PrivateKey(k)
	require.NoError(t, err)
	for name, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: secret}} {
		require.NoError(t, os.WriteFile(name, pem.EncodeToMemory(block), 0o600))
		// Files of the same second are told apart by their nanoseconds, where there are any; be sure.
		require.NoError(t, os.Chtimes(name, time.Time{}, time.Unix(1_000_000+number, 0)))
	}
}

// TestServe starts the page service on an empty timeline, asks it over TLS, renews its certificate, and ends it.
func TestServe(t *testing.T) {
	dir := t.TempDir()
	store, cert, key := filepath.Join(dir, "store"), filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	e, err := strata.Open(t.Context(), strata.Options{Dir: store, CreateIfMissing: true})
	require.NoError(t, err)
	tn, err := e.DefaultTenant(t.Context())
	require.NoError(t, err)
	tl, err := tn.Create(t.Context(), strata.CreateOptions{Name: "main", Version: 17, InitialLSN: 0x1000})
	require.NoError(t, err)
	tenant, timeline := tn.ID(), tl.Info().ID
	require.NoError(t, e.Close())
	makeCertificate(t, cert, key, 1)

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	errs, told := io.Pipe()
	var out bytes.Buffer
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, []string{"serve", "--store", store, "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--tls-cert", cert, "--tls-key", key,
			"--answer-memory", "96MiB", "--grpc-answer-memory", "48MiB", "--grpc-calls", "77"}, &out, told)
		told.Close()
	}()
	addr, api, lines := "", "", bufio.NewScanner(errs)
	for addr == "" && lines.Scan() {
		if s, ok := strings.CutPrefix(lines.Text(), "serve: management API on "); ok {
			api = s
		}
		if s, ok := strings.CutPrefix(lines.Text(), "serve: tenant "); ok {
			require.Equal(t, tenant.String()+" timeline "+timeline.String()+" main", s)
		}
		addr, _ = strings.CutPrefix(lines.Text(), "serve: listening on ")
		if addr == lines.Text() {
			addr = ""
		}
	}
	require.NotEmpty(t, addr)
	go func() { _, _ = io.Copy(io.Discard, errs) }()

	web := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	for path, says := range map[string][]string{"/v1/tenant": {tenant.String()}, "/metrics": {"go_goroutines",
		"strata_pageserver_answer_bytes_limit 1.00663296e+08\n", "strata_pageapi_answer_bytes_limit 5.0331648e+07\n", "strata_pageapi_calls_limit 77\n"}} {
		r, err := web.Get("https://" + api + path)
		require.NoError(t, err)
		body, err := io.ReadAll(r.Body)
		require.NoError(t, err)
		require.NoError(t, r.Body.Close())
		for _, s := range says {
			require.Contains(t, string(body), s)
		}
	}
	var serial *big.Int
	ask := func() {
		c, err := client.Dial(t.Context(), addr, client.Options{TLS: &tls.Config{InsecureSkipVerify: true, VerifyConnection: func(s tls.ConnectionState) error {
			serial = s.PeerCertificates[0].SerialNumber
			return nil
		}}})
		require.NoError(t, err)
		defer c.Close()
		st, err := c.Stream(tenant, timeline, pagestream.V3)
		require.NoError(t, err)
		_, err = st.Ask(pagestream.Request{Kind: pagestream.Exists, LSN: 0x1000, NotModifiedSince: 0x1000, Rel: page.RelTag{Spc: 1663, DB: 5, Rel: 1}})
		require.Error(t, err, "a timeline without any database")
	}
	ask()
	require.EqualValues(t, 1, serial.Int64())
	makeCertificate(t, cert, key, 2)
	ask()
	require.EqualValues(t, 2, serial.Int64())
	require.NoError(t, os.WriteFile(key, []byte("half a key"), 0o600))
	ask()
	require.EqualValues(t, 2, serial.Int64(), "the old one as long as the new one cannot be read")
	_, err = client.Dial(t.Context(), addr, client.Options{})
	require.ErrorContains(t, err, "TLS only")

	stop()
	require.Zero(t, <-code)
	require.Regexp(t, `^serve: connections=4 pages=0 seconds=\S+\n$`, out.String())
}

// TestServeKeys: what is wrong with keys of tokens is said before anything is opened to the world.
func TestServeKeys(t *testing.T) {
	store := filepath.Join(t.TempDir(), "store")
	e, err := strata.Open(t.Context(), strata.Options{Dir: store, CreateIfMissing: true})
	require.NoError(t, err)
	require.NoError(t, e.Close())
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"--auth-audience", "pages"}, 2, "which --auth-keys asks for"},
		{[]string{"--auth-keys", store + ".pem"}, 1, "--auth-keys: stat " + store + ".pem"},
		{[]string{"--auth-keys", store}, 1, "there is no key in PEM form in it"},
	} {
		var out, errs bytes.Buffer
		code := run(t.Context(), append([]string{"serve", "--store", store, "--listen", "127.0.0.1:0"}, c.args...), &out, &errs)
		require.Equal(t, c.code, code, errs.String())
		require.Contains(t, errs.String(), c.says)
	}
}
