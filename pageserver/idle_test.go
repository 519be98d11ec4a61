package pageserver_test

import (
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pageserver"
	"github.com/stratapg/strata/pageserver/client"
	"github.com/stratapg/strata/pageserver/pagestream"
)

// inUse is what the process has of the heap and of stacks, after a collection.
func inUse() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// TestIdleConnections: a connection whose stream has nothing to do costs at most 20 KiB, what the client needs for it included.
func TestIdleConnections(t *testing.T) {
	limit := int64(20 << 10)
	if testkit.UnderRace {
		limit *= 2 // its own stacks and pools
	}
	n := testkit.Size(100, 400, 1000)
	s := serve(t, pageserver.Config{})
	query, err := (&pgproto3.Query{String: "pagestream_v3 " + s.tenant.String() + " " + s.Info().ID.String()}).Encode(nil)
	require.NoError(t, err)
	hello, err := (&pgproto3.StartupMessage{ProtocolVersion: pgproto3.ProtocolVersion30, Parameters: map[string]string{"user": "x"}}).Encode(nil)
	require.NoError(t, err)
	r := at(s.LastRecordLSN())
	r.Kind, r.Rel = pagestream.Page, page.RelTag{Spc: 1663, DB: 5, Rel: 1259}
	ask, err := (&pgproto3.CopyData{Data: r.Append(nil, pagestream.V3)}).Encode(nil)
	require.NoError(t, err)
	open := func() {
		for range n {
			nc, err := net.Dial("tcp", s.addr)
			require.NoError(t, err)
			t.Cleanup(func() { _ = nc.Close() })
			_, err = nc.Write(append(append(append([]byte(nil), hello...), query...), ask...))
			require.NoError(t, err)
			for b, got := make([]byte, 16<<10), 0; got < 8239; { // what precedes the page is less than it
				m, err := nc.Read(b)
				require.NoError(t, err)
				got += m
			}
		}
	}
	open() // pools, caches and the engine's goroutines are as they will be
	before := inUse()
	open()
	require.EqualValues(t, 2*n, s.s.Metrics().Connections)
	require.Positive(t, ofConnections())
	each := (inUse() - before) / int64(n)
	t.Logf("%d bytes for each of %d idle connections", each, n)
	require.Less(t, each, limit)
}

// TestSoak: clients ask, change their minds and are killed, and in the end nothing of them is left: no goroutine, descriptor or
// memory. STRATA_SOAK says how long it takes, as time.ParseDuration understands it.
func TestSoak(t *testing.T) {
	lasting := time.Duration(testkit.Size(1, 2, 60)) * time.Second
	if v := os.Getenv("STRATA_SOAK"); v != "" {
		var err error
		lasting, err = time.ParseDuration(v)
		require.NoError(t, err)
	}
	const clients, few = 64, 16 // files that the engine opens come and go
	s := serve(t, pageserver.Config{})
	r := at(s.LastRecordLSN())
	r.Kind, r.Rel = pagestream.Page, page.RelTag{Spc: 1663, DB: 5, Rel: 1259}
	round := func(end time.Time) {
		var all sync.WaitGroup
		for i := range clients {
			all.Go(func() { soakClient(t, s, r, rand.New(rand.NewPCG(uint64(i), 7)), end) })
		}
		all.Wait()
		require.Eventually(t, func() bool { return s.s.Metrics().Connections == 0 }, time.Minute, time.Millisecond)
	}
	round(time.Now()) // what is made once
	require.Eventually(t, func() bool { return ofConnections() == 0 }, time.Minute, 10*time.Millisecond)
	files, memory := descriptors(), inUse()
	round(time.Now().Add(lasting))
	require.Eventually(t, func() bool { return ofConnections() == 0 }, time.Minute, 10*time.Millisecond)
	require.Eventually(t, func() bool { return descriptors() <= files+few }, time.Minute, 10*time.Millisecond, "descriptors: %d before", files)
	grown := inUse() - memory
	m := s.s.Metrics()
	t.Logf("%d connections, %d pages; the heap has grown by %s bytes", m.Accepted, m.Pages, strconv.FormatInt(grown, 10))
	require.Less(t, grown, int64(16<<20))
}

// soakClient connects until a time, at least once, each time asks for pages, and goes as it likes.
func soakClient(t *testing.T, s *served, r pagestream.Request, random *rand.Rand, end time.Time) {
	for first := true; first || time.Now().Before(end); first = false {
		c, err := client.Dial(t.Context(), s.addr, client.Options{})
		if err != nil {
			t.Error(err)
			return
		}
		st, err := c.Stream(s.tenant, s.Info().ID, pagestream.V3)
		if err != nil {
			t.Error(err)
			return
		}
		n := random.IntN(64)
		for i := range n {
			r.ID, r.Block = uint64(i), uint32(random.IntN(4))
			st.Queue(r)
		}
		err = st.Flush()
		for range random.IntN(n + 1) { // it may leave answers behind
			if err == nil {
				_, err = st.Receive()
			}
		}
		if err != nil {
			t.Error(err)
		}
		if random.IntN(2) == 0 {
			c.Abort()
		} else {
			_ = c.Close()
		}
	}
}

// ofConnections counts the goroutines in which a connection or one of its streams does something. (Those of the engine's reads stay.)
func ofConnections() int {
	stacks := make([]byte, 4<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	n := 0
	for g := range strings.SplitSeq(string(stacks), "\n\n") {
		if strings.Contains(g, "pageserver.(*conn)") || strings.Contains(g, "pageserver.(*stream)") {
			n++
		}
	}
	return n
}

// descriptors counts those of the process, 0 where that cannot be seen.
func descriptors() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(entries)
}
