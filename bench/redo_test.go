package bench

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/walredo"
	"github.com/stratapg/strata/walredo/native"
	"github.com/stratapg/strata/walredo/pool"
	"github.com/stratapg/strata/walredo/sandbox"
	"github.com/stratapg/strata/walredo/walredotest"
	"github.com/stratapg/strata/walredo/wire"
	"github.com/stratapg/strata/walredo/worker"
)

// BenchmarkRedo rebuilds one page an operation from raw records, with as many goroutines asking as the name
// says. Nothing of a page is kept between operations. A ping is a question without records: an image that comes back
// as it is, from native, and zeros from a pool. The pool has one process; with one client, ratio is
// what its ping takes against a bare exchange of as many bytes with a process over two pipes, in turns, the
// fastest turn of each.
func BenchmarkRedo(b *testing.B) {
	requests := walredotest.Requests(b)
	kind := requests["short"].Kind()
	ping := *requests["short"]
	ping.Base, ping.Records = make([]byte, pg.BlockSize), nil
	requests["ping"] = &ping
	b.Run("native", func(b *testing.B) {
		benchRedoer(b, native.New(), requests, []int{1, runtime.GOMAXPROCS(0)}, nil)
	})
	b.Run("pool", func(b *testing.B) {
		p := openPool(b, 1)
		defer p.Close()
		r := pinging{p, kind}
		ratio := func() float64 { return pingRatio(b, func() error { return p.Ping(context.Background(), kind) }) }
		benchRedoer(b, r, requests, []int{1, 2, 4, 8, 16, 32, 64, 128}, ratio)
	})
}

func benchRedoer(b *testing.B, r walredo.Redoer, requests map[string]*walredo.Request, clients []int, ratio func() float64) {
	for _, request := range []string{"ping", "short", "medium"} {
		for _, n := range slices.Compact(clients) {
			b.Run(fmt.Sprintf("%s/clients=%d", request, n), func(b *testing.B) {
				benchRedo(b, r, requests[request], n)
				if ratio != nil && request == "ping" && n == 1 {
					b.StopTimer()
					b.ReportMetric(ratio(), "ratio")
				}
			})
		}
	}
}

// pinging asks a pool for nothing where there are no records.
type pinging struct {
	*pool.Pool
	kind walredo.Kind
}

func (p pinging) Redo(ctx context.Context, dst []byte, req *walredo.Request) ([]byte, error) {
	if len(req.Records) == 0 {
		return dst, p.Ping(ctx, p.kind)
	}
	return p.Pool.Redo(ctx, dst, req)
}

// Arguments that make this test binary a process to talk to.
const (
	asRedoWorker = "redo-worker"
	asEcho       = "bare-exchange"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case asRedoWorker:
			os.Exit(serveRedo())
		case asEcho:
			os.Exit(serveBare())
		}
	}
	os.Exit(m.Run())
}

func serveRedo() int {
	if err := sandbox.Cleanse(); err != nil {
		return 1
	}
	if _, err := sandbox.Enter(sandbox.Limits{}); err != nil && !errors.Is(err, sandbox.ErrUnavailable) {
		return 1
	}
	// Neon's computes of 14 wrote the requests.
	err := worker.Serve(context.Background(), os.Stdin, os.Stdout, worker.Options{
		Kind: walredo.Kind{Version: pg.V14, Flavour: pg.Neon}, Redoer: native.New(), ReportFailures: true,
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// serveBare answers five bytes with a page, as a ping is answered, and does nothing else.
func serveBare() int {
	runtime.GOMAXPROCS(1)
	in, out := make([]byte, wire.HeaderSize), make([]byte, wire.AnswerSize)
	for {
		if _, err := io.ReadFull(os.Stdin, in); err != nil {
			return 0
		}
		if _, err := os.Stdout.Write(out); err != nil {
			return 1
		}
	}
}

func openPool(b testing.TB, processes int) *pool.Pool {
	exe, err := os.Executable()
	require.NoError(b, err)
	p, err := pool.New(pool.Options{Worker: pool.Native(exe), Processes: processes})
	require.NoError(b, err)
	return p
}

// pingRatio measures in turns what a ping takes and what a bare exchange of its bytes does.
func pingRatio(b testing.TB, ping func() error) float64 {
	exe, err := os.Executable()
	require.NoError(b, err)
	cmd := exec.Command(exe, asEcho)
	in, err := cmd.StdinPipe()
	require.NoError(b, err)
	out, err := cmd.StdoutPipe()
	require.NoError(b, err)
	require.NoError(b, cmd.Start())
	question, answer := wire.AppendPing(nil), make([]byte, wire.AnswerSize)
	bare := func() error {
		if _, err := in.Write(question); err != nil {
			return err
		}
		_, err := io.ReadFull(out, answer)
		return err
	}
	const turns = 20
	fastest := [2]time.Duration{math.MaxInt64, math.MaxInt64}
	for range turns {
		for i, exchange := range []func() error{ping, bare} {
			fastest[i] = min(fastest[i], oneTurn(b, exchange))
		}
	}
	require.NoError(b, in.Close())
	require.NoError(b, cmd.Wait())
	return float64(fastest[0]) / float64(fastest[1])
}

func oneTurn(b testing.TB, exchange func() error) time.Duration {
	const exchanges = 500
	start := time.Now()
	for range exchanges {
		if err := exchange(); err != nil {
			b.Fatal(err)
		}
	}
	return time.Since(start)
}

func benchRedo(b *testing.B, r walredo.Redoer, req *walredo.Request, clients int) {
	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	for client := range clients {
		wg.Go(func() {
			buf := make([]byte, 0, redoBuffer)
			for range (b.N + client) / clients {
				if _, err := r.Redo(context.Background(), buf[:0], req); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// redoBuffer has room for any page and a commit time.
const redoBuffer = 16 << 10

// TestRedoBenchmark runs what the benchmark runs, once, so that it cannot rot, and says what it computed.
func TestRedoBenchmark(t *testing.T) {
	p := openPool(t, 1)
	defer p.Close()
	r := native.New()
	for name, req := range walredotest.Requests(t) {
		want, err := r.Redo(context.Background(), nil, req)
		require.NoError(t, err)
		require.Len(t, want, pg.BlockSize)
		got, err := p.Redo(context.Background(), nil, req)
		require.NoError(t, err)
		require.Equal(t, want, got)
		t.Logf("%s: crc32 %08x", name, crc32.ChecksumIEEE(want))
	}
	require.NoError(t, p.Ping(context.Background(), walredo.Kind{Version: pg.V14, Flavour: pg.Neon}))
	require.Positive(t, pingRatio(t, func() error { return nil }))
}
