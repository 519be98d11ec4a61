package pageserver_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pageserver"
	"github.com/stratapg/strata/pageserver/pageapi"
	"github.com/stratapg/strata/pageserver/pageapi/pb"
	"github.com/stratapg/strata/pageserver/pagestream"
	"github.com/stratapg/strata/pageserver/tally"
	"github.com/stratapg/strata/pg"
)

// insecureCredentials are none.
var insecureCredentials = insecure.NewCredentials()

// calls is a client of the sample cluster over gRPC.
type calls struct {
	pb.PageServiceClient
	conn  *grpc.ClientConn
	s     *pageapi.Server
	ctx   context.Context // with metadata
	stop  context.CancelFunc
	ended chan error
	addr  string
}

// calls serves the cluster over gRPC too, and connects to it.
func (s *served) calls(t *testing.T, c pageapi.Config, token string) *calls {
	t.Helper()
	c.Engine = cluster.Engine
	g := &calls{ended: make(chan error, 1)}
	var err error
	g.s, err = pageapi.New(c)
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	g.stop, g.addr = cancel, l.Addr().String()
	go func() { g.ended <- g.s.Serve(ctx, l) }()
	g.conn = dialCalls(t, g.addr)
	g.PageServiceClient = pb.NewPageServiceClient(g.conn)
	g.ctx = s.withPlace(t.Context(), token)
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-g.ended)
		require.Zero(t, g.s.Metrics().Connections)
	})
	return g
}

func dialCalls(t *testing.T, addr string) *grpc.ClientConn {
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecureCredentials))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// withPlace gives a context with the metadata of calls to the cluster.
func (s *served) withPlace(ctx context.Context, token string) context.Context {
	ctx = metadata.AppendToOutgoingContext(ctx, pageapi.TenantKey, s.tenant.String(), pageapi.TimelineKey, s.Info().ID.String(), pageapi.ShardKey, "0000")
	if token != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, pageapi.AuthorizationKey, "Bearer "+token)
	}
	return ctx
}

func readLSN(lsn page.LSN) *pb.ReadLsn { return &pb.ReadLsn{RequestLsn: uint64(lsn)} }

func relation(r page.RelTag) *pb.RelTag {
	return &pb.RelTag{SpcOid: r.Spc, DbOid: r.DB, RelNumber: r.Rel, ForkNumber: uint32(r.Fork)}
}

// pages asks for pages, those of one relation that follow each other in one request.
func (g *calls) pages(t *testing.T, asked []pagestream.Request) (images [][]byte) {
	t.Helper()
	ctx, cancel := context.WithCancel(g.ctx)
	defer cancel()
	st, err := g.GetPages(ctx)
	require.NoError(t, err)
	for id := uint64(0); len(asked) > 0; id++ {
		r := &pb.GetPageRequest{RequestId: &pb.RequestID{Id: id, Attempt: 3}, ReadLsn: readLSN(asked[0].LSN), Rel: relation(asked[0].Rel)}
		for len(asked) > 0 && len(r.BlockNumber) < 32 && asked[0].Rel == (page.RelTag{Spc: r.Rel.SpcOid, DB: r.Rel.DbOid, Rel: r.Rel.RelNumber, Fork: page.Fork(r.Rel.ForkNumber)}) {
			r.BlockNumber = append(r.BlockNumber, asked[0].Block)
			asked = asked[1:]
		}
		require.NoError(t, st.Send(r))
		m, err := st.Recv()
		require.NoError(t, err)
		require.Equal(t, pb.GetPageStatusCode_GET_PAGE_STATUS_CODE_OK, m.StatusCode, m.Reason)
		require.Equal(t, r.RequestId.String(), m.RequestId.String())
		require.Equal(t, r.Rel.String(), m.Rel.String())
		require.Len(t, m.Page, len(r.BlockNumber))
		for i, p := range m.Page {
			require.Equal(t, r.BlockNumber[i], p.BlockNumber)
			images = append(images, p.Image)
		}
	}
	require.NoError(t, st.CloseSend())
	_, err = st.Recv()
	require.ErrorIs(t, err, io.EOF)
	return images
}

// TestCalls asks over gRPC for what is no page, and for what there is not.
func TestCalls(t *testing.T) {
	s := serve(t, pageserver.Config{})
	g := s.calls(t, pageapi.Config{WaitLSN: 50 * time.Millisecond}, "")
	last := s.LastRecordLSN()
	class := page.RelTag{Spc: 1663, DB: 5, Rel: 1259}
	gone := page.RelTag{Spc: 1663, DB: 5, Rel: 99999}

	size, err := g.GetRelSize(g.ctx, &pb.GetRelSizeRequest{ReadLsn: &pb.ReadLsn{RequestLsn: 1<<64 - 1, NotModifiedSinceLsn: uint64(last)}, Rel: relation(class)})
	require.NoError(t, err)
	want, err := s.Cluster(last).RelSize(t.Context(), class)
	require.NoError(t, err)
	require.Equal(t, want, size.NumBlocks)
	size, err = g.GetRelSize(g.ctx, &pb.GetRelSizeRequest{ReadLsn: readLSN(last), Rel: relation(gone), AllowMissing: true})
	require.NoError(t, err)
	require.True(t, size.Missing)
	size, err = g.GetRelSize(g.ctx, &pb.GetRelSizeRequest{ReadLsn: readLSN(last), Rel: relation(class), AllowMissing: true})
	require.NoError(t, err)
	require.Equal(t, want, size.NumBlocks)
	require.False(t, size.Missing)

	db, err := g.GetDbSize(g.ctx, &pb.GetDbSizeRequest{ReadLsn: readLSN(last), DbOid: class.DB})
	require.NoError(t, err)
	require.EqualValues(t, s.databaseSize(t, class.DB, last), db.NumBytes)

	segment, err := g.GetSlruSegment(g.ctx, &pb.GetSlruSegmentRequest{ReadLsn: readLSN(last)})
	require.NoError(t, err)
	clog, err := s.Cluster(last).SLRUSegment(t.Context(), page.Clog, 0)
	require.NoError(t, err)
	require.Equal(t, clog, segment.Segment)

	lease, err := g.LeaseLsn(g.ctx, &pb.LeaseLsnRequest{Lsn: uint64(last)})
	require.NoError(t, err)
	require.True(t, lease.Expires.AsTime().After(time.Now()))

	for name, c := range map[string]struct {
		code codes.Code
		call func() error
	}{
		"no relation": {codes.NotFound, func() error {
			_, err := g.GetRelSize(g.ctx, &pb.GetRelSizeRequest{ReadLsn: readLSN(last), Rel: relation(gone)})
			return err
		}},
		"no fork": {codes.InvalidArgument, func() error {
			_, err := g.GetRelSize(g.ctx, &pb.GetRelSizeRequest{ReadLsn: readLSN(last), Rel: &pb.RelTag{RelNumber: 1259, ForkNumber: 9}})
			return err
		}},
		"no relation named": {codes.InvalidArgument, func() error {
			_, err := g.GetRelSize(g.ctx, &pb.GetRelSizeRequest{ReadLsn: readLSN(last)})
			return err
		}},
		"no LSN": {codes.InvalidArgument, func() error {
			_, err := g.GetDbSize(g.ctx, &pb.GetDbSizeRequest{DbOid: 5})
			return err
		}},
		"LSN 0": {codes.InvalidArgument, func() error {
			_, err := g.GetDbSize(g.ctx, &pb.GetDbSizeRequest{ReadLsn: readLSN(0), DbOid: 5})
			return err
		}},
		"changed later": {codes.InvalidArgument, func() error {
			_, err := g.GetDbSize(g.ctx, &pb.GetDbSizeRequest{ReadLsn: &pb.ReadLsn{RequestLsn: 8, NotModifiedSinceLsn: 16}, DbOid: 5})
			return err
		}},
		"WAL that does not come": {codes.Internal, func() error {
			_, err := g.GetDbSize(g.ctx, &pb.GetDbSizeRequest{ReadLsn: readLSN(last + 800), DbOid: 5})
			return err
		}},
		"no SLRU": {codes.InvalidArgument, func() error {
			_, err := g.GetSlruSegment(g.ctx, &pb.GetSlruSegmentRequest{ReadLsn: readLSN(last), Kind: 300})
			return err
		}},
		"no segment": {codes.NotFound, func() error {
			_, err := g.GetSlruSegment(g.ctx, &pb.GetSlruSegmentRequest{ReadLsn: readLSN(last), Segno: 77})
			return err
		}},
		"a lease of nothing": {codes.InvalidArgument, func() error {
			_, err := g.LeaseLsn(g.ctx, &pb.LeaseLsnRequest{})
			return err
		}},
		"a lease of what was": {codes.FailedPrecondition, func() error {
			_, err := g.LeaseLsn(g.ctx, &pb.LeaseLsnRequest{Lsn: 8})
			return err
		}},
		"a backup without compression": {codes.InvalidArgument, func() error {
			_, err := g.backup(&pb.GetBaseBackupRequest{}, io.Discard)
			return err
		}},
		"a full replica": {codes.InvalidArgument, func() error {
			_, err := g.backup(&pb.GetBaseBackupRequest{Full: true, Replica: true, Compression: 1}, io.Discard)
			return err
		}},
	} {
		err := c.call()
		require.Equal(t, c.code, status.Code(err), "%s: %v", name, err)
	}
	m := g.s.Metrics()
	require.EqualValues(t, 6, m.Requests.Of[tally.RelationSize].Requests)
	require.EqualValues(t, 3, m.Requests.Of[tally.RelationSize].Failed)
	require.EqualValues(t, 1, m.Waits)
}

// backup copies a backup's pieces to w.
func (g *calls) backup(r *pb.GetBaseBackupRequest, w io.Writer) (n int64, err error) {
	st, err := g.GetBaseBackup(g.ctx, r)
	for err == nil {
		var m *pb.GetBaseBackupResponseChunk
		if m, err = st.Recv(); err == nil {
			n += int64(len(m.Chunk))
			_, err = w.Write(m.Chunk)
		}
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}

// TestCallBackups: backups over gRPC are those of the library.
func TestCallBackups(t *testing.T) {
	s := serve(t, pageserver.Config{})
	g := s.calls(t, pageapi.Config{}, "")
	for name, c := range map[string]struct {
		r *pb.GetBaseBackupRequest
		o strata.BaseBackupOptions
	}{
		"of the end":   {&pb.GetBaseBackupRequest{Compression: 1}, strata.BaseBackupOptions{Format: strata.BackupCompute}},
		"compressed":   {&pb.GetBaseBackupRequest{Lsn: uint64(s.lsns[0]), Compression: 2}, strata.BaseBackupOptions{LSN: s.lsns[0], Format: strata.BackupCompute}},
		"of a replica": {&pb.GetBaseBackupRequest{Replica: true, Compression: 1}, strata.BaseBackupOptions{Replica: true, Format: strata.BackupCompute}},
		"full":         {&pb.GetBaseBackupRequest{Lsn: uint64(s.lsns[0]), Full: true, Compression: 1}, strata.BaseBackupOptions{LSN: s.lsns[0]}},
	} {
		var got, want bytes.Buffer
		_, err := g.backup(c.r, &got)
		require.NoError(t, err, name)
		if c.r.Full {
			files, _ := s.full(t)
			require.Equal(t, files, entries(t, &got), name)
			continue
		}
		_, err = s.BaseBackup(t.Context(), &want, c.o)
		require.NoError(t, err)
		var tar io.Reader = &got
		if c.r.Compression == pb.BaseBackupCompression_BASE_BACKUP_COMPRESSION_GZIP {
			tar, err = gzip.NewReader(&got)
			require.NoError(t, err)
		}
		require.Equal(t, entries(t, &want), entries(t, tar), name)
	}
}

// TestStreamStatus: requests of a stream that fail are answered so, and the stream goes on.
func TestStreamStatus(t *testing.T) {
	s := serve(t, pageserver.Config{})
	g := s.calls(t, pageapi.Config{}, "")
	st, err := g.GetPages(g.ctx)
	require.NoError(t, err)
	last := s.LastRecordLSN()
	for i, c := range []struct {
		change func(r *pb.GetPageRequest)
		code   pb.GetPageStatusCode
		says   string
	}{
		{func(r *pb.GetPageRequest) { r.Rel.RelNumber = 99999 }, pb.GetPageStatusCode_GET_PAGE_STATUS_CODE_NOT_FOUND, "99999"},
		{func(r *pb.GetPageRequest) { r.Rel.RelNumber = 0 }, pb.GetPageStatusCode_GET_PAGE_STATUS_CODE_INVALID_REQUEST, "no relation"},
		{func(r *pb.GetPageRequest) { r.Rel = nil }, pb.GetPageStatusCode_GET_PAGE_STATUS_CODE_INVALID_REQUEST, "rel is missing"},
		{func(r *pb.GetPageRequest) { r.RequestId = nil }, pb.GetPageStatusCode_GET_PAGE_STATUS_CODE_INVALID_REQUEST, "request_id"},
		{func(r *pb.GetPageRequest) { r.BlockNumber = nil }, pb.GetPageStatusCode_GET_PAGE_STATUS_CODE_INVALID_REQUEST, "no block"},
		{func(r *pb.GetPageRequest) { r.BlockNumber = make([]uint32, 33) }, pb.GetPageStatusCode_GET_PAGE_STATUS_CODE_INVALID_REQUEST, "32 are the most"},
		{func(r *pb.GetPageRequest) { r.ReadLsn = nil }, pb.GetPageStatusCode_GET_PAGE_STATUS_CODE_INVALID_REQUEST, "read_lsn"},
		{func(r *pb.GetPageRequest) { r.ReadLsn = readLSN(8) }, pb.GetPageStatusCode_GET_PAGE_STATUS_CODE_INVALID_REQUEST, ""},
		{func(r *pb.GetPageRequest) { r.BlockNumber[0] = 1 << 30 }, pb.GetPageStatusCode_GET_PAGE_STATUS_CODE_OK, ""},
		{func(r *pb.GetPageRequest) {}, pb.GetPageStatusCode_GET_PAGE_STATUS_CODE_OK, ""},
	} {
		r := &pb.GetPageRequest{RequestId: &pb.RequestID{Id: uint64(i)}, ReadLsn: readLSN(last), Rel: relation(page.RelTag{Spc: 1663, DB: 5, Rel: 1259}), BlockNumber: []uint32{0}}
		c.change(r)
		require.NoError(t, st.Send(r))
		m, err := st.Recv()
		require.NoError(t, err)
		require.Equal(t, c.code, m.StatusCode, "%d: %s", i, m.Reason)
		require.Contains(t, m.Reason, c.says)
		require.Equal(t, r.RequestId.String(), m.RequestId.String())
		if c.code == pb.GetPageStatusCode_GET_PAGE_STATUS_CODE_OK {
			require.Len(t, m.Page, 1)
			require.Equal(t, r.BlockNumber[0] == 1<<30, bytes.Equal(m.Page[0].Image, make([]byte, pg.BlockSize)), "beyond the end alone are zeros")
		} else {
			require.Empty(t, m.Page)
		}
	}
}

// TestCallMetadata: a call that does not say where it goes, or to where nothing is, is told so.
func TestCallMetadata(t *testing.T) {
	s := serve(t, pageserver.Config{})
	g := s.calls(t, pageapi.Config{}, "")
	tenant, timeline := s.tenant.String(), s.Info().ID.String()
	for _, c := range []struct {
		tenant, timeline, shard string
		code                    codes.Code
	}{
		{tenant, timeline, "0000", codes.OK},
		{"", timeline, "0000", codes.InvalidArgument},
		{tenant, "", "0000", codes.InvalidArgument},
		{tenant, timeline, "", codes.InvalidArgument},
		{tenant[1:], timeline, "0000", codes.InvalidArgument},
		{tenant, "zz" + timeline[2:], "0000", codes.InvalidArgument},
		{tenant, timeline, "0200", codes.InvalidArgument},
		{tenant, timeline, "0102", codes.NotFound},
		{page.TenantID{9}.String(), timeline, "0000", codes.NotFound},
		{tenant, page.TimelineID{9}.String(), "0000", codes.NotFound},
	} {
		var pairs []string
		for _, p := range [][2]string{{pageapi.TenantKey, c.tenant}, {pageapi.TimelineKey, c.timeline}, {pageapi.ShardKey, c.shard}} {
			if p[1] != "" {
				pairs = append(pairs, p[:]...)
			}
		}
		ctx := metadata.AppendToOutgoingContext(t.Context(), pairs...)
		_, err := g.GetDbSize(ctx, &pb.GetDbSizeRequest{ReadLsn: readLSN(s.LastRecordLSN()), DbOid: 5})
		require.Equal(t, c.code, status.Code(err), "%+v: %v", c, err)
	}
	ctx := metadata.AppendToOutgoingContext(g.ctx, pageapi.TenantKey, tenant)
	_, err := g.GetDbSize(ctx, &pb.GetDbSizeRequest{})
	require.Equal(t, codes.InvalidArgument, status.Code(err), "a tenant named twice")
}

// TestHealthAndReflection: both are there for everybody, and the service is serving.
func TestHealthAndReflection(t *testing.T) {
	_, keys := signer(t)
	s := serve(t, pageserver.Config{})
	g := s.calls(t, pageapi.Config{Auth: keys}, "")
	for _, service := range []string{"", "page_api.PageService"} {
		h, err := grpc_health_v1.NewHealthClient(g.conn).Check(t.Context(), &grpc_health_v1.HealthCheckRequest{Service: service})
		require.NoError(t, err)
		require.Equal(t, grpc_health_v1.HealthCheckResponse_SERVING, h.Status)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, err := grpc_reflection_v1.NewServerReflectionClient(g.conn).ServerReflectionInfo(ctx)
	require.NoError(t, err)
	require.NoError(t, r.Send(&grpc_reflection_v1.ServerReflectionRequest{MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_ListServices{}}))
	m, err := r.Recv()
	require.NoError(t, err)
	var names []string
	for _, x := range m.GetListServicesResponse().Service {
		names = append(names, x.Name)
	}
	require.Contains(t, names, "page_api.PageService")
}

// TestCallShutdown: the end of the server's context tells those who wait for WAL, ends idle streams, and leaves nothing behind.
func TestCallShutdown(t *testing.T) {
	s := serve(t, pageserver.Config{})
	g := s.calls(t, pageapi.Config{}, "")
	idle, err := g.GetPages(g.ctx)
	require.NoError(t, err)
	waiting := make(chan error, 1)
	go func() {
		_, err := g.GetDbSize(g.ctx, &pb.GetDbSizeRequest{ReadLsn: readLSN(s.LastRecordLSN() + 800), DbOid: 5})
		waiting <- err
	}()
	require.Eventually(t, func() bool { return g.s.Metrics().Waits == 1 }, time.Minute, time.Millisecond)
	g.stop()
	require.Equal(t, codes.Unavailable, status.Code(<-waiting))
	_, err = idle.Recv()
	require.Error(t, err)
	err = <-g.ended
	require.NoError(t, err)
	g.ended <- err // for the clean-up
}

// TestCallLimits: messages that are too large and connections that are too many are refused, and a client that does not take
// its answers loses its connection.
func TestCallLimits(t *testing.T) {
	s := serve(t, pageserver.Config{})
	g := s.calls(t, pageapi.Config{Connections: 1, MaxMessage: 1 << 10, Idle: 100 * time.Millisecond}, "")
	st, err := g.GetPages(g.ctx)
	require.NoError(t, err)
	require.NoError(t, st.Send(&pb.GetPageRequest{BlockNumber: make([]uint32, 2000)}))
	_, err = st.Recv()
	require.Equal(t, codes.ResourceExhausted, status.Code(err))

	second := dialCalls(t, g.addr)
	_, err = pb.NewPageServiceClient(second).GetDbSize(g.ctx, &pb.GetDbSizeRequest{ReadLsn: readLSN(s.LastRecordLSN()), DbOid: 5})
	require.Equal(t, codes.Unavailable, status.Code(err))
	require.NoError(t, second.Close())
	require.Positive(t, g.s.Metrics().Refused)

	st, err = g.GetPages(g.ctx)
	require.NoError(t, err)
	r := &pb.GetPageRequest{RequestId: &pb.RequestID{}, ReadLsn: readLSN(s.LastRecordLSN()), Rel: relation(page.RelTag{Spc: 1663, DB: 5, Rel: 1259}), BlockNumber: []uint32{0, 1, 2, 3}}
	for st.Send(r) == nil { // it takes no answer, until the server does not wait for it any more
	}
	require.EqualValues(t, 1, g.s.Metrics().Late)
}

// TestCallsAreBounded: streams of all connections together are so many, and further calls are refused until one has ended; a look
// at the server's health never is.
func TestCallsAreBounded(t *testing.T) {
	s := serve(t, pageserver.Config{})
	g := s.calls(t, pageapi.Config{Calls: 2}, "")
	size := func(conn *grpc.ClientConn) error {
		_, err := pb.NewPageServiceClient(conn).GetDbSize(g.ctx, &pb.GetDbSizeRequest{ReadLsn: readLSN(s.lsns[0]), DbOid: 5})
		return err
	}
	second := dialCalls(t, g.addr)
	ctx, end := context.WithCancel(g.ctx)
	defer end()
	for _, conn := range []*grpc.ClientConn{g.conn, second} {
		_, err := pb.NewPageServiceClient(conn).GetPages(ctx)
		require.NoError(t, err)
	}
	require.Eventually(t, func() bool { return g.s.Metrics().Calls == 2 }, time.Minute, time.Millisecond)
	for _, conn := range []*grpc.ClientConn{g.conn, second, dialCalls(t, g.addr)} {
		require.Equal(t, codes.ResourceExhausted, status.Code(size(conn)))
		st, err := pb.NewPageServiceClient(conn).GetPages(g.ctx)
		require.NoError(t, err)
		_, err = st.Recv()
		require.Equal(t, codes.ResourceExhausted, status.Code(err))
		_, err = grpc_health_v1.NewHealthClient(conn).Check(t.Context(), &grpc_health_v1.HealthCheckRequest{})
		require.NoError(t, err)
	}
	m := g.s.Metrics()
	require.EqualValues(t, 2, m.Calls)
	require.EqualValues(t, 2, m.CallsLimit)
	require.EqualValues(t, 6, m.CallsRefused)
	end()
	require.Eventually(t, func() bool { return g.s.Metrics().Calls == 0 }, time.Minute, time.Millisecond)
	require.NoError(t, size(second))
}
