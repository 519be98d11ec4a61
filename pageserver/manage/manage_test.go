package manage_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/internal/sample"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pageserver/auth"
	"github.com/stratapg/strata/pageserver/manage"
)

func TestMain(m *testing.M) { os.Exit(runAll(m)) }

func runAll(m *testing.M) int {
	dir, err := os.MkdirTemp("", "strata-manage")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	workDir = dir
	code := m.Run()
	if cluster.e != nil {
		err = cluster.e.Close()
	}
	if err := cmp.Or(err, goleak.Find()); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// cluster is the sample in a store, which all tests share.
var (
	workDir string
	making  sync.Once
	cluster struct {
		e   *strata.Engine
		reg *prometheus.Registry
	}
)

func makeCluster(t *testing.T) {
	t.Helper()
	src, err := sample.Open(filepath.Join(testkit.RepoRoot(t), "testdata", "sample"))
	require.NoError(t, err)
	data := filepath.Join(workDir, "cluster")
	require.NoError(t, src.ExtractCluster(data))
	cluster.reg = prometheus.NewRegistry()
	ctx := context.Background() // it lives longer than the test that happens to make it
	cluster.e, err = strata.Open(ctx, strata.Options{Dir: filepath.Join(workDir, "store"), CreateIfMissing: true, Registerer: cluster.reg, GC: strata.GarbageCollection{PITR: -1}})
	require.NoError(t, err)
	tn, err := cluster.e.DefaultTenant(ctx)
	require.NoError(t, err)
	_, _, err = tn.Import(ctx, strata.ImportOptions{PGData: data, Name: "main"})
	require.NoError(t, err)
}

// served is the sample cluster behind the API.
type served struct {
	t      *testing.T
	e      *strata.Engine
	tn     *strata.Tenant
	tl     *strata.Timeline
	h      http.Handler
	tenant string // path
	path   string // of the timeline
	token  string
}

func serve(t *testing.T, c manage.Config) *served {
	t.Helper()
	making.Do(func() { makeCluster(t) })
	c.Engine, c.Gatherer = cluster.e, cluster.reg
	tn, err := c.Engine.DefaultTenant(t.Context())
	require.NoError(t, err)
	tl, err := tn.Timeline(t.Context(), "main")
	require.NoError(t, err)
	s, err := manage.New(c)
	require.NoError(t, err)
	tenant := "/v1/tenant/" + tn.ID().String()
	return &served{t: t, e: c.Engine, tn: tn, tl: tl, h: s, tenant: tenant, path: tenant + "/timeline/" + tl.Info().ID.String()}
}

// ask sends a request and gives the answer.
func (s *served) ask(method, path, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(s.t.Context(), method, path, strings.NewReader(body))
	if s.token != "" {
		r.Header.Set("Authorization", "Bearer "+s.token)
	}
	w := httptest.NewRecorder()
	s.h.ServeHTTP(w, r)
	return w
}

// get sends a request that must succeed, and takes its JSON.
func (s *served) get(method, path, body string, code int, out any) {
	s.t.Helper()
	w := s.ask(method, path, body)
	require.Equal(s.t, code, w.Code, "%s %s: %s", method, path, w.Body)
	require.Equal(s.t, "application/json", w.Header().Get("Content-Type"))
	require.NotEmpty(s.t, w.Header().Get("PAGESERVER_LAUNCH_TIMESTAMP"))
	if out != nil {
		require.NoError(s.t, json.Unmarshal(w.Body.Bytes(), out))
	}
}

// refused sends a request that must fail.
func (s *served) refused(method, path, body string, code int, says string) {
	s.t.Helper()
	var out struct{ Msg string }
	s.get(method, path, body, code, &out)
	require.Contains(s.t, out.Msg, says)
}

type object = map[string]any

// TestWhatPagebenchAsks goes the way of Neon's pagebench: tenants, their timelines, and each one's key space, of which every block of
// a relation can be read.
func TestWhatPagebenchAsks(t *testing.T) {
	s := serve(t, manage.Config{NodeID: 7})
	var status object
	s.get("GET", "/v1/status", "", 200, &status)
	require.EqualValues(t, 7, status["id"])
	var tenants []object
	s.get("GET", "/v1/tenant", "null", 200, &tenants)
	require.Len(t, tenants, 1)
	require.Equal(t, s.tn.ID().String(), tenants[0]["id"])
	require.Equal(t, object{"slug": "Active"}, tenants[0]["state"])
	require.Equal(t, object{"slug": "attached"}, tenants[0]["attachment_status"])
	var details object
	s.get("GET", s.tenant, "null", 200, &details)
	require.Equal(t, []any{s.tl.Info().ID.String()}, details["timelines"])
	require.Contains(t, details, "walredo")

	var tl object
	s.get("GET", s.path+"?force-await-logical-size=true", "", 200, &tl)
	for _, must := range []string{"tenant_id", "timeline_id", "last_record_lsn", "disk_consistent_lsn", "remote_consistent_lsn", "remote_consistent_lsn_visible",
		"initdb_lsn", "current_logical_size", "current_logical_size_is_accurate", "directory_entries_counts", "pitr_history_size", "within_ancestor_pitr",
		"pg_version", "state", "walreceiver_status"} {
		require.Contains(t, tl, must, "Neon's client cannot parse an answer without it")
	}
	require.EqualValues(t, 15, tl["pg_version"])
	require.Equal(t, true, tl["current_logical_size_is_accurate"])
	size, err := s.tl.LogicalSize(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, size.Bytes, tl["current_logical_size"])

	var keys struct {
		Keys   [][2]string `json:"keys"`
		Sparse [][2]string `json:"sparse_keys"`
		At     page.LSN    `json:"at_lsn"`
	}
	s.get("GET", s.path+"/keyspace", "", 200, &keys)
	require.Equal(t, s.tl.LastRecordLSN(), keys.At)
	require.NotEmpty(t, keys.Sparse)
	var ranges []page.Range
	for _, r := range keys.Keys {
		start, err := page.ParseKey(r[0])
		require.NoError(t, err)
		end, err := page.ParseKey(r[1])
		require.NoError(t, err)
		ranges = append(ranges, page.Range{Start: start, End: end})
	}
	blocks, all := 0, page.NewSet(ranges...)
	require.NoError(t, s.tl.GetVectored(t.Context(), all, keys.At, func(k page.Key, v []byte, err error) error {
		if _, _, ok := k.RelBlock(); ok {
			blocks++
		}
		return err
	}))
	require.EqualValues(t, size.Bytes/8192, blocks, "the key space has each block of each relation")
}

// TestWork makes layers, looks at them, and has them compacted and collected.
func TestWork(t *testing.T) {
	s := serve(t, manage.Config{})
	var layers struct {
		Historic []object `json:"historic_layers"`
		Memory   []object `json:"in_memory_layers"`
	}
	s.get("PUT", s.path+"/checkpoint", "", 200, nil)
	s.get("GET", s.path+"/layer", "", 200, &layers)
	require.Len(t, layers.Historic, len(s.tl.Layers()))
	for _, l := range layers.Historic {
		require.Contains(t, []any{"Delta", "Image"}, l["kind"])
		require.Equal(t, l["kind"] == "Delta", l["lsn_end"] != nil)
	}
	var compacted, collected object
	s.get("PUT", s.path+"/compact?force_image_layer_creation=true", "null", 200, &compacted)
	require.Contains(t, compacted, "jobs")
	require.EqualValues(t, len(s.tl.Layers()), compacted["layers"])

	last := s.tl.LastRecordLSN()
	var lease object
	s.get("POST", s.path+"/lsn_lease", fmt.Sprintf(`{"lsn":%q}`, last), 200, &lease)
	until, err := time.Parse(time.RFC3339, lease["valid_until"].(string))
	require.NoError(t, err)
	require.WithinDuration(t, time.Now().Add(10*time.Minute), until, time.Minute)
	s.get("PUT", s.path+"/do_gc", "", 200, &collected)
	require.Contains(t, collected["limit"], "are kept")
	s.get("PUT", s.path+"/do_gc", `{"gc_horizon":0}`, 200, &collected)
	require.Equal(t, last.String(), collected["cutoff"])

	var value object
	key := page.ControlFileKey.String()
	s.get("GET", s.path+"/getpage?key="+key, "", 200, &value)
	want, err := s.tl.Get(t.Context(), page.ControlFileKey, last)
	require.NoError(t, err)
	require.Equal(t, fmt.Sprintf("%x", want), value["value"])
	s.refused("GET", s.path+"/getpage?key=7", "", 400, "key")

	var at object
	s.get("GET", s.path+"/get_lsn_by_timestamp?timestamp=2200-01-02T03:04:05Z&with_lease=true", "", 200, &at)
	require.Contains(t, []any{"future", "nodata"}, at["kind"])
	s.refused("GET", s.path+"/get_lsn_by_timestamp?timestamp=yesterday", "", 400, "is the form")

	s.get("PUT", "/v1/io_mode", `"buffered"`, 200, nil)
	s.refused("PUT", "/v1/io_mode", `"fast"`, 400, "there is no I/O mode")
	s.refused("PUT", "/v1/io_engine", `"fast"`, 400, "there is no I/O engine")
	s.get("PUT", "/v1/io_engine", fmt.Sprintf("%q", s.e.Metrics().Disk.Engine.String()), 200, nil)

	w := s.ask("GET", "/metrics", "")
	require.Equal(t, 200, w.Code)
	require.Contains(t, w.Body.String(), "strata_timelines")
}

// TestBranches makes a branch, twice, archives it and deletes it.
func TestBranches(t *testing.T) {
	s := serve(t, manage.Config{})
	id, parent := page.TimelineID{1, 2}, s.tl.Info().ID
	body := fmt.Sprintf(`{"new_timeline_id":%q,"ancestor_timeline_id":%q,"name":"twig"}`, id, parent)
	var out object
	for range 2 {
		s.get("POST", s.tenant+"/timeline", body, 201, &out)
		require.Equal(t, parent.String(), out["ancestor_timeline_id"])
		require.Equal(t, s.tl.LastRecordLSN().String(), out["ancestor_lsn"])
		require.Equal(t, "twig", out["name"])
	}
	s.refused("POST", s.tenant+"/timeline", fmt.Sprintf(`{"new_timeline_id":%q,"ancestor_timeline_id":%q}`, parent, id), 409, "another one")
	s.refused("POST", s.tenant+"/timeline", fmt.Sprintf(`{"new_timeline_id":%q,"ancestor_timeline_id":%q,"ancestor_start_lsn":"FF/0"}`, page.TimelineID{9}, parent), 406, "LSN")
	s.refused("POST", s.tenant+"/timeline", fmt.Sprintf(`{"new_timeline_id":%q,"pg_version":17}`, page.TimelineID{9}), 400, "strata import")
	s.refused("POST", s.tenant+"/timeline", `{"ancestor`, 400, "the body")
	var all []object
	s.get("GET", s.tenant+"/timeline", "", 200, &all)
	require.Len(t, all, 2)

	s.refused("DELETE", s.path, "", 412, "branch")
	branch := s.tenant + "/timeline/" + id.String()
	s.get("PUT", branch+"/archival_config", `{"state":"Archived"}`, 200, nil)
	s.get("GET", branch, "", 200, &out)
	require.Equal(t, true, out["is_archived"])
	s.refused("PUT", branch+"/archival_config", `{"state":"gone"}`, 400, "Archived and Unarchived")
	s.get("DELETE", branch, "", 200, nil)
	s.refused("DELETE", branch, "", 404, "")
	s.refused("GET", branch, "", 404, "")
}

// TestTenants makes and detaches tenants.
func TestTenants(t *testing.T) {
	s := serve(t, manage.Config{})
	id := page.TenantID{5}
	s.get("POST", "/v1/tenant", fmt.Sprintf(`{"new_tenant_id":%q}`, id), 201, nil)
	s.refused("POST", "/v1/tenant", fmt.Sprintf(`{"new_tenant_id":%q}`, id), 409, id.String())
	other := page.TenantID{6}
	for range 2 {
		s.get("PUT", "/v1/tenant/"+other.String()+"/location_config", `{"mode":"AttachedSingle","generation":1,"tenant_conf":{}}`, 200, nil)
	}
	s.refused("PUT", "/v1/tenant/"+other.String()+"/location_config", `{"mode":"Secondary"}`, 400, "Secondary")
	var all []object
	s.get("GET", "/v1/tenant", "", 200, &all)
	require.Len(t, all, 3)
	s.refused("GET", "/v1/tenant/"+page.TenantID{8}.String(), "", 404, "")
	s.refused("GET", "/v1/tenant/xyz", "", 400, "xyz")
	w := s.ask("GET", s.tenant+"/synthetic_size", "")
	require.Equal(t, 200, w.Code, w.Body)
	require.Contains(t, w.Body.String(), `"size":`)
}

// TestRefusals: what is not there, too large or not understood is said so.
func TestRefusals(t *testing.T) {
	s := serve(t, manage.Config{MaxBody: 100})
	s.refused("GET", "/v1/nothing", "", 404, "/openapi.json")
	s.refused("PATCH", "/v1/tenant", "", 405, "there is no PATCH /v1/tenant")
	s.refused("GET", "/v1/tenant?colour=red", "", 400, "colour")
	s.refused("POST", "/v1/tenant", `{"new_tenant_id":"`+strings.Repeat("0", 200)+`"}`, 413, "more than 100 bytes")
	s.refused("PUT", s.path+"/checkpoint?compact=perhaps", "", 400, "true or false is wanted")
	s.refused("GET", s.path+"/keyspace?at_lsn=here", "", 400, "at_lsn")
	s.refused("GET", s.path+"/keyspace?at_lsn=FFFF/0", "", 412, "")
	s.refused("PUT", s.path+"/do_gc", fmt.Sprintf(`{"gc_horizon":%d}`, uint64(1)<<63), 400, "more than there can be")
	s.refused("POST", "/v1/reload_auth_validation_keys", "", 400, "asks for no tokens")
	_, err := manage.New(manage.Config{})
	require.ErrorContains(t, err, "needs an engine")
}

// paths gives each route of the description, with ids in place of parameters.
func (s *served) routes() (out [][2]string) {
	var doc struct {
		Paths map[string]map[string]object
	}
	s.get("GET", "/openapi.json", "", 200, &doc)
	for path, methods := range doc.Paths {
		for method := range methods {
			path = strings.NewReplacer("{tenant}", s.tn.ID().String(), "{timeline}", s.tl.Info().ID.String()).Replace(path)
			out = append(out, [2]string{strings.ToUpper(method), path})
		}
	}
	require.Greater(s.t, len(out), 25)
	return out
}

// TestWhoMay asks for every route that the description names, with each kind of token. What it allows fails for want of a
// good body at most, never for want of a right.
func TestWhoMay(t *testing.T) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	der, err := x509.MarshalPKIXPublicKey(public)
	require.NoError(t, err)
	name := filepath.Join(t.TempDir(), "key.pem")
	require.NoError(t, os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o600))
	keys, err := auth.Open(name, auth.Options{})
	require.NoError(t, err)
	sign := func(c jwt.MapClaims) string {
		s, err := jwt.NewWithClaims(jwt.SigningMethodEdDSA, c).SignedString(private)
		require.NoError(t, err)
		return s
	}
	s := serve(t, manage.Config{Auth: keys})
	open := regexp.MustCompile(`^/(v1/status|metrics|openapi.json|swagger.yml)$`)
	const nobody, tenants, all = 0, 1, 2
	for _, c := range []struct {
		name, token string
		code, may   int
	}{
		{"none", "", 401, nobody},
		{"expired", sign(jwt.MapClaims{"scope": "pageserverapi", "exp": time.Now().Add(-time.Hour).Unix()}), 401, nobody},
		{"of another service", sign(jwt.MapClaims{"scope": "safekeeperdata"}), 403, nobody},
		{"of another tenant", sign(jwt.MapClaims{"scope": "tenant", "tenant_id": page.TenantID{7}.String()}), 403, nobody},
		{"of the tenant", sign(jwt.MapClaims{"scope": "tenant", "tenant_id": s.tn.ID().String()}), 403, tenants},
		{"for everything", sign(jwt.MapClaims{"scope": "pageserverapi"}), 0, all},
	} {
		s.token = c.token
		for _, r := range s.routes() {
			if c.may == all || c.may == tenants && strings.HasPrefix(r[1], s.tenant) && !strings.HasSuffix(r[1], "location_config") || open.MatchString(r[1]) {
				if r[0] == "GET" && !strings.HasPrefix(r[1], "/profile/cpu") { // what changes nothing, and is quick
					code := s.ask(r[0], r[1], "").Code
					require.NotContains(t, []int{401, 403}, code, "%s with a token %s", r, c.name)
				}
				continue
			}
			require.Equal(t, c.code, s.ask(r[0], r[1], "{}").Code, "%s with a token %s", r, c.name)
		}
	}
}

// TestServe answers over a socket, and ends when it is told to, with what a request has asked for.
func TestServe(t *testing.T) {
	e, err := strata.Open(t.Context(), strata.Options{Dir: filepath.Join(t.TempDir(), "store"), CreateIfMissing: true})
	require.NoError(t, err)
	defer func() { require.NoError(t, e.Close()) }()
	s, err := manage.New(manage.Config{Engine: e})
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l) }()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := client.Get("http://" + l.Addr().String() + "/v1/status")
	require.NoError(t, err)
	body, err := io.ReadAll(r.Body)
	require.NoError(t, err)
	require.NoError(t, r.Body.Close())
	require.Equal(t, `{"id":0}`, string(bytes.TrimSpace(body)))
	stop()
	require.NoError(t, <-ended)
	_, err = client.Get("http://" + l.Addr().String() + "/v1/status")
	require.Error(t, err)
}
