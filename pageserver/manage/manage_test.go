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
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
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

	w := s.ask("GET", "/metrics", "")
	require.Equal(t, 200, w.Code)
	require.Contains(t, w.Body.String(), "strata_timelines")
}

// TestSwitches: the way to the disk is another one at once, while pages are read as before; what there is not changes nothing.
func TestSwitches(t *testing.T) {
	s := serve(t, manage.Config{})
	was := s.e.Metrics().Disk
	defer func() {
		require.NoError(t, s.e.SetIOMode(was.Mode))
		require.NoError(t, s.e.SetIOEngine(was.Engine))
	}()
	rel := page.RelTag{Spc: 1663, DB: 5, Rel: 1259}
	want, err := s.tl.Page(t.Context(), rel, 0, s.tl.LastRecordLSN())
	require.NoError(t, err)
	for _, mode := range []string{"direct", "direct-rw", "buffered"} {
		s.get("PUT", "/v1/io_mode", fmt.Sprintf("%q", mode), 200, nil)
		require.Equal(t, mode, s.e.Metrics().Disk.Mode.String())
		for _, name := range []string{"std-fs", "tokio-epoll-uring"} { // each in its turn is exchanged for the other
			k := "std"
			if name == "tokio-epoll-uring" {
				k = "uring"
			}
			w := s.ask("PUT", "/v1/io_engine", fmt.Sprintf("%q", name))
			if name == "tokio-epoll-uring" && w.Code != 200 {
				require.Contains(t, w.Body.String(), "uring", "where the kernel does not let us, it is said")
				continue
			}
			require.Equal(t, 200, w.Code, w.Body)
			require.Equal(t, "null", strings.TrimSpace(w.Body.String()), "what Neon's client reads as nothing")
			require.Equal(t, k, s.e.Metrics().Disk.Engine.String())
			got, err := s.tl.Page(t.Context(), rel, 0, s.tl.LastRecordLSN())
			require.NoError(t, err)
			require.True(t, bytes.Equal(want, got))
		}
	}
	before := s.e.Metrics().Disk
	s.refused("PUT", "/v1/io_mode", `"fast"`, 400, "there is no I/O mode")
	s.refused("PUT", "/v1/io_engine", `"fast"`, 400, "there is no I/O engine")
	s.refused("PUT", "/v1/io_engine", `7`, 400, "the body")
	require.Equal(t, before.Engine, s.e.Metrics().Disk.Engine)
	require.Equal(t, before.Mode, s.e.Metrics().Disk.Mode)
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
	e, err := strata.Open(t.Context(), strata.Options{Dir: filepath.Join(t.TempDir(), "store"), CreateIfMissing: true})
	require.NoError(t, err)
	defer func() { require.NoError(t, e.Close()) }()
	h, err := manage.New(manage.Config{Engine: e})
	require.NoError(t, err)
	s := &served{t: t, e: e, h: h, tenant: "/v1/tenant/" + e.DefaultTenantID().String()}
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
	for _, path := range slices.Sorted(maps.Keys(doc.Paths)) {
		for _, method := range slices.Sorted(maps.Keys(doc.Paths[path])) {
			path := strings.NewReplacer("{tenant}", s.tn.ID().String(), "{timeline}", s.tl.Info().ID.String()).Replace(path)
			out = append(out, [2]string{strings.ToUpper(method), path})
		}
	}
	require.Greater(s.t, len(out), 25)
	return out
}

// TestNeonsPaths: what Neon's clients and its pagebench ask for is described, with method and path; and what is described is answered
// by a route of its own.
func TestNeonsPaths(t *testing.T) {
	s := serve(t, manage.Config{})
	described := map[[2]string]bool{}
	for _, r := range s.routes() {
		described[r] = true
		if r[0] == "POST" { // what changes nothing without a good body
			w := s.ask(r[0], r[1]+"?none=1", "{")
			require.Equal(t, 400, w.Code, "%s: %s", r, w.Body)
		}
	}
	for _, r := range [][2]string{
		{"GET", "/v1/status"}, {"GET", "/metrics"}, {"GET", "/profile/cpu"}, {"GET", "/profile/heap"}, {"PUT", "/v1/io_engine"}, {"PUT", "/v1/io_mode"},
		{"GET", "/v1/tenant"}, {"PUT", "/v1/tenant/config"}, {"GET", s.tenant}, {"PUT", s.tenant + "/location_config"}, {"GET", s.tenant + "/timeline"}, {"POST", s.tenant + "/timeline"},
		{"GET", s.path}, {"DELETE", s.path}, {"GET", s.path + "/keyspace"}, {"GET", s.path + "/layer"}, {"GET", s.path + "/layer/{layer}"}, {"DELETE", s.path + "/layer/{layer}"},
		{"PUT", s.path + "/compact"}, {"PUT", s.path + "/do_gc"}, {"PUT", s.path + "/checkpoint"}, {"POST", s.path + "/ingest_aux_files"}, {"POST", s.path + "/list_aux_files"},
		{"POST", s.path + "/lsn_lease"}, {"GET", s.path + "/get_lsn_by_timestamp"}, {"GET", s.path + "/getpage"},
	} {
		require.True(t, described[r], "%s %s", r[0], r[1])
	}
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
	sign := func(c jwt.MapClaims, key ed25519.PrivateKey) string {
		s, err := jwt.NewWithClaims(jwt.SigningMethodEdDSA, c).SignedString(key)
		require.NoError(t, err)
		return s
	}
	_, anothers, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	s := serve(t, manage.Config{Auth: keys})
	open := regexp.MustCompile(`^/(v1/status|metrics|openapi.json|swagger.yml)$`)
	const nobody, tenants, all = 0, 1, 2
	type held struct {
		name, token string
		code, may   int
	}
	tokens := []held{{"none", "", 401, nobody}, {"that is none", "abc", 401, nobody}}
	for _, c := range []struct {
		name      string
		claims    jwt.MapClaims
		code, may int
	}{
		{"of another service", jwt.MapClaims{"scope": "safekeeperdata"}, 403, nobody},
		{"of another tenant", jwt.MapClaims{"scope": "tenant", "tenant_id": page.TenantID{7}.String()}, 403, nobody},
		{"of the tenant", jwt.MapClaims{"scope": "tenant", "tenant_id": s.tn.ID().String()}, 403, tenants},
		{"for everything", jwt.MapClaims{"scope": "pageserverapi"}, 0, all},
	} {
		tokens = append(tokens, held{c.name, sign(c.claims, private), c.code, c.may}, held{c.name + ", by another's key", sign(c.claims, anothers), 401, nobody})
		c.claims["exp"] = time.Now().Add(-time.Hour).Unix()
		tokens = append(tokens, held{c.name + ", expired", sign(c.claims, private), 401, nobody})
	}
	for _, c := range tokens {
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
	s, err := manage.New(manage.Config{Engine: e, Header: time.Second})
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
	addr := l.Addr().String()
	require.Contains(t, conversation(t, addr, "PUT /v1/io_mode HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n\"b"), "408 Request Timeout", "a body that does not come")
	require.NotContains(t, conversation(t, addr, "PUT /v1/io_mode HTTP/1.1\r\nHost"), "200 OK", "a head that does not come")
	require.Contains(t, conversation(t, addr, "GET /v1/status HTTP/1.1\r\nX: "+strings.Repeat("x", 1<<17)+"\r\n\r\n"), "431 Request Header", "a head that is too long")
	stop()
	require.NoError(t, <-ended)
	_, err = client.Get("http://" + addr + "/v1/status")
	require.Error(t, err)
}

// TestConnections: more than may be are closed at once, and counted.
func TestConnections(t *testing.T) {
	const most = 3
	s := serve(t, manage.Config{Connections: most, Header: time.Hour})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.h.(*manage.Server).Serve(ctx, l) }()
	var open []net.Conn
	for range most {
		nc, err := net.Dial("tcp", l.Addr().String())
		require.NoError(t, err)
		open = append(open, nc)
	}
	require.Empty(t, conversation(t, l.Addr().String(), ""))
	reg := prometheus.NewRegistry()
	reg.MustRegister(s.h.(*manage.Server))
	families, err := reg.Gather()
	require.NoError(t, err)
	require.Equal(t, "strata_manage_refused_total", families[1].GetName())
	require.EqualValues(t, 1, families[1].GetMetric()[0].GetCounter().GetValue())
	for _, nc := range open {
		require.NoError(t, nc.Close())
	}
	stop()
	require.NoError(t, <-ended)
}

// conversation sends bytes, and gives what comes until the server closes the connection.
func conversation(t *testing.T, addr, says string) string {
	nc, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer nc.Close()
	_, err = io.WriteString(nc, says)
	require.NoError(t, err)
	require.NoError(t, nc.SetReadDeadline(time.Now().Add(time.Minute)))
	b, err := io.ReadAll(nc)
	var late net.Error
	require.False(t, errors.As(err, &late) && late.Timeout(), "the connection stays open")
	return string(b)
}
