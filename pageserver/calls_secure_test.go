package pageserver_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"math/big"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pageserver"
	"github.com/stratapg/strata/pageserver/pageapi"
	"github.com/stratapg/strata/pageserver/pageapi/pb"
	"github.com/stratapg/strata/pageserver/pagestream"
	"github.com/stratapg/strata/pageserver/tally"
)

// newCertificate makes a certificate of a number for localhost.
func newCertificate(t *testing.T, number int64) *tls.Certificate {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	c := &x509.Certificate{SerialNumber: big.NewInt(number), DNSNames: []string{"localhost"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &k.PublicKey, k)
	require.NoError(t, err)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: k}
}

// somePages asks for the first pages of a relation, and compares them with the library's.
func (g *calls) somePages(t *testing.T, s *served, client pb.PageServiceClient, o ...grpc.CallOption) {
	t.Helper()
	ctx, cancel := context.WithCancel(g.ctx)
	defer cancel()
	st, err := client.GetPages(ctx, o...)
	require.NoError(t, err)
	rel := page.RelTag{Spc: 1663, DB: 5, Rel: 1259}
	require.NoError(t, st.Send(&pb.GetPageRequest{RequestId: &pb.RequestID{}, ReadLsn: readLSN(s.lsns[0]), Rel: relation(rel), BlockNumber: []uint32{0, 1, 2}}))
	m, err := st.Recv()
	require.NoError(t, err)
	require.Len(t, m.Page, 3)
	for i, p := range m.Page {
		want, err := s.Page(t.Context(), rel, uint32(i), s.lsns[0])
		require.NoError(t, err)
		require.True(t, bytes.Equal(want, p.Image))
	}
}

// TestCallsOverTLS: with a certificate gRPC is spoken over TLS alone, and a new certificate is used without a restart.
func TestCallsOverTLS(t *testing.T) {
	s := serve(t, pageserver.Config{})
	var cert atomic.Pointer[tls.Certificate]
	cert.Store(newCertificate(t, 1))
	g := s.calls(t, pageapi.Config{TLS: &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return cert.Load(), nil }}}, "")
	dial := func() (serial int64) {
		var seen atomic.Int64
		conn, err := grpc.NewClient("passthrough:///"+g.addr, grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{InsecureSkipVerify: true, VerifyConnection: func(c tls.ConnectionState) error {
			seen.Store(c.PeerCertificates[0].SerialNumber.Int64())
			return nil
		}})))
		require.NoError(t, err)
		defer conn.Close()
		g.somePages(t, s, pb.NewPageServiceClient(conn))
		return seen.Load()
	}
	require.EqualValues(t, 1, dial())
	cert.Store(newCertificate(t, 2))
	require.EqualValues(t, 2, dial())
	_, err := g.GetDbSize(g.ctx, &pb.GetDbSizeRequest{ReadLsn: readLSN(s.lsns[0]), DbOid: 5})
	require.Equal(t, codes.Unavailable, status.Code(err), "a client without TLS")
}

// wireBytes counts what of answers' payload crosses the wire, and what it is when decompressed.
type wireBytes struct{ compressed, whole atomic.Int64 }

func (*wireBytes) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context   { return ctx }
func (*wireBytes) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (*wireBytes) HandleConn(context.Context, stats.ConnStats)                       {}
func (w *wireBytes) HandleRPC(_ context.Context, s stats.RPCStats) {
	if in, ok := s.(*stats.InPayload); ok {
		w.compressed.Add(int64(in.CompressedLength))
		w.whole.Add(int64(in.Length))
	}
}

// TestCompressedCalls: answers come as the client sends, and what a compressed message grows to is bounded too.
func TestCompressedCalls(t *testing.T) {
	s := serve(t, pageserver.Config{})
	g := s.calls(t, pageapi.Config{MaxMessage: 4 << 10}, "")
	for _, name := range []string{"gzip", "zstd"} {
		var w wireBytes
		conn, err := grpc.NewClient("passthrough:///"+g.addr, grpc.WithTransportCredentials(insecureCredentials), grpc.WithStatsHandler(&w))
		require.NoError(t, err)
		client := pb.NewPageServiceClient(conn)
		for range 3 { // coders are used again
			g.somePages(t, s, client, grpc.UseCompressor(name))
		}
		require.Positive(t, w.whole.Load())
		require.Less(t, w.compressed.Load(), w.whole.Load()/2, "%s: pages are compressed", name)
		st, err := client.GetPages(g.ctx, grpc.UseCompressor(name))
		require.NoError(t, err)
		require.NoError(t, st.Send(&pb.GetPageRequest{BlockNumber: make([]uint32, 16<<20)}))
		_, err = st.Recv()
		require.Equal(t, codes.ResourceExhausted, status.Code(err), "%s: a few KiB that grow to 16 MiB: %v", name, err)
		g.somePages(t, s, client)
		require.NoError(t, conn.Close())
	}
}

// http2Preface is what a connection begins with.
const http2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// rawCodec sends bytes as they are.
type rawCodec struct{}

func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(*v.(*[]byte))}, nil
}
func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*[]byte) = data.Materialize()
	return nil
}
func (rawCodec) Name() string { return "proto" }

var _ encoding.CodecV2 = rawCodec{}

// TestMalformedCalls: what is no message of gRPC, or no request, ends its call or its connection, and no other.
func TestMalformedCalls(t *testing.T) {
	s := serve(t, pageserver.Config{})
	g := s.calls(t, pageapi.Config{MaxMessage: 4 << 10, Startup: 2 * time.Second}, "")
	for _, b := range [][]byte{{0xff}, {0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f}, bytes.Repeat([]byte{0x22}, 1000), {0x2a, 0x05, 1, 2}} {
		st, err := g.conn.NewStream(g.ctx, &grpc.StreamDesc{StreamName: "GetPages", ClientStreams: true, ServerStreams: true}, "/page_api.PageService/GetPages", grpc.ForceCodecV2(rawCodec{}))
		require.NoError(t, err)
		require.NoError(t, st.SendMsg(&b))
		var out []byte
		err = st.RecvMsg(&out)
		require.Equal(t, codes.Internal, status.Code(err), "%x: %v", b, err)
		err = g.conn.Invoke(g.ctx, "/page_api.PageService/GetDbSize", &b, &out, grpc.ForceCodecV2(rawCodec{}))
		require.Equal(t, codes.Internal, status.Code(err), "%x: %v", b, err)
	}
	frame := func(length uint32, kind byte) []byte { // of HTTP/2, with nothing behind its head
		h := binary.BigEndian.AppendUint32(nil, length<<8|uint32(kind))
		return append(h, 0, 0, 0, 0, 1)
	}
	for name, b := range map[string][]byte{
		"no HTTP/2":        []byte("GET / HTTP/1.1\r\n\r\n"),
		"a frame too long": append([]byte(http2Preface), frame(1<<24-1, 0)...),
		"no settings":      append([]byte(http2Preface), frame(0, 9)...),
	} {
		nc, err := net.Dial("tcp", g.addr)
		require.NoError(t, err)
		_, err = nc.Write(b)
		require.NoError(t, err, name)
		requireClosed(t, nc)
		require.NoError(t, nc.Close())
	}
	g.somePages(t, s, g)
}

// TestSilentCalls: who connects and says nothing, and who does not answer when asked whether he is there, is not waited for.
func TestSilentCalls(t *testing.T) {
	s := serve(t, pageserver.Config{})
	g := s.calls(t, pageapi.Config{Startup: time.Second, Ping: time.Second, Pong: time.Second}, "")
	g.somePages(t, s, g)
	for _, begin := range []string{"", http2Preface + "\x00\x00\x00\x04\x00\x00\x00\x00\x00"} { // the latter with settings, and half open then
		nc, err := net.Dial("tcp", g.addr)
		require.NoError(t, err)
		_, err = nc.Write([]byte(begin))
		require.NoError(t, err)
		requireClosed(t, nc)
		require.NoError(t, nc.Close())
	}
	g.somePages(t, s, g) // which has answered pings
	require.EqualValues(t, 1, g.s.Metrics().Connections)
}

// TestDeadlines: a client that gives up is not worked for any longer.
func TestDeadlines(t *testing.T) {
	s := serve(t, pageserver.Config{})
	g := s.calls(t, pageapi.Config{}, "")
	ended := func() int64 { return g.s.Metrics().Requests.Of[tally.DatabaseSize].Requests }
	for patience := 50 * time.Millisecond; ended() == 0; patience *= 2 { // where the machine is busy, a request that is given up may never arrive
		ctx, cancel := context.WithTimeout(g.ctx, patience)
		_, err := g.GetDbSize(ctx, &pb.GetDbSizeRequest{ReadLsn: readLSN(s.LastRecordLSN() + 1<<20), DbOid: 5})
		cancel()
		require.Equal(t, codes.DeadlineExceeded, status.Code(err))
		require.Less(t, patience, time.Minute, "its request does not end")
	}
}

// TestSlowUnderPressure: clients that take no answers have memory until another one needs it. Then they lose their connections.
func TestSlowUnderPressure(t *testing.T) {
	const memory = 1 << 20
	s := serve(t, pageserver.Config{Memory: memory, Slow: 20 * time.Millisecond, Grace: 20 * time.Millisecond})
	r := at(s.lsns[0])
	r.Kind, r.Rel = pagestream.Page, page.RelTag{Spc: 1663, DB: 5, Rel: 1259}
	many := make([]pagestream.Request, 4096)
	for i := range many {
		many[i] = r
	}
	const slow = 8
	for range slow {
		st := s.stream(t, pagestream.V3)
		go func() { _ = st.Send(many...) }() // ended by the test's end at the latest
	}
	require.Eventually(t, func() bool { return s.s.Metrics().Memory.Waits > 0 }, time.Minute, time.Millisecond)
	quick := s.stream(t, pagestream.V3)
	for range 100 {
		_, err := quick.Ask(r)
		require.NoError(t, err)
		require.LessOrEqual(t, s.s.Metrics().Memory.Used, int64(memory))
	}
	require.Positive(t, s.s.Metrics().Late)
	s.stop()
	err := <-s.ended
	require.NoError(t, err)
	s.ended <- err // for the clean-up
	require.Zero(t, s.s.Metrics().Memory.Used)
}
