package statuspage_test

import (
	"context"
	_ "embed"
	"encoding/json"
	"html"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pageserver/manage"
	"github.com/stratapg/strata/pageserver/statuspage"
	"github.com/stratapg/strata/pageserver/tally"
)

// serve gives a management API with the page, of an engine with one timeline of a few layers.
func serve(t *testing.T) (url string, tl *strata.Timeline, counts *tally.Counts, mux *http.ServeMux) {
	e, err := strata.Open(t.Context(), strata.Options{Dir: t.TempDir(), CreateIfMissing: true, Compaction: strata.Compaction{Period: strata.Every(0)}, GC: strata.GarbageCollection{Period: strata.Every(0)}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, e.Close()) })
	tn, err := e.DefaultTenant(t.Context())
	require.NoError(t, err)
	tl, err = tn.Create(t.Context(), strata.CreateOptions{Name: "<main>", Version: 17, InitialLSN: 0x1000})
	require.NoError(t, err)
	for n := range 3 {
		var b page.Batch
		for i := range 4 {
			b.PutImage(page.RelTag{Spc: 1663, DB: 5, Rel: 16384}.Block(uint32(i)), page.LSN(0x2000+0x1000*n+8*i), make([]byte, 8192))
		}
		require.NoError(t, tl.Put(t.Context(), &b))
		require.NoError(t, tl.Flush(t.Context()))
	}
	counts = &tally.Counts{}
	api, err := manage.New(manage.Config{Engine: e, Page: statuspage.New(e, map[string]*tally.Counts{"pagestream": counts})})
	require.NoError(t, err)
	mux = http.NewServeMux()
	mux.Handle("/", api)
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s.URL, tl, counts, mux
}

func get(t *testing.T, url string) string {
	r, err := http.Get(url)
	require.NoError(t, err)
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, r.StatusCode, string(b))
	return string(b)
}

// TestPages: what is there and what is asked for is told, and a name cannot be taken for markup.
func TestPages(t *testing.T) {
	url, tl, counts, _ := serve(t)
	home := get(t, url+"/")
	require.Contains(t, home, "Nothing has been asked for")
	require.Contains(t, home, "&lt;main&gt;")
	require.NotContains(t, home, "<main></a>")
	require.Contains(t, home, tl.LastRecordLSN().String())
	require.Contains(t, home, "<td>3 + 0</td><td>3</td>", "layers, and L0 among them")
	counts.Answered(tally.Page, 100*time.Microsecond, 40)
	counts.Failed(tally.Page)
	live := get(t, url+"/?live")
	require.NotContains(t, live, "<html")
	require.Regexp(t, `pagestream</td><td class="t">get_page_at_lsn</td><td>[0-9.]+</td><td>100µs</td><td>1\d\dµs</td><td>1\d\dµs</td><td>40</td><td class="bad">1</td>`, live)

	one := get(t, url+"/v1/tenant/"+tl.Info().Tenant.String()+"/timeline/"+tl.Info().ID.String()+"/status")
	require.Contains(t, one, "3 deltas (3 of them L0)")
	require.Contains(t, one, "jobs are due")
	require.Regexp(t, `<rect class="l0"`, one)
	for path, code := range map[string]int{"/v1/tenant/xx/timeline/yy/status": 400, "/v1/tenant/" + tl.Info().Tenant.String() + "/timeline/" + page.TimelineID{1}.String() + "/status": 404, "/?dead": 400} {
		r, err := http.Get(url + path)
		require.NoError(t, err)
		require.NoError(t, r.Body.Close())
		require.Equal(t, code, r.StatusCode, path)
	}
}

//go:embed testdata/browser.html
var browserPage string

// TestInABrowser opens both pages in a real one: numbers follow what is asked for, and the drawing is moved, magnified, pointed
// at and put back.
func TestInABrowser(t *testing.T) {
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if p, err := exec.LookPath(name); err == nil {
			path = p
			break
		}
	}
	if path == "" {
		testkit.Skip(t, "no browser: apt-get install chromium (make servers does it)")
	}
	url, tl, counts, mux := serve(t)
	mux.HandleFunc("GET /test", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, browserPage)
	})
	mux.HandleFunc("POST /ask", func(http.ResponseWriter, *http.Request) { counts.Answered(tally.Page, time.Millisecond, 7) })
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--user-data-dir="+t.TempDir(),
		"--window-size=1200,1000", "--virtual-time-budget=60000", "--dump-dom", url+"/test?"+tl.Info().Tenant.String()+"/timeline/"+tl.Info().ID.String()+"/status")
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	dom, err := cmd.Output()
	require.NoError(t, err)
	m := regexp.MustCompile(`<pre id="result">(.*?)</pre>`).FindSubmatch(dom)
	require.NotNil(t, m, "the page has not come to its end: %s", dom)
	var got map[string]any
	require.NoError(t, json.Unmarshal([]byte(html.UnescapeString(string(m[1]))), &got))
	require.Equal(t, map[string]any{"errors": []any{}, "before": false, "after": "7", "rate": true, "latency": true, "debts": true, "zoomed": true, "steady": true, "moved": true, "named": true, "whole": true}, got)
}
