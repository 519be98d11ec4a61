package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pageserver/pageapi"
	"github.com/stratapg/strata/pageserver/pageapi/pb"
	"github.com/stratapg/strata/pg"
)

// serveCalls serves an engine over gRPC on loopback and gives the address.
func serveCalls(tb testing.TB, e *strata.Engine) string {
	s, err := pageapi.New(pageapi.Config{Engine: e})
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

// caller is one connection with a stream of pages that keeps so many requests under way, each for batch pages that follow each other.
type caller struct {
	st           grpc.BidiStreamingClient[pb.GetPageRequest, pb.GetPageResponse]
	r            *rand.Rand
	lsn          uint64
	pages        uint32
	depth, batch int
}

func newCaller(tb testing.TB, addr string, tl *strata.Timeline, seed uint64, pages uint32, depth, batch int) *caller {
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(tb, err)
	tb.Cleanup(func() { _ = conn.Close() })
	i := tl.Info()
	ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(context.Background(), pageapi.TenantKey, i.Tenant.String(), pageapi.TimelineKey, i.ID.String(), pageapi.ShardKey, "0000"))
	tb.Cleanup(cancel)
	st, err := pb.NewPageServiceClient(conn).GetPages(ctx)
	require.NoError(tb, err)
	return &caller{st, rand.New(rand.NewPCG(seed, 1)), uint64(tl.LastRecordLSN()), pages, depth, batch}
}

func (c *caller) send(id int) error {
	r := &pb.GetPageRequest{RequestId: &pb.RequestID{Id: uint64(id)}, ReadLsn: &pb.ReadLsn{RequestLsn: c.lsn},
		Rel: &pb.RelTag{SpcOid: addedRel.Spc, DbOid: addedRel.DB, RelNumber: addedRel.Rel}}
	first := c.r.Uint32N(c.pages - uint32(c.batch))
	for n := range c.batch {
		r.BlockNumber = append(r.BlockNumber, first+uint32(n))
	}
	return c.st.Send(r)
}

// ask sends n requests, and a new one for each answer.
func (c *caller) ask(n int) error {
	sent := 0
	for ; sent < min(c.depth, n); sent++ {
		if err := c.send(sent); err != nil {
			return err
		}
	}
	for range n {
		m, err := c.st.Recv()
		if err != nil {
			return err
		}
		if len(m.Page) != c.batch || len(m.Page[0].Image) != pg.BlockSize {
			return fmt.Errorf("%d pages instead of %d: %s", len(m.Page), c.batch, m.Reason)
		}
		if sent < n {
			if err := c.send(sent); err != nil {
				return err
			}
			sent++
		}
	}
	return nil
}

// BenchmarkPageServiceGRPC is BenchmarkPageService/cached over gRPC, with requests of one page and of 32. ratio is against the
// same number of requests under way over pagestream, in turns; there each page is a request.
func BenchmarkPageServiceGRPC(b *testing.B) {
	engine, tn := openEngine(b, filepath.Join(b.TempDir(), "store"), serveModes[1].o)
	tl, _ := importOnce(b, tn, cluster(b, clusterPages), "main")
	warm(b, tl, page.NewSet(addedRel.Blocks(clusterPages)))
	addr, streams := serveCalls(b, engine), serveEngine(b, engine)
	for _, c := range []struct{ batch, depth, conns int }{{1, 1, 1}, {1, 32, 1}, {1, 32, 4}, {32, 1, 1}, {32, 1, 4}} {
		b.Run(fmt.Sprintf("batch=%d/depth=%d/conns=%d", c.batch, c.depth, c.conns), func(b *testing.B) {
			var callers []*caller
			var askers []*asker
			for i := range c.conns {
				callers = append(callers, newCaller(b, addr, tl, uint64(i), clusterPages, c.depth, c.batch))
				askers = append(askers, newAsker(b, streams, tl, uint64(i), clusterPages, c.depth*c.batch))
			}
			requests := 512 * c.conns / c.batch
			pages := requests * c.batch
			require.NoError(b, askAll(callers, requests))
			require.NoError(b, askAll(askers, pages))
			var called, asked time.Duration
			rounds := 0
			for b.Loop() {
				begin := time.Now()
				require.NoError(b, askAll(callers, requests))
				middle := time.Now()
				require.NoError(b, askAll(askers, pages))
				called, asked = called+middle.Sub(begin), asked+time.Since(middle)
				rounds++
			}
			b.ReportMetric(float64(rounds*pages)/called.Seconds(), "pages/s")
			b.ReportMetric(asked.Seconds()/called.Seconds(), "ratio")
		})
	}
}
