package bench

import (
	"context"
	"fmt"
	"hash/crc32"
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/walredo"
	"github.com/stratapg/strata/walredo/native"
	"github.com/stratapg/strata/walredo/walredotest"
)

// BenchmarkRedo rebuilds one page an operation from raw records, with as many goroutines asking as the name
// says. Nothing of a page is kept between operations.
func BenchmarkRedo(b *testing.B) {
	requests := walredotest.Requests(b)
	redoers := []struct {
		name string
		walredo.Redoer
	}{
		{"native", native.New()},
	}
	clients := []int{1}
	if n := runtime.GOMAXPROCS(0); n > 1 {
		clients = append(clients, n)
	}
	for _, r := range redoers {
		for _, request := range []string{"short", "medium"} {
			for _, n := range clients {
				b.Run(fmt.Sprintf("%s/%s/clients=%d", r.name, request, n), func(b *testing.B) {
					benchRedo(b, r, requests[request], n)
				})
			}
		}
		require.NoError(b, r.Close())
	}
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
	r := native.New()
	for name, req := range walredotest.Requests(t) {
		p, err := r.Redo(context.Background(), nil, req)
		require.NoError(t, err)
		require.Len(t, p, pg.BlockSize)
		t.Logf("native/%s: crc32 %08x", name, crc32.ChecksumIEEE(p))
	}
}
