package bench

import (
	"context"
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
	"github.com/stratapg/strata/walredo/pgworker"
	"github.com/stratapg/strata/walredo/pool"
	"github.com/stratapg/strata/walredo/walredotest"
	"github.com/stratapg/strata/walredo/walredotest/processes"
	"github.com/stratapg/strata/walredo/wire"
)

// BenchmarkRedo rebuilds one page an operation from raw records, with as many goroutines asking as the name
// says. Nothing of a page is kept between operations. A ping is a question without records: an image that comes back
// as it is, from native, and zeros from a pool. Pools have one process: our redo; the same as a command that knows
// Neon's protocol and nothing more; and a stock server of 15, which gets the same changes as such a server logs them.
// The last has a process of our redo for each core. With one client, ratio is what a ping takes against a bare exchange
// of as many bytes with a process over two pipes, in turns, the fastest turn of each, with both processes on another
// processor than we: to wake one there takes longer than all the rest, and a scheduler may spare it to one alone.
func BenchmarkRedo(b *testing.B) {
	requests := walredotest.Requests(b)
	kind := requests["short"].Kind()
	ping := *requests["short"]
	ping.Base, ping.Records = make([]byte, pg.BlockSize), nil
	requests["ping"] = &ping
	b.Run("native", func(b *testing.B) {
		benchRedoer(b, native.New(), requests, []int{1, runtime.GOMAXPROCS(0)}, nil)
	})
	b.Run("pool", func(b *testing.B) { benchPool(b, pool.Native(executable(b)), 1, requests, kind) })
	b.Run("external", func(b *testing.B) {
		worker, err := pool.External(executable(b) + " redo-worker --pg {pg} --flavour {flavour}")
		require.NoError(b, err)
		benchPool(b, worker, 1, requests, kind)
	})
	b.Run("pgworker", func(b *testing.B) {
		worker := pgworker.Worker(executable(b), processes.PGServer(b, pg.V15))
		stock := map[string]*walredo.Request{"ping": &ping}
		for _, name := range []string{"short", "medium"} {
			stock[name] = processes.Stock15(b, requests[name])
		}
		benchPool(b, worker, 1, stock, stock["short"].Kind())
	})
	b.Run(fmt.Sprintf("processes=%d", runtime.GOMAXPROCS(0)), func(b *testing.B) {
		benchPool(b, pool.Native(executable(b)), runtime.GOMAXPROCS(0), requests, kind)
	})
}

func benchPool(b *testing.B, w pool.Worker, most int, requests map[string]*walredo.Request, kind walredo.Kind) {
	p := openPool(b, w, most)
	defer p.Close()
	benchRedoer(b, pinging{p, kind}, requests, []int{1, 2, 4, 8, 16, 32, 64, 128}, func() float64 {
		p := openPool(b, w, 1)
		defer p.Close()
		return pingRatio(b, func() error { return p.Ping(context.Background(), kind) })
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

// asEcho makes this test binary a process that answers and does nothing else.
const asEcho = "bare-exchange"

func TestMain(m *testing.M) {
	processes.ActAsWorker()
	if len(os.Args) > 1 && os.Args[1] == asEcho {
		os.Exit(serveBare())
	}
	os.Exit(m.Run())
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

func executable(b testing.TB) string {
	exe, err := os.Executable()
	require.NoError(b, err)
	return exe
}

func openPool(b testing.TB, w pool.Worker, most int) *pool.Pool {
	p, err := pool.New(pool.Options{Worker: w, Processes: most})
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
	back := apart(b, func() {
		require.NoError(b, cmd.Start())
		require.NoError(b, ping())
	})
	defer back()
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
	p := openPool(t, pool.Native(executable(t)), 1)
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
