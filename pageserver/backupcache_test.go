package pageserver_test

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/basebackup"
	"github.com/stratapg/strata/internal/sample"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pageserver"
	"github.com/stratapg/strata/pageserver/client"
)

// cached is a store with stopped clusters, served with a cache of base backups, and what its backups have to be.
type cached struct {
	store, cache string
	limits       strata.BackupCacheOptions
	want         map[string][]byte // by query
	queries      []string

	engine *strata.Engine
	server *pageserver.Server
	addr   string
	stop   func()
	sum    strata.BackupCacheMetrics // of those before
}

// newCached imports a cluster, and branches from it, and keeps what their backups are without a cache.
func newCached(t *testing.T, branches int) *cached {
	t.Helper()
	s, err := sample.Open(filepath.Join(testkit.RepoRoot(t), "testdata", "sample"))
	require.NoError(t, err)
	dir := t.TempDir()
	data := filepath.Join(dir, "cluster")
	require.NoError(t, s.ExtractCluster(data))
	c := &cached{store: filepath.Join(dir, "store"), cache: filepath.Join(dir, "cache"), want: map[string][]byte{}}
	e, err := strata.Open(t.Context(), strata.Options{Dir: c.store, CreateIfMissing: true})
	require.NoError(t, err)
	tn, err := e.DefaultTenant(t.Context())
	require.NoError(t, err)
	tl, _, err := tn.Import(t.Context(), strata.ImportOptions{PGData: data, Name: "main"})
	require.NoError(t, err)
	all := []*strata.Timeline{tl}
	for n := range branches {
		b, err := tn.Branch(t.Context(), tl, strata.BranchOptions{Name: fmt.Sprint("branch", n)})
		require.NoError(t, err)
		all = append(all, b)
	}
	for _, tl := range all {
		place := fmt.Sprintf("basebackup %s %s %s", tn.ID(), tl.Info().ID, tl.LastRecordLSN())
		for _, algorithm := range []basebackup.Algorithm{basebackup.NoCompression, basebackup.Gzip} {
			flags := ""
			if algorithm == basebackup.Gzip {
				flags = " --gzip"
			}
			var w bytes.Buffer
			_, err := tl.BaseBackup(t.Context(), &w, strata.BaseBackupOptions{Format: strata.BackupCompute, Compression: strata.BackupCompression{Algorithm: algorithm}})
			require.NoError(t, err)
			c.want[place+flags] = w.Bytes()
			c.queries = append(c.queries, place+flags)
		}
	}
	require.NoError(t, e.Close())
	c.limits = strata.BackupCacheOptions{Dir: c.cache, Kinds: []strata.BackupKind{
		{Format: strata.BackupCompute}, {Format: strata.BackupCompute, Compression: strata.BackupCompression{Algorithm: basebackup.Gzip}},
	}}
	return c
}

// start opens the store with the cache and serves it.
func (c *cached) start(t *testing.T) {
	t.Helper()
	var err error
	c.engine, err = strata.Open(t.Context(), strata.Options{Dir: c.store, BackupCache: c.limits})
	require.NoError(t, err)
	c.server, err = pageserver.New(pageserver.Config{Engine: c.engine})
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	c.addr = l.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	c.server.SetSocketRoom(smallRoom)
	go func() { ended <- c.server.Serve(ctx, smallSockets{l}) }()
	c.stop = func() {
		cancel()
		require.NoError(t, <-ended)
		m := c.engine.BackupCacheMetrics()
		require.LessOrEqual(t, m.Bytes, m.BytesLimit)
		require.LessOrEqual(t, m.Entries, m.EntriesLimit)
		c.sum.Hits += m.Hits + m.Shared
		c.sum.Misses += m.Misses
		c.sum.Damaged += m.Damaged
		c.sum.Evictions += m.Evictions
		require.NoError(t, c.engine.Close())
	}
}

// ask sends a query and compares what comes with what it has to be. An answer that is broken off with an error is no wrong one.
func (c *cached) ask(ctx context.Context, query string) (whole bool, err error) {
	a, err := c.begin(ctx, query)
	if err != nil {
		return false, err
	}
	defer a.Close()
	got, err := a.read(math.MaxInt)
	if err != nil {
		return false, nil
	}
	return true, c.compare(query, got)
}

func (c *cached) compare(query string, got []byte) error {
	if !bytes.Equal(c.want[query], got) {
		return fmt.Errorf("%s: %d bytes that are wrong, of %d", query, len(got), len(c.want[query]))
	}
	return nil
}

// harm does something to a file of the cache, if there is one: in place, or by putting another one there.
func (c *cached) harm(r *rand.Rand) {
	names, _ := filepath.Glob(filepath.Join(c.cache, "*.basebackup"))
	if len(names) == 0 {
		return
	}
	name := names[r.IntN(len(names))]
	switch r.IntN(8) {
	case 0:
		_ = os.Remove(name)
		return
	case 1:
		_ = os.Rename(names[r.IntN(len(names))], name)
		return
	case 2:
		c.exchange(r, name)
		return
	}
	f, err := os.OpenFile(name, os.O_RDWR, 0) // it waits for those to whom it is sent just now
	if err != nil {
		return // it gave way meanwhile
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil || st.Size() == 0 {
		return
	}
	at := r.Int64N(st.Size())
	if r.IntN(4) == 0 {
		_ = f.Truncate(at)
		return
	}
	// A whole stretch of it, so that what is sent just now has some of it.
	_, _ = f.WriteAt(bytes.Repeat([]byte{0xa5}, int(min(1<<20, st.Size()-at))), at)
}

// exchange puts a file with one bit flipped in the place of another.
func (c *cached) exchange(r *rand.Rand, name string) {
	b, err := os.ReadFile(name)
	if err != nil || len(b) == 0 {
		return
	}
	b[r.IntN(len(b))] ^= 1 << r.IntN(8)
	f, err := os.CreateTemp(filepath.Dir(c.cache), "harmed")
	if err != nil {
		return
	}
	_, _ = f.Write(b)
	_ = f.Close()
	_ = os.Rename(f.Name(), name)
}

// TestThousandBackups asks for backups from many connections, of a cache that is far too small, whose files are harmed in place and
// exchanged while they are sent and while nobody looks, and that is closed and opened again. No answer may be whole and wrong.
func TestThousandBackups(t *testing.T) {
	requests := testkit.Size(24, 84, 1000)
	c := newCached(t, testkit.Size(1, 3, 3))
	c.limits.Entries, c.limits.Bytes = testkit.Size(3, 5, 5), 48<<20
	r := testkit.Rand(t, 1)
	rounds, clients := testkit.Size(2, 4, 4), 3
	var harmed, broken atomic.Int64
	for range rounds {
		c.start(t)
		var all sync.WaitGroup
		for range clients {
			mine := rand.New(rand.NewPCG(r.Uint64(), 0))
			all.Go(func() {
				for range requests / rounds / clients {
					if mine.IntN(4) == 0 {
						harmed.Add(1)
						c.harm(mine)
					}
					whole, err := c.ask(t.Context(), c.queries[mine.IntN(len(c.queries))])
					if err != nil {
						t.Error(err)
					}
					if !whole {
						broken.Add(1)
					}
				}
			})
		}
		all.Wait()
		if leases(t) {
			c.overwritten(t, stalled)
		}
		c.stop()
		for range 2 {
			c.harm(r)
		}
		require.NoError(t, os.WriteFile(filepath.Join(c.cache, "a-b-c-1.basebackup.___temp"), []byte("half"), 0o600))
	}
	require.LessOrEqual(t, broken.Load(), harmed.Load()*int64(clients))
	t.Logf("%d requests: %d found, %d not; %d gave way, %d of %d harmed were met, %d answers broken off", requests, c.sum.Hits, c.sum.Misses,
		c.sum.Evictions, c.sum.Damaged, harmed.Load(), broken.Load())

	// And each of these once for sure.
	c.sum = strata.BackupCacheMetrics{}
	c.limits.Entries = 1
	c.start(t)
	for c.engine.BackupCacheMetrics().Hits == 0 { // what is made at the start may push it out at first
		whole, err := c.ask(t.Context(), c.queries[0])
		require.NoError(t, err)
		require.True(t, whole)
	}
	whole, err := c.ask(t.Context(), c.queries[1])
	require.NoError(t, err)
	require.True(t, whole)
	c.stop()
	names, err := filepath.Glob(filepath.Join(c.cache, "*.basebackup"))
	require.NoError(t, err)
	require.Len(t, names, 1)
	require.NoError(t, os.WriteFile(names[0], []byte(strings.Repeat("wrong", 1000)), 0o600))
	c.start(t)
	whole, err = c.ask(t.Context(), c.queries[1])
	require.NoError(t, err)
	require.True(t, whole)
	c.stop()
	require.Positive(t, c.sum.Hits)
	require.Positive(t, c.sum.Evictions)
	require.Positive(t, c.sum.Damaged)
}

// TestCachedForms shows which requests get what is kept, and that those with another meaning do not.
func TestCachedForms(t *testing.T) {
	c := newCached(t, 0)
	c.start(t)
	defer c.stop()
	hits := func() int64 { m := c.engine.BackupCacheMetrics(); return m.Hits + m.Shared }
	all := func() int64 { m := c.engine.BackupCacheMetrics(); return m.Hits + m.Shared + m.Misses }
	for _, q := range c.queries {
		for range 2 {
			whole, err := c.ask(t.Context(), q)
			require.NoError(t, err)
			require.True(t, whole)
		}
	}
	for leases(t) && c.server.Metrics().FileBytes == 0 { // until a file is old enough to be trusted
		whole, err := c.ask(t.Context(), c.queries[0])
		require.NoError(t, err)
		require.True(t, whole)
		whole, err = c.ask(t.Context(), c.queries[1])
		require.NoError(t, err)
		require.True(t, whole)
	}
	before, asked := hits(), all()
	require.GreaterOrEqual(t, before, int64(len(c.queries)))
	words := strings.Fields(c.queries[0])
	place := strings.Join(words[1:3], " ")
	conn, err := client.Dial(t.Context(), c.addr, client.Options{})
	require.NoError(t, err)
	defer conn.Close()
	for _, q := range []string{"basebackup " + place + " latest --replica", "fullbackup " + place} {
		_, err := conn.Copy(q, &bytes.Buffer{})
		require.NoError(t, err)
	}
	require.Equal(t, asked, all(), "kinds that are not kept are not asked for")
	var got bytes.Buffer
	_, err = conn.Copy("basebackup "+place+" latest", &got)
	require.NoError(t, err)
	require.Equal(t, before+1, hits(), "the last state, by whatever name")

	// Once the timeline goes on, the record before the state is not told any more, and the backup is another.
	tn, err := c.engine.DefaultTenant(t.Context())
	require.NoError(t, err)
	tl, err := tn.Timeline(t.Context(), "main")
	require.NoError(t, err)
	stopped := tl.LastRecordLSN()
	var b page.Batch
	b.PutImage(page.CheckpointKey, stopped+8, make([]byte, 88))
	require.NoError(t, tl.Put(t.Context(), &b))
	got.Reset()
	_, err = tl.BaseBackup(t.Context(), &got, strata.BaseBackupOptions{LSN: stopped, Format: strata.BackupCompute})
	require.NoError(t, err)
	require.Contains(t, got.String(), "PREV LSN: invalid")
	require.Equal(t, before+1, hits())
}
