package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pageserver"
	"github.com/stratapg/strata/pageserver/client"
	"github.com/stratapg/strata/pageserver/pagestream"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/virtualfile"
)

// serveModes are the ways of the page service: with direct I/O and pages stored as they are, so that each comes from the
// drive and can be compared with its sectors; with layers in the file cache, compressed as by default; and with that cache
// emptied before each round, and pages as they are.
var serveModes = []struct {
	name string
	o    strata.Options
}{
	{"direct", strata.Options{IOMode: virtualfile.DirectRW, ImageCompression: layer.Compression{Disabled: true}}},
	{"cached", strata.Options{IOMode: virtualfile.Buffered}},
	{"cold", strata.Options{IOMode: virtualfile.Buffered, ImageCompression: layer.Compression{Disabled: true}}},
}

// serveEngine serves a tenant's engine on loopback and gives the address.
func serveEngine(tb testing.TB, e *strata.Engine) string {
	s, err := pageserver.New(pageserver.Config{Engine: e})
	require.NoError(tb, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(tb, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l) }()
	tb.Cleanup(func() {
		cancel()
		require.NoError(tb, <-ended)
	})
	return l.Addr().String()
}

// asker is one connection that keeps so many requests under way.
type asker struct {
	st    *client.Stream
	r     *rand.Rand
	lsn   page.LSN
	pages uint32
	depth int
}

func newAsker(tb testing.TB, addr string, tl *strata.Timeline, seed uint64, pages uint32, depth int) *asker {
	c, err := client.Dial(context.Background(), addr, client.Options{})
	require.NoError(tb, err)
	tb.Cleanup(func() { _ = c.Close() })
	i := tl.Info()
	st, err := c.Stream(i.Tenant, i.ID, pagestream.V3)
	require.NoError(tb, err)
	return &asker{st, rand.New(rand.NewPCG(seed, 1)), tl.LastRecordLSN(), pages, depth}
}

// ask reads n random pages, sending a new request for each answer: those for answers that arrive together in one write.
func (a *asker) ask(n int) error {
	next := func() pagestream.Request {
		return pagestream.Request{Kind: pagestream.Page, LSN: a.lsn, NotModifiedSince: a.lsn, Rel: addedRel, Block: a.r.Uint32N(a.pages)}
	}
	first := make([]pagestream.Request, min(a.depth, n))
	for i := range first {
		first[i] = next()
	}
	if err := a.st.Send(first...); err != nil {
		return err
	}
	for sent, got := len(first), 0; got < n; got++ {
		answer, err := a.st.Receive()
		if err != nil {
			return err
		}
		if len(answer.Pages) != pg.BlockSize {
			return fmt.Errorf("%d bytes instead of a page: %s", len(answer.Pages), answer.Error)
		}
		if sent < n {
			sent++
			a.st.Queue(next())
		}
		if a.st.Arrived() {
			continue
		}
		if err := a.st.Flush(); err != nil {
			return err
		}
	}
	return nil
}

// askAll lets all connections read n pages in all.
func askAll[A interface{ ask(pages int) error }](askers []A, n int) error {
	errs := make([]error, len(askers))
	var wg sync.WaitGroup
	for i, a := range askers {
		wg.Go(func() { errs[i] = a.ask(n / len(askers)) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// BenchmarkPageService reads random pages over loopback, on so many connections with so many requests under way on each.
// ratio is against the drive, in turns: as many bare reads of the same sectors at a time.
func BenchmarkPageService(b *testing.B) {
	for _, m := range serveModes {
		b.Run(m.name, func(b *testing.B) {
			dir := filepath.Join(b.TempDir(), "store")
			engine, tn := openEngine(b, dir, m.o)
			tl, _ := importOnce(b, tn, cluster(b, clusterPages), "main")
			s := &pageService{tl: tl, addr: serveEngine(b, engine)}
			warm(b, tl, page.NewSet(addedRel.Blocks(clusterPages)))
			if m.name != "cached" {
				s.bare, s.places = newBare(b, tl, dir, virtualfile.EngineStd, 512)
			}
			if m.name == "cold" {
				s.cool = func() { emptyCache(b, tl, dir) }
			}
			for _, depth := range []int{1, 8, 32} {
				b.Run(fmt.Sprintf("depth=%d", depth), func(b *testing.B) {
					for _, conns := range []int{1, 4} {
						b.Run(fmt.Sprintf("conns=%d", conns), func(b *testing.B) { s.bench(b, depth, conns) })
					}
				})
			}
		})
	}
}

// pageService is what one mode is measured with. bare is nil where there is nothing to compare with.
type pageService struct {
	tl     *strata.Timeline
	addr   string
	bare   *bare
	places map[page.Key][]place
	cool   func() // done before each round, if it is set
}

// emptyCache has the kernel forget what it has of a timeline's layers.
func emptyCache(b *testing.B, tl *strata.Timeline, dir string) {
	id := tl.Info()
	for _, d := range tl.Layers() {
		f, err := os.Open(filepath.Join(dir, "tenants", id.Tenant.String(), "timelines", id.ID.String(), d.FileName()))
		require.NoError(b, err)
		require.NoError(b, dropCache(f))
		require.NoError(b, f.Close())
	}
}

func (s *pageService) bench(b *testing.B, depth, conns int) {
	var askers []*asker
	for i := range conns {
		askers = append(askers, newAsker(b, s.addr, s.tl, uint64(i), clusterPages, depth))
	}
	round := max(minRound, roundReads*depth*conns)
	require.NoError(b, askAll(askers, round))
	var raw func() time.Duration
	if s.bare != nil {
		raw = bareRounds(b, s.bare.readBare(s.places), depth*conns, round)
	}
	var ours time.Duration
	var ratios []float64
	pages := 0
	turn := func() {
		if s.cool != nil {
			s.cool()
		}
		begin := time.Now()
		if err := askAll(askers, round); err != nil {
			b.Fatal(err)
		}
		t := time.Since(begin)
		ours += t
		pages += round / conns * conns
		if raw != nil {
			ratios = append(ratios, raw().Seconds()/t.Seconds())
		}
	}
	for b.Loop() {
		turn()
	}
	for raw != nil && len(ratios) < minPairs {
		turn()
	}
	b.ReportMetric(float64(pages)/ours.Seconds(), "pages/s")
	if raw != nil {
		slices.Sort(ratios)
		b.ReportMetric(ratios[len(ratios)/2], "ratio")
	}
}

// bareRounds gives the function that reads a round of random pages' sectors with so many callers, and says how long it took.
func bareRounds(b *testing.B, read func(page.Key) error, callers, round int) func() time.Duration {
	r := rand.New(rand.NewPCG(3, 4))
	return func() time.Duration {
		keys := make([]page.Key, round)
		for i := range keys {
			keys[i] = addedRel.Block(r.Uint32N(clusterPages))
		}
		begin := time.Now()
		var wg sync.WaitGroup
		for c := range callers {
			wg.Go(func() {
				for i := c; i < round; i += callers {
					if err := read(keys[i]); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		return time.Since(begin)
	}
}

// TestPageService runs what the benchmark runs, in tiny.
func TestPageService(t *testing.T) {
	engine, tn := openEngine(t, filepath.Join(t.TempDir(), "store"), strata.Options{})
	tl, _ := importOnce(t, tn, cluster(t, tinyPages), "main")
	addr := serveEngine(t, engine)
	askers := []*asker{newAsker(t, addr, tl, 1, tinyPages, 1), newAsker(t, addr, tl, 2, tinyPages, 32)}
	require.NoError(t, askAll(askers, 400))
	calls := serveCalls(t, engine)
	require.NoError(t, askAll([]*caller{newCaller(t, calls, tl, 1, tinyPages, 1, 32), newCaller(t, calls, tl, 2, tinyPages, 8, 1)}, 40))
	r, read := rand.New(rand.NewPCG(1, 2)), 0
	echo := dialEcho(t, echoServer(t, func(block uint32) error {
		require.Less(t, block, uint32(tinyPages))
		read++
		return nil
	}))
	for _, ask := range []func(uint32) error{askers[0].askOne, echo.ask} {
		all, err := times(nil, 20, r, tinyPages, ask)
		require.NoError(t, err)
		require.Len(t, all, 20)
	}
	require.Equal(t, 20, read)
}
