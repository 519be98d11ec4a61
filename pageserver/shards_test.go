package pageserver_test

import (
	"bytes"
	"context"
	"net"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pageserver"
	"github.com/stratapg/strata/pageserver/client"
	"github.com/stratapg/strata/pageserver/pageapi"
	"github.com/stratapg/strata/pageserver/pageapi/pb"
	"github.com/stratapg/strata/pageserver/pagestream"
	"github.com/stratapg/strata/pg"
)

// What the tenants here have: one relation, in stripes so small that each of a few shards has some.
const (
	dealtBlocks = 40
	dealtStripe = 4
)

var (
	dealt         = page.RelTag{Spc: 1663, DB: 5, Rel: 16384}
	dealtTenant   = page.TenantID{1, 2}
	dealtTimeline = page.TimelineID{3, 4}
)

func dealtPage(block int) []byte { return bytes.Repeat([]byte{byte(block + 1)}, pg.BlockSize) }

// dealtStore is a store with the tenant, or with one shard of it, behind both servers.
type dealtStore struct {
	t    *testing.T
	e    *strata.Engine
	addr string
	g    pb.PageServiceClient
	last page.LSN
}

func newDealt(t *testing.T, shard page.ShardIdentity) *dealtStore {
	e, err := strata.Open(t.Context(), strata.Options{Dir: filepath.Join(t.TempDir(), "store"), CreateIfMissing: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, e.Close()) })
	tn, err := e.CreateShard(t.Context(), dealtTenant, shard)
	require.NoError(t, err)
	tl, err := tn.Create(t.Context(), strata.CreateOptions{Name: "main", ID: dealtTimeline, Version: 17, InitialLSN: 0x1000})
	require.NoError(t, err)
	var b page.Batch
	b.PutImage(page.DBDirKey, 0x1008, datadir.EncodeDatabases(nil))
	require.NoError(t, tl.Put(t.Context(), &b))
	m := datadir.NewModification(tl, 17, 0)
	require.NoError(t, m.Begin(datadir.RecordSpan{Start: 0x1008, End: 0x1020}))
	require.NoError(t, m.CreateRelation(t.Context(), dealt))
	for n := range dealtBlocks {
		require.NoError(t, m.PutBlockImage(t.Context(), dealt, uint32(n), dealtPage(n)))
	}
	m.End()
	require.NoError(t, m.Commit(t.Context()))
	s := &dealtStore{t: t, e: e, last: tl.LastRecordLSN()}

	pages, err := pageserver.New(pageserver.Config{Engine: e})
	require.NoError(t, err)
	calls, err := pageapi.New(pageapi.Config{Engine: e})
	require.NoError(t, err)
	s.addr = listen(t, pages.Serve)
	s.g = pb.NewPageServiceClient(dialCalls(t, listen(t, calls.Serve)))
	return s
}

// listen serves at an address of its own until the test's end.
func listen(t *testing.T, serve func(context.Context, net.Listener) error) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-ended)
	})
	return l.Addr().String()
}

func (s *dealtStore) stream() *client.Stream {
	c, err := client.Dial(s.t.Context(), s.addr, client.Options{})
	require.NoError(s.t, err)
	s.t.Cleanup(func() { _ = c.Close() })
	st, err := c.Stream(dealtTenant, dealtTimeline, pagestream.V3)
	require.NoError(s.t, err)
	return st
}

// of gives the metadata of calls to a shard.
func (s *dealtStore) of(shard string) context.Context {
	return metadata.AppendToOutgoingContext(s.t.Context(), pageapi.TenantKey, dealtTenant.String(), pageapi.TimelineKey, dealtTimeline.String(), pageapi.ShardKey, shard)
}

func (s *dealtStore) ask(kind pagestream.Kind, block int) pagestream.Request {
	r := at(s.last)
	r.Kind, r.Rel, r.Block, r.Database = kind, dealt, uint32(block), dealt.DB
	return r
}

// readAll asks for all pages in one go, which a server with all shards has.
func (s *dealtStore) readAll(st *client.Stream) {
	s.t.Helper()
	var asked []pagestream.Request
	for n := range dealtBlocks {
		asked = append(asked, s.ask(pagestream.Page, n))
	}
	require.NoError(s.t, st.Send(asked...))
	for n := range asked {
		a, err := st.Receive()
		require.NoError(s.t, err)
		require.Empty(s.t, a.Error)
		require.True(s.t, bytes.Equal(dealtPage(n), a.Pages), "block %d", n)
	}
	for k, want := range map[pagestream.Kind]int64{pagestream.RelationSize: dealtBlocks, pagestream.DatabaseSize: dealtBlocks * pg.BlockSize} {
		a, err := st.Ask(s.ask(k, 0))
		require.NoError(s.t, err)
		require.Equal(s.t, want, max(int64(a.Blocks), a.Bytes))
	}
}

// call asks for blocks over gRPC.
func (s *dealtStore) call(shard string, blocks ...uint32) (*pb.GetPageResponse, error) {
	st, err := s.g.GetPages(s.of(shard))
	require.NoError(s.t, err)
	defer func() { _ = st.CloseSend() }()
	require.NoError(s.t, st.Send(&pb.GetPageRequest{RequestId: &pb.RequestID{Id: 1}, ReadLsn: readLSN(s.last), Rel: relation(dealt), BlockNumber: blocks}))
	return st.Recv()
}

// everyThird lists blocks of all shards, backwards.
func everyThird() (blocks []uint32) {
	for n := dealtBlocks - 1; n >= 0; n -= 3 {
		blocks = append(blocks, uint32(n))
	}
	return blocks
}

func (s *dealtStore) callAll(shard string) {
	s.t.Helper()
	blocks := everyThird()
	m, err := s.call(shard, blocks...)
	require.NoError(s.t, err)
	require.Equal(s.t, pb.GetPageStatusCode_GET_PAGE_STATUS_CODE_OK, m.StatusCode, m.Reason)
	require.Len(s.t, m.Page, len(blocks))
	for i, p := range m.Page {
		require.Equal(s.t, blocks[i], p.BlockNumber)
		require.True(s.t, bytes.Equal(dealtPage(int(blocks[i])), p.Image), "block %d", blocks[i])
	}
	size, err := s.g.GetRelSize(s.of(shard), &pb.GetRelSizeRequest{ReadLsn: readLSN(s.last), Rel: relation(dealt)})
	require.NoError(s.t, err)
	require.EqualValues(s.t, dealtBlocks, size.NumBlocks)
	_, err = s.g.LeaseLsn(s.of(shard), &pb.LeaseLsnRequest{Lsn: uint64(s.last)})
	require.NoError(s.t, err)
}

// TestSplitUnderStreams: streams to a tenant that is split end so that clients connect anew; then the shards answer as one, also
// those who ask the tenant that was, and each refuses what another one has.
func TestSplitUnderStreams(t *testing.T) {
	s := newDealt(t, page.ShardIdentity{})
	before := s.stream()
	s.readAll(before)
	s.callAll("0000")
	early, err := s.g.GetPages(s.of("0000"))
	require.NoError(t, err)
	request := &pb.GetPageRequest{RequestId: &pb.RequestID{}, ReadLsn: readLSN(s.last), Rel: relation(dealt), BlockNumber: []uint32{1}}
	require.NoError(t, early.Send(request))
	_, err = early.Recv()
	require.NoError(t, err)

	const shards = 4
	_, err = s.e.Split(t.Context(), dealtTenant, strata.SplitOptions{Shards: shards, StripeSize: dealtStripe})
	require.NoError(t, err)
	_, err = before.Ask(s.ask(pagestream.Page, 1))
	var told *client.ServerError
	require.ErrorAs(t, err, &told)
	require.Equal(t, "57P01", told.Code)
	_, err = before.Receive()
	require.Error(t, err, "and the connection has ended")
	require.NoError(t, early.Send(request))
	_, err = early.Recv()
	require.Equal(t, codes.Unavailable, status.Code(err), "%v", err)

	s.readAll(s.stream())
	s.callAll("0000")
	c, err := client.Dial(t.Context(), s.addr, client.Options{})
	require.NoError(t, err)
	defer c.Close()
	for _, id := range []string{dealtTenant.String(), dealtTenant.String() + "-0304"} {
		_, ok, err := c.Row("lease lsn " + id + " " + dealtTimeline.String() + " " + s.last.String())
		require.NoError(t, err)
		require.True(t, ok)
	}

	asked := map[uint8]int{}
	for n := range dealtBlocks {
		owner := page.NewShardIdentity(0, shards, dealtStripe).Owner(dealt.Block(uint32(n)))
		asked[owner]++
		m, err := s.call(page.ShardIndex{Number: owner, Count: shards}.String(), uint32(n))
		require.NoError(t, err)
		require.Equal(t, pb.GetPageStatusCode_GET_PAGE_STATUS_CODE_OK, m.StatusCode, m.Reason)
		require.True(t, bytes.Equal(dealtPage(n), m.Page[0].Image))
		m, err = s.call(page.ShardIndex{Number: (owner + 1) % shards, Count: shards}.String(), uint32(n))
		require.NoError(t, err)
		require.Equal(t, pb.GetPageStatusCode_GET_PAGE_STATUS_CODE_INVALID_REQUEST, m.StatusCode)
		require.Contains(t, m.Reason, "belongs to shard")
	}
	require.Len(t, asked, shards, "each has some")
	_, err = s.g.GetRelSize(s.of("0104"), &pb.GetRelSizeRequest{ReadLsn: readLSN(s.last), Rel: relation(dealt)})
	require.Equal(t, codes.InvalidArgument, status.Code(err), "%v", err)
	_, err = s.g.GetRelSize(s.of("0008"), &pb.GetRelSizeRequest{ReadLsn: readLSN(s.last), Rel: relation(dealt)})
	require.Equal(t, codes.NotFound, status.Code(err), "%v", err)

	_, err = s.e.Split(t.Context(), dealtTenant, strata.SplitOptions{Shards: 2 * shards})
	require.NoError(t, err)
	s.callAll("0000")
	for n := range dealtBlocks { // the shards that were are answered for, each with its own blocks alone
		owner := page.NewShardIdentity(0, shards, dealtStripe).Owner(dealt.Block(uint32(n)))
		m, err := s.call(page.ShardIndex{Number: owner, Count: shards}.String(), uint32(n))
		require.NoError(t, err)
		require.True(t, bytes.Equal(dealtPage(n), m.Page[0].Image))
		m, err = s.call(page.ShardIndex{Number: (owner + 1) % shards, Count: shards}.String(), uint32(n))
		require.NoError(t, err)
		require.Equal(t, pb.GetPageStatusCode_GET_PAGE_STATUS_CODE_INVALID_REQUEST, m.StatusCode)
	}
}

// TestShardElsewhere: a server that has one shard answers for that, and tells who asks for what another one has to look again.
func TestShardElsewhere(t *testing.T) {
	here := page.NewShardIdentity(1, 2, dealtStripe)
	s := newDealt(t, here)
	own, other := -1, -1
	for n := range dealtBlocks {
		if here.Owns(dealt.Block(uint32(n))) {
			own = n
		} else {
			other = n
		}
	}
	for _, r := range []pagestream.Request{s.ask(pagestream.Page, other), s.ask(pagestream.RelationSize, 0)} {
		st := s.stream()
		require.NoError(t, st.Send(s.ask(pagestream.Page, own), r, s.ask(pagestream.Page, own)))
		a, err := st.Receive()
		var told *client.ServerError
		if err == nil { // it was not read together with the next one
			require.True(t, bytes.Equal(dealtPage(own), a.Pages))
			_, err = st.Receive()
		}
		require.ErrorAs(t, err, &told)
		require.Equal(t, "08006", told.Code)
		require.Contains(t, told.Message, "another shard has it")
	}
}
