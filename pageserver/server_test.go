package pageserver_test

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/internal/sample"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pageserver"
	"github.com/stratapg/strata/pageserver/client"
	"github.com/stratapg/strata/pageserver/pageapi"
	"github.com/stratapg/strata/pageserver/pagestream"
	"github.com/stratapg/strata/pg"
)

func TestMain(m *testing.M) { os.Exit(runAll(m)) }

func runAll(m *testing.M) int {
	dir, err := os.MkdirTemp("", "strata-pageserver")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	workDir = dir
	code := m.Run()
	if cluster.Engine != nil {
		err = cluster.Close()
	}
	if err := cmp.Or(err, goleak.Find()); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// cluster is the sample in a store, which all tests share.
var (
	workDir string
	making  sync.Once
	cluster struct {
		*strata.Engine
		tenant *strata.Tenant
		tl     *strata.Timeline
		lsns   []page.LSN
	}
)

func makeCluster(t *testing.T) {
	t.Helper()
	s, err := sample.Open(filepath.Join(testkit.RepoRoot(t), "testdata", "sample"))
	require.NoError(t, err)
	data, wal := filepath.Join(workDir, "cluster"), filepath.Join(workDir, "wal")
	require.NoError(t, s.ExtractCluster(data))
	require.NoError(t, s.ExtractWAL(wal))
	dropTemplates(t, data)
	cluster.lsns = s.LSNs()
	cluster.lsns = cluster.lsns[:testkit.Size(2, len(cluster.lsns), len(cluster.lsns))] // so much of its WAL is taken in
	ctx := context.Background()                                                         // it lives longer than the test that happens to make it
	cluster.Engine, err = strata.Open(ctx, strata.Options{Dir: filepath.Join(workDir, "store"), CreateIfMissing: true, CheckpointDistance: 1 << 20})
	require.NoError(t, err)
	cluster.tenant, err = cluster.DefaultTenant(ctx)
	require.NoError(t, err)
	cluster.tl, _, err = cluster.tenant.Import(ctx, strata.ImportOptions{PGData: data, Name: "main"})
	require.NoError(t, err)
	_, err = cluster.tl.Ingest(ctx, strata.IngestOptions{Dir: wal, Until: cluster.lsns[len(cluster.lsns)-1]})
	require.NoError(t, err)
}

// dropTemplates removes what is large of the databases that nobody connects to: backups take half the time then.
func dropTemplates(t *testing.T, data string) {
	t.Helper()
	const large = 32 << 10
	for _, db := range []string{"1", "4"} {
		files, err := os.ReadDir(filepath.Join(data, "base", db))
		require.NoError(t, err)
		for _, f := range files {
			if i, err := f.Info(); err == nil && i.Size() > large {
				require.NoError(t, os.Remove(filepath.Join(data, "base", db, f.Name())))
			}
		}
	}
}

// full is what the library has in a full backup at the first LSN: its entries, and how long it is.
func (s *served) full(t *testing.T) ([]string, int64) {
	t.Helper()
	fullOnce.Do(func() {
		var b bytes.Buffer
		r, err := s.BaseBackup(t.Context(), &b, strata.BaseBackupOptions{LSN: s.lsns[0]})
		require.NoError(t, err)
		fullBytes, fullEntries = r.Bytes, entries(t, &b)
	})
	return fullEntries, fullBytes
}

var (
	fullOnce    sync.Once
	fullEntries []string
	fullBytes   int64
)

// served is the sample cluster behind a page server.
type served struct {
	*strata.Timeline
	s      *pageserver.Server
	addr   string
	tenant page.TenantID
	lsns   []page.LSN
	stop   context.CancelFunc
	ended  chan error
}

func serve(t *testing.T, c pageserver.Config) *served {
	t.Helper()
	making.Do(func() { makeCluster(t) })
	c.Engine = cluster.Engine
	out := &served{Timeline: cluster.tl, tenant: cluster.tenant.ID(), lsns: cluster.lsns, ended: make(chan error, 1)}
	var err error
	out.s, err = pageserver.New(c)
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	out.addr = l.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	out.stop = cancel
	go func() { out.ended <- out.s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-out.ended)
	})
	return out
}

func (s *served) dial(t *testing.T) *client.Conn {
	t.Helper()
	c, err := client.Dial(t.Context(), s.addr, client.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func (s *served) stream(t *testing.T, v pagestream.Version) *client.Stream {
	t.Helper()
	st, err := s.dial(t).Stream(s.tenant, s.Info().ID, v)
	require.NoError(t, err)
	return st
}

// at asks for a state that the client has seen.
func at(lsn page.LSN) pagestream.Request { return pagestream.Request{LSN: lsn, NotModifiedSince: lsn} }

// relations lists the relations of all databases at an LSN.
func (s *served) relations(t *testing.T, lsn page.LSN) (rels []page.RelTag) {
	t.Helper()
	c := s.Cluster(lsn)
	dbs, err := c.Databases(t.Context())
	require.NoError(t, err)
	for _, d := range dbs {
		rs, err := c.Relations(t.Context(), d.Spc, d.DB)
		require.NoError(t, err)
		rels = append(rels, rs...)
	}
	return rels
}

// TestPages: pages at several LSNs are the same over the three ways: from the library, over both versions of pagestream, and
// over gRPC, many at a time.
func TestPages(t *testing.T) {
	s := serve(t, pageserver.Config{})
	g := s.calls(t, pageapi.Config{}, "")
	for i, lsn := range s.lsns[:testkit.Size(1, min(3, len(s.lsns)), len(s.lsns))] {
		v := pagestream.V2 + pagestream.Version(i%2)
		st := s.stream(t, v)
		var asked []pagestream.Request
		for _, rel := range s.relations(t, lsn) {
			r := at(lsn)
			r.Kind, r.Rel, r.ID = pagestream.RelationSize, rel, uint64(len(asked))
			a, err := st.Ask(r)
			require.NoError(t, err)
			want, err := s.Cluster(lsn).RelSize(t.Context(), rel)
			require.NoError(t, err)
			require.Equal(t, want, a.Blocks)
			r.Kind = pagestream.Page
			for r.Block = range min(want, uint32(testkit.Size(5, 60, 5000))) {
				asked = append(asked, r)
			}
			if r.Block = want - 1; want > uint32(testkit.Size(5, 60, 5000)) {
				asked = append(asked, r)
			}
		}
		sent := make(chan error, 1)
		go func() { sent <- sendAll(st, asked) }()
		called := g.pages(t, asked)
		for i := range asked {
			a, err := st.Receive()
			require.NoError(t, err)
			require.Empty(t, a.Error)
			want, err := s.Page(t.Context(), asked[i].Rel, asked[i].Block, lsn)
			require.NoError(t, err)
			require.True(t, bytes.Equal(want, a.Pages), "pagestream: %s block %d at %s", asked[i].Rel, asked[i].Block, lsn)
			require.True(t, bytes.Equal(want, called[i]), "gRPC: %s block %d at %s", asked[i].Rel, asked[i].Block, lsn)
		}
		require.NoError(t, <-sent)
	}
	m := s.s.Metrics()
	require.Equal(t, m.Pages, m.Requests[pagestream.Page])
	require.Less(t, m.Batches, m.Pages, "requests were read together")
	require.Equal(t, m.Pages, g.s.Metrics().Pages)
}

func sendAll(st *client.Stream, rs []pagestream.Request) error {
	for len(rs) > 0 {
		n := min(len(rs), 100)
		if err := st.Send(rs[:n]...); err != nil {
			return err
		}
		rs = rs[n:]
	}
	return nil
}

// TestOtherRequests asks for what is no page, and for what there is not.
func TestOtherRequests(t *testing.T) {
	s := serve(t, pageserver.Config{WaitLSN: 50 * time.Millisecond})
	last := s.LastRecordLSN()
	class := page.RelTag{Spc: 1663, DB: 5, Rel: 1259}
	for _, v := range []pagestream.Version{pagestream.V2, pagestream.V3} {
		st := s.stream(t, v)
		ask := func(k pagestream.Kind, change func(r *pagestream.Request)) (pagestream.Answer, error) {
			r := at(last)
			r.Kind, r.Rel, r.Database = k, class, class.DB
			if change != nil {
				change(&r)
			}
			return st.Ask(r)
		}
		fork := func(f page.Fork) func(*pagestream.Request) {
			return func(r *pagestream.Request) { r.Rel = class.WithFork(f) }
		}
		a, err := ask(pagestream.Exists, nil)
		require.NoError(t, err)
		require.True(t, a.Exists)
		a, err = ask(pagestream.Exists, fork(page.ForkInit))
		require.NoError(t, err)
		require.False(t, a.Exists)

		a, err = ask(pagestream.RelationSize, func(r *pagestream.Request) { r.LSN, r.NotModifiedSince = pagestream.Latest, 0 })
		require.NoError(t, err)
		size, err := s.Cluster(last).RelSize(t.Context(), class)
		require.NoError(t, err)
		require.Equal(t, size, a.Blocks)
		_, err = ask(pagestream.RelationSize, fork(page.ForkInit))
		require.ErrorContains(t, err, "no such key")
		a, err = ask(pagestream.RelationSize, func(r *pagestream.Request) { r.Rel = page.RelTag{Spc: 1663, DB: 5, Rel: 99999, Fork: page.ForkFSM} })
		require.NoError(t, err)
		require.Zero(t, a.Blocks, "a map that is not there is empty")

		a, err = ask(pagestream.DatabaseSize, nil)
		require.NoError(t, err)
		require.Equal(t, s.databaseSize(t, class.DB, last), a.Bytes)

		a, err = ask(pagestream.SLRUSegment, nil)
		require.NoError(t, err)
		n, err := s.Cluster(last).SLRUSegmentPages(t.Context(), page.Clog, 0)
		require.NoError(t, err)
		require.Positive(t, n)
		require.Equal(t, n, a.Blocks)
		first, err := s.Get(t.Context(), page.Clog.Block(0, 0), last)
		require.NoError(t, err)
		require.Equal(t, first[:pg.BlockSize], a.Pages[:pg.BlockSize])
		_, err = ask(pagestream.SLRUSegment, func(r *pagestream.Request) { r.Segment = 77 })
		require.ErrorContains(t, err, "no such key")
		_, err = ask(pagestream.SLRUSegment, func(r *pagestream.Request) { r.SLRU = 9 })
		require.ErrorContains(t, err, "no SLRU of kind 9")

		a, err = ask(pagestream.Page, func(r *pagestream.Request) { r.Block = size + 3 })
		require.NoError(t, err)
		require.Equal(t, make([]byte, pg.BlockSize), a.Pages, "beyond the end")
		_, err = ask(pagestream.Page, func(r *pagestream.Request) { r.Rel.Rel = 99999 })
		require.ErrorContains(t, err, "99999")
		for _, lsns := range [][2]page.LSN{{0, 0}, {last - 8, last}} {
			_, err = ask(pagestream.Page, func(r *pagestream.Request) { r.LSN, r.NotModifiedSince = lsns[0], lsns[1] })
			require.ErrorContains(t, err, "bad request")
		}
		_, err = ask(pagestream.Page, func(r *pagestream.Request) { r.LSN, r.NotModifiedSince = 8, 8 })
		require.Error(t, err, "before the history")
		_, err = ask(pagestream.Page, func(r *pagestream.Request) { r.LSN, r.NotModifiedSince = last+800, last+800 })
		require.ErrorContains(t, err, "is its WAL being ingested?")
		_, err = ask(pagestream.Page, nil)
		require.NoError(t, err, "the stream goes on")
	}
}

func (s *served) databaseSize(t *testing.T, db uint32, lsn page.LSN) (bytes int64) {
	c := s.Cluster(lsn)
	rels, err := c.Relations(t.Context(), 1663, db)
	require.NoError(t, err)
	for _, rel := range rels {
		n, err := c.RelSize(t.Context(), rel)
		require.NoError(t, err)
		bytes += int64(n) * pg.BlockSize
	}
	return bytes
}

// TestFailuresAmongPages: in one batch, those requests that fail have their errors and the others their pages.
func TestFailuresAmongPages(t *testing.T) {
	s := serve(t, pageserver.Config{})
	st := s.stream(t, pagestream.V3)
	last := s.LastRecordLSN()
	var asked []pagestream.Request
	for i := range 300 {
		r := at(last)
		r.Kind, r.ID, r.Rel = pagestream.Page, uint64(i), page.RelTag{Spc: 1663, DB: 5, Rel: 1259}
		r.Block = uint32(i % 4)
		if i%7 == 3 {
			r.Rel.Rel = 99999
		}
		asked = append(asked, r)
	}
	require.NoError(t, st.Send(asked...))
	for i := range asked {
		a, err := st.Receive()
		require.NoError(t, err)
		if i%7 == 3 {
			require.Contains(t, a.Error, "99999")
			continue
		}
		require.Empty(t, a.Error)
		want, err := s.Page(t.Context(), asked[i].Rel, asked[i].Block, last)
		require.NoError(t, err)
		require.Equal(t, want, a.Pages)
	}
	require.EqualValues(t, 43, s.s.Metrics().Failed[pagestream.Page])
}

// TestWaitsForWAL: a request beyond the end is answered once the end has come there.
func TestWaitsForWAL(t *testing.T) {
	s := serve(t, pageserver.Config{})
	st := s.stream(t, pagestream.V3)
	next := s.LastRecordLSN() + 8
	r := at(next)
	r.Kind, r.Rel = pagestream.Exists, page.RelTag{Spc: 1663, DB: 5, Rel: 1259}
	require.NoError(t, st.Send(r))
	require.Eventually(t, func() bool { return s.s.Metrics().Waits == 1 }, time.Minute, time.Millisecond)
	var b page.Batch
	b.PutImage(page.CheckpointKey, next, make([]byte, 8))
	require.NoError(t, s.Put(t.Context(), &b))
	a, err := st.Receive()
	require.NoError(t, err)
	require.True(t, a.Exists)
}

// TestBatchesUnderWay: while one request waits those behind it are read, and their answers wait for its answer. More batches
// than may be under way are not begun.
func TestBatchesUnderWay(t *testing.T) {
	const size, underWay = 8, 4
	s := serve(t, pageserver.Config{Batch: size})
	st := s.stream(t, pagestream.V3)
	last := s.LastRecordLSN()
	rel := page.RelTag{Spc: 1663, DB: 5, Rel: 1259}
	first := at(last + 8)
	first.Kind, first.ID, first.Rel = pagestream.Page, 1, rel
	require.NoError(t, st.Send(first))
	require.Eventually(t, func() bool { return s.s.Metrics().Waits == 1 }, time.Minute, time.Millisecond)
	var asked []pagestream.Request
	for i := range 2 * underWay * size {
		r := at(last)
		r.Kind, r.ID, r.Rel, r.Block = pagestream.Page, uint64(i+2), rel, uint32(i%4)
		asked = append(asked, r)
	}
	require.NoError(t, st.Send(asked...))
	require.Eventually(t, func() bool { return s.s.Metrics().Batches == underWay-1 }, time.Minute, time.Millisecond)
	require.LessOrEqual(t, s.s.Metrics().Pages, int64((underWay-1)*size))
	var b page.Batch
	b.PutImage(page.CheckpointKey, last+8, make([]byte, 8))
	require.NoError(t, s.Put(t.Context(), &b))
	for _, r := range append([]pagestream.Request{first}, asked...) {
		a, err := st.Receive() // which refuses an answer to another request
		require.NoError(t, err)
		want, err := s.Page(t.Context(), rel, r.Block, last)
		require.NoError(t, err)
		require.Equal(t, want, a.Pages)
	}
}

// TestCommands beside streams, and what is none.
func TestCommands(t *testing.T) {
	s := serve(t, pageserver.Config{})
	c := s.dial(t)
	ids := s.tenant.String() + " " + s.Info().ID.String()
	for query, want := range map[string]string{
		"select 1":                    "no command",
		"pagestream_v1 " + ids:        "no command",
		"show all":                    "no command",
		"fullbackup":                  "needs arguments",
		";":                           "empty query",
		"pagestream_v2 " + ids + " x": "too much",
		"pagestream_v3 xx yy":         "tenant",
		"pagestream_v3 " + strings.Repeat("0", 31) + "1 " + strings.Repeat("1", 32): "no such tenant",
		"PageStream_V3 " + s.tenant.String() + " " + strings.Repeat("1", 32):        "no such timeline",
		"lease lsn " + ids:            "one LSN",
		"lease " + ids:                "instead of lsn",
		"fullbackup " + ids + " 0/xx": "LSN",
		"basebackup " + ids + " 0/xx": "LSN",

		"basebackup " + ids + " latest --gzip --gzip": "given twice",
		"basebackup " + ids + " latest --bzip2":       "there are --gzip and --replica",
		"basebackup " + ids + " 0/16B3748 0/16B3740":  "is no flag",
	} {
		_, err := c.Copy(query, io.Discard)
		var refused *client.ServerError
		require.ErrorAs(t, err, &refused, query)
		require.Equal(t, "XX000", refused.Code)
		require.Contains(t, refused.Message, want, query)
	}

	until, ok, err := c.Row("lease lsn " + ids + " " + s.LastRecordLSN().String())
	require.NoError(t, err)
	require.True(t, ok)
	ms, err := strconv.ParseInt(until, 10, 64)
	require.NoError(t, err)
	require.Greater(t, ms, time.Now().UnixMilli())
	_, ok, err = c.Row("lease lsn " + ids + " 0/8")
	require.NoError(t, err)
	require.False(t, ok, "not to be had any more")

	var got, want bytes.Buffer
	n, err := c.Copy("fullbackup "+ids+" "+s.lsns[0].String(), &got)
	require.NoError(t, err)
	files, length := s.full(t)
	require.Equal(t, length, n)
	require.Equal(t, files, entries(t, &got))

	for flags, o := range map[string]strata.BaseBackupOptions{
		"":                                   {},
		" latest --replica":                  {Replica: true},
		" " + s.lsns[0].String() + " --gzip": {LSN: s.lsns[0]},
		" --replica --gzip":                  {Replica: true},
	} {
		got.Reset()
		want.Reset()
		_, err := c.Copy("basebackup "+ids+flags, &got)
		require.NoError(t, err)
		o.Format = strata.BackupCompute
		_, err = s.BaseBackup(t.Context(), &want, o)
		require.NoError(t, err)
		var tar io.Reader = &got
		if strings.Contains(flags, "gzip") {
			tar, err = gzip.NewReader(&got)
			require.NoError(t, err)
		}
		require.Equal(t, entries(t, &want), entries(t, tar), flags)
	}
}

// entries lists the files of an archive with their sizes.
func entries(t *testing.T, r io.Reader) (out []string) {
	t.Helper()
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		require.NoError(t, err)
		out = append(out, h.Name+" "+strconv.FormatInt(h.Size, 10))
	}
}

// raw is a connection whose messages the test makes itself.
func (s *served) raw(t *testing.T) (net.Conn, *pgproto3.Frontend) {
	t.Helper()
	nc, err := net.Dial("tcp", s.addr)
	require.NoError(t, err)
	t.Cleanup(func() { nc.Close() })
	fe := pgproto3.NewFrontend(nc, nc)
	fe.Send(&pgproto3.StartupMessage{ProtocolVersion: pgproto3.ProtocolVersion30, Parameters: map[string]string{"user": "x"}})
	require.NoError(t, fe.Flush())
	skipTo[*pgproto3.ReadyForQuery](t, fe)
	return nc, fe
}

// skipTo receives until a message of a type.
func skipTo[M pgproto3.BackendMessage](t *testing.T, fe *pgproto3.Frontend) M {
	t.Helper()
	for {
		m, err := fe.Receive()
		require.NoError(t, err)
		if m, ok := m.(M); ok {
			return m
		}
	}
}

// TestBadStreams: what is no request ends the stream with an error, and the connection goes on.
func TestBadStreams(t *testing.T) {
	s := serve(t, pageserver.Config{})
	for name, m := range map[string]pgproto3.FrontendMessage{
		"no request": &pgproto3.CopyData{Data: []byte{99, 1, 2}},
		"empty":      &pgproto3.CopyData{},
		"copy done":  &pgproto3.CopyDone{},
		"copy fail":  &pgproto3.CopyFail{Message: "no more"},
		"query":      &pgproto3.Query{String: "select 1"},
	} {
		_, fe := s.raw(t)
		fe.Send(&pgproto3.Query{String: "pagestream_v3 " + s.tenant.String() + " " + s.Info().ID.String()})
		require.NoError(t, fe.Flush())
		skipTo[*pgproto3.CopyBothResponse](t, fe)
		fe.Send(m)
		require.NoError(t, fe.Flush())
		require.Equal(t, "XX000", skipTo[*pgproto3.ErrorResponse](t, fe).Code, name)
		skipTo[*pgproto3.ReadyForQuery](t, fe)
		fe.Send(&pgproto3.Parse{Query: "set x to y"})
		fe.Send(&pgproto3.Bind{})
		fe.Send(&pgproto3.Describe{ObjectType: 'P'})
		fe.Send(&pgproto3.Execute{})
		fe.Send(&pgproto3.Sync{})
		require.NoError(t, fe.Flush())
		require.Equal(t, "SELECT 1", string(skipTo[*pgproto3.CommandComplete](t, fe).CommandTag))
		skipTo[*pgproto3.ReadyForQuery](t, fe)
	}
}

// TestFloods: oversized and malformed messages end their connection alone, and so does a client that does not read.
func TestFloods(t *testing.T) {
	s := serve(t, pageserver.Config{Idle: 2 * time.Second})
	nc, _ := s.raw(t)
	_, err := nc.Write([]byte{'Q', 0x7f, 0xff, 0xff, 0xff})
	require.NoError(t, err)
	requireClosed(t, nc)

	slow := s.stream(t, pagestream.V3)
	r := at(s.LastRecordLSN())
	r.Kind, r.Rel = pagestream.Page, page.RelTag{Spc: 1663, DB: 5, Rel: 1259}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		for slow.Send(r) == nil { // it takes no answer, until the server does not wait for it any more
		}
	}()
	quick := s.stream(t, pagestream.V3)
	for range 100 {
		_, err := quick.Ask(r)
		require.NoError(t, err)
	}
	<-gone
}

// TestSilence: who does not begin is not waited for.
func TestSilence(t *testing.T) {
	s := serve(t, pageserver.Config{Startup: 50 * time.Millisecond})
	silent, err := net.Dial("tcp", s.addr)
	require.NoError(t, err)
	defer silent.Close()
	requireClosed(t, silent)
}

// TestConnections: more than may be are closed at once.
func TestConnections(t *testing.T) {
	s := serve(t, pageserver.Config{Connections: 2})
	s.raw(t)
	s.raw(t)
	refused, err := net.Dial("tcp", s.addr)
	require.NoError(t, err)
	defer refused.Close()
	requireClosed(t, refused)
	require.EqualValues(t, 1, s.s.Metrics().Refused)
}

// requireClosed waits until the server has closed a connection.
func requireClosed(t *testing.T, nc net.Conn) {
	t.Helper()
	require.NoError(t, nc.SetReadDeadline(time.Now().Add(time.Minute)))
	for b := make([]byte, 1024); ; {
		if _, err := nc.Read(b); err != nil {
			require.NotErrorIs(t, err, context.DeadlineExceeded)
			var late net.Error
			require.False(t, errors.As(err, &late) && late.Timeout(), "the connection stays open")
			return
		}
	}
}

// TestShutdown: the end of the server's context tells clients and leaves nothing behind, streams that wait for WAL included.
func TestShutdown(t *testing.T) {
	s := serve(t, pageserver.Config{})
	_, idle := s.raw(t)
	waiting := s.stream(t, pagestream.V3)
	r := at(s.LastRecordLSN() + 800)
	r.Kind = pagestream.DatabaseSize
	require.NoError(t, waiting.Send(r))
	require.Eventually(t, func() bool { return s.s.Metrics().Waits == 1 }, time.Minute, time.Millisecond)
	s.stop()
	require.Equal(t, "57P01", skipTo[*pgproto3.ErrorResponse](t, idle).Code)
	for {
		if _, err := waiting.Receive(); err != nil {
			break
		}
	}
	err := <-s.ended
	require.NoError(t, err)
	s.ended <- err // for the clean-up
	require.Zero(t, s.s.Metrics().Connections)
}
