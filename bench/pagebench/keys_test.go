package pagebench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/page"
)

func TestDrawIsFairAndWithin(t *testing.T) {
	rel := page.RelTag{Spc: 1663, DB: 5, Rel: 7}
	k := Keyspace{Blocks: []Blocks{{rel, 10, 3}, {page.RelTag{Spc: 1663, DB: 5, Rel: 8}, 0, 7}}}
	require.NoError(t, k.index())
	require.EqualValues(t, 10, k.Total())
	r, seen := rand.New(rand.NewPCG(1, 2)), map[Blocks]int{}
	const n = 20000
	for range n {
		seen[k.Draw(r, 1)]++
	}
	require.Len(t, seen, 10)
	for b, times := range seen {
		require.InDelta(t, n/10, times, n/50, "%v", b)
	}
	for range 1000 {
		b := k.Draw(r, 5)
		if b.Rel == rel {
			require.Equal(t, Blocks{rel, 10, 3}, b, "it has no more")
			continue
		}
		require.EqualValues(t, 5, b.N)
		require.LessOrEqual(t, b.First+b.N, uint32(7))
	}
	require.ErrorContains(t, (&Keyspace{}).index(), "no blocks of relations")
}

func TestBlocksOfRanges(t *testing.T) {
	main := page.RelTag{Spc: 1663, DB: 5, Rel: 7}
	fsm := main
	fsm.Fork = page.ForkFSM
	for name, c := range map[string]struct {
		start, end page.Key
		want       []Blocks
	}{
		"blocks":                 {main.Block(0), main.Block(5), []Blocks{{main, 0, 5}}},
		"a size":                 {main.SizeKey(), main.SizeKey().Next(), nil},
		"a size, then a fork":    {main.SizeKey(), fsm.Block(3), []Blocks{{fsm, 0, 3}}},
		"metadata":               {page.DBDirKey, page.DBDirKey.Next(), nil},
		"all that a fork can be": {fsm.Block(4), fsm.SizeKey().Next(), []Blocks{{fsm, 4, fsm.SizeKey().F6 - 4}}},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, c.want, appendBlocks(nil, c.start, c.end)) })
	}
	require.Equal(t, main.SizeKey().Next(), fsm.Block(0), "the reason why a range may be of two forks")
}

func TestHumanTime(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0:                           "0s",
		284 * time.Microsecond:      "284us",
		time.Second + 2:             "1s 2ns",
		61*time.Second + 5e6:        "1m 1s 5ms",
		49 * time.Hour:              "2days 1h",
		24 * time.Hour:              "1day",
		999*time.Millisecond + 1001: "999ms 1us 1ns",
	} {
		require.Equal(t, want, HumanTime(d))
	}
}

func TestLatenciesBeyondTheHistogram(t *testing.T) {
	l := newLatencies()
	l.add(-time.Second)
	l.add(100 * time.Hour)
	require.EqualValues(t, 2, l.Count())
	require.InEpsilon(t, 1000*time.Second, l.Percentile(100), 0.01)
	text, err := l.MarshalJSON()
	require.NoError(t, err)
	require.Regexp(t, `^\{"request_count":2,"latency_mean":"[^"]+","latency_percentiles":\{"p95":"[^"]+","p99":"[^"]+","p99.9":"[^"]+","p99.99":"[^"]+"\}\}$`, string(text))
}

// fakeAPI answers as a server with two tenants.
func fakeAPI(t *testing.T) (*API, []Target, *int) {
	asked := 0
	targets := []Target{{page.TenantID{2}, page.TimelineID{9}}, {page.TenantID{1}, page.TimelineID{8}}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/tenant", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `[{"id":%q,"state":{"slug":"Active"}},{"id":%q}]`, targets[0].Tenant, targets[1].Tenant)
	})
	for _, x := range targets {
		mux.HandleFunc("GET /v1/tenant/"+x.Tenant.String(), func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, `{"timelines":[%q]}`, x.Timeline)
		})
		mux.HandleFunc("GET /v1/tenant/"+x.Tenant.String()+"/timeline/"+x.Timeline.String()+"/keyspace", func(w http.ResponseWriter, r *http.Request) {
			asked++
			rel := page.RelTag{Spc: 1663, DB: 5, Rel: 7}
			fmt.Fprintf(w, `{"keys":[[%q,%q]],"sparse_keys":[],"at_lsn":"0/1234"}`, rel.Block(0), rel.Block(6))
		})
	}
	mux.HandleFunc("PUT /v1/io_mode", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"msg":"no such mode"}`)
	})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer secret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return &API{Endpoint: s.URL, Token: "secret", Client: s.Client()}, targets, &asked
}

func TestDiscover(t *testing.T) {
	a, targets, asked := fakeAPI(t)
	ctx := context.Background()
	all, err := a.Discover(ctx, nil, 0)
	require.NoError(t, err)
	require.Equal(t, targets, all)
	all, err = a.Discover(ctx, nil, 1)
	require.NoError(t, err)
	require.Equal(t, targets[1:], all, "the first by id")
	_, err = a.Discover(ctx, nil, 3)
	require.ErrorContains(t, err, "there are 2 targets")
	named, err := a.Discover(ctx, targets[:1], 0)
	require.NoError(t, err)
	require.Equal(t, targets[:1], named)
	require.ErrorContains(t, a.Configure(ctx, "", "fast"), "no such mode")

	cache := filepath.Join(t.TempDir(), "keys")
	for range 2 {
		spaces, err := a.Keyspaces(ctx, targets, 0, cache)
		require.NoError(t, err)
		require.Len(t, spaces, 2)
		require.EqualValues(t, 6, spaces[0].Total())
		require.Equal(t, 2, *asked, "the second time the file knows")
	}
	_, err = a.Keyspaces(ctx, targets[:1], 0, cache)
	require.NoError(t, err)
	require.Equal(t, 3, *asked, "other targets")
	_, err = a.Keyspaces(ctx, targets, 99, "")
	require.ErrorContains(t, err, "no blocks")
	require.NoError(t, os.WriteFile(cache, []byte("half"), 0o600))
	_, err = a.Keyspaces(ctx, targets, 0, cache)
	require.ErrorContains(t, err, "remove it")

	a.Token = "other"
	_, err = a.Discover(ctx, nil, 0)
	require.ErrorContains(t, err, "401")
	_, err = ParseTarget("abc")
	require.ErrorContains(t, err, "TENANT/TIMELINE")
}
