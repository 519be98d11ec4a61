package bench

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/bench/workload"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pageserver/pagestream"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/virtualfile"
)

// What a request and an answer of pagestream_v3 are on the wire: a message's head, and what is in it.
const (
	echoRequest = 5 + 42
	echoAnswer  = 5 + 42 + pg.BlockSize
)

// echoServer answers messages of the sizes of pagestream's after one read for each, and knows nothing else. It is what no page
// server can be quicker than.
func echoServer(tb testing.TB, read func(block uint32) error) (addr string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(tb, err)
	var all sync.WaitGroup
	tb.Cleanup(func() {
		require.NoError(tb, l.Close())
		all.Wait()
	})
	all.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer nc.Close()
				in, out := make([]byte, echoRequest), make([]byte, echoAnswer)
				for {
					if _, err := io.ReadFull(nc, in); err != nil {
						return
					}
					if err := read(echoBlock(in)); err != nil {
						return
					}
					if _, err := nc.Write(out); err != nil {
						return
					}
				}
			})
		}
	})
	return l.Addr().String()
}

// echoBlock is the block that a request is for: its last four bytes.
func echoBlock(in []byte) uint32 {
	b := in[echoRequest-4:]
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}

// echoClient asks one.
type echoClient struct {
	nc net.Conn
	in []byte
}

func (c *echoClient) ask(block uint32) error {
	request := make([]byte, echoRequest)
	request[echoRequest-4], request[echoRequest-3], request[echoRequest-2], request[echoRequest-1] = byte(block>>24), byte(block>>16), byte(block>>8), byte(block)
	if _, err := c.nc.Write(request); err != nil {
		return err
	}
	_, err := io.ReadFull(c.nc, c.in)
	return err
}

func dialEcho(tb testing.TB, addr string) *echoClient {
	nc, err := net.Dial("tcp", addr)
	require.NoError(tb, err)
	tb.Cleanup(func() { _ = nc.Close() })
	return &echoClient{nc, make([]byte, echoAnswer)}
}

// times asks for n random blocks, one after the other, and adds how long each took.
func times(all []time.Duration, n int, r *rand.Rand, pages uint32, ask func(block uint32) error) ([]time.Duration, error) {
	for range n {
		block := r.Uint32N(pages)
		begin := time.Now()
		if err := ask(block); err != nil {
			return all, err
		}
		all = append(all, time.Since(begin))
	}
	return all, nil
}

// askOne asks for one block and waits for it.
func (a *asker) askOne(block uint32) error {
	answer, err := a.st.Ask(pagestream.Request{Kind: pagestream.Page, LSN: a.lsn, NotModifiedSince: a.lsn, Rel: addedRel, Block: block})
	if err == nil && len(answer.Pages) != pg.BlockSize {
		err = fmt.Errorf("%d bytes instead of a page", len(answer.Pages))
	}
	return err
}

// BenchmarkPageServiceLatency asks for random pages one at a time over loopback, and in turns an echo server that does one bare
// read of the same sectors for each request. ratio is that of the 99th percentiles, p50-ratio of the medians.
func BenchmarkPageServiceLatency(b *testing.B) {
	dir := filepath.Join(b.TempDir(), "store")
	engine, tn := openEngine(b, dir, serveModes[0].o)
	tl, _ := importOnce(b, tn, cluster(b, clusterPages), "main")
	warm(b, tl, page.NewSet(addedRel.Blocks(clusterPages)))
	raw, places := newBare(b, tl, dir, virtualfile.EngineStd, 512)
	read := raw.readBare(places)
	a := newAsker(b, serveEngine(b, engine), tl, 1, clusterPages, 1)
	echo := dialEcho(b, echoServer(b, func(block uint32) error { return read(addedRel.Block(block)) }))
	const turn = 200
	r := rand.New(rand.NewPCG(5, 6))
	var ours, theirs []time.Duration
	both := func() {
		var err error
		ours, err = times(ours, turn, r, clusterPages, a.askOne)
		require.NoError(b, err)
		theirs, err = times(theirs, turn, r, clusterPages, echo.ask)
		require.NoError(b, err)
	}
	both()
	ours, theirs = nil, nil
	for b.Loop() {
		both()
	}
	for len(ours) < minPairs*turn {
		both()
	}
	slices.Sort(ours)
	slices.Sort(theirs)
	for _, q := range []struct {
		name string
		at   float64
	}{{"p50-", 0.5}, {"", 0.99}} {
		o, t := workload.Quantile(ours, q.at), workload.Quantile(theirs, q.at)
		b.ReportMetric(o.Seconds()/t.Seconds(), q.name+"ratio")
		if q.name == "" {
			q.name = "p99-"
		}
		b.ReportMetric(float64(o.Nanoseconds())/1e3, q.name+"µs")
		b.ReportMetric(float64(t.Nanoseconds())/1e3, "echo-"+q.name+"µs")
	}
}
