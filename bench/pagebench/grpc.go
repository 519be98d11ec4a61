package pagebench

import (
	"context"
	"fmt"
	"math"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pageserver/pageapi"
	"github.com/stratapg/strata/pageserver/pageapi/pb"
)

// GRPC asks over gRPC, by one stream of GetPages for each client.
type GRPC struct {
	// Addr is host:port; Token, if set, is sent with each call.
	Addr, Token string
	// Compress has messages compressed, by gzip.
	Compress bool
}

// dial makes a connection. Calls on it go to a target by the context that on gives.
func (g GRPC) dial() (*grpc.ClientConn, error) {
	calls := []grpc.CallOption{grpc.MaxCallRecvMsgSize(math.MaxInt32)}
	if g.Compress {
		calls = append(calls, grpc.UseCompressor(gzip.Name))
	}
	return grpc.NewClient(g.Addr, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(calls...))
}

func (g GRPC) on(ctx context.Context, t Target) context.Context {
	md := metadata.Pairs(pageapi.TenantKey, t.Tenant.String(), pageapi.TimelineKey, t.Timeline.String(), pageapi.ShardKey, "0000")
	if g.Token != "" {
		md.Set(pageapi.AuthorizationKey, "Bearer "+g.Token)
	}
	return metadata.NewOutgoingContext(ctx, md)
}

func (g GRPC) connect(ctx context.Context, t Target, _ int) (connection, error) {
	c, err := g.dial()
	if err != nil {
		return nil, err
	}
	st, err := g.stream(ctx, c, t)
	if err != nil {
		c.Close()
		return nil, err
	}
	return st, nil
}

// stream opens one on a connection, which ends with it.
func (g GRPC) stream(ctx context.Context, c *grpc.ClientConn, t Target) (*grpcConn, error) {
	st, err := pb.NewPageServiceClient(c).GetPages(g.on(context.WithoutCancel(ctx), t))
	if err != nil {
		return nil, fmt.Errorf("timeline %s: %w", t, err)
	}
	return &grpcConn{c: c, st: st, target: t}, nil
}

// shareConnections gives a way to connect by which so many streams have one connection.
func shareConnections(g GRPC, streams int) func(context.Context, Target, int) (connection, error) {
	var c *grpc.ClientConn
	left := 0
	return func(ctx context.Context, t Target, _ int) (connection, error) {
		if left == 0 {
			var err error
			if c, err = g.dial(); err != nil {
				return nil, err
			}
			left = streams
		}
		left--
		return g.stream(ctx, c, t)
	}
}

type grpcConn struct {
	c      *grpc.ClientConn
	st     grpc.BidiStreamingClient[pb.GetPageRequest, pb.GetPageResponse]
	target Target
	id     uint64
	ready  []*pb.GetPageRequest
}

func (g *grpcConn) queue(b Blocks, at, since page.LSN) {
	g.id++
	r := &pb.GetPageRequest{
		RequestId: &pb.RequestID{Id: g.id}, RequestClass: pb.GetPageClass_GET_PAGE_CLASS_NORMAL,
		ReadLsn: &pb.ReadLsn{RequestLsn: uint64(at), NotModifiedSinceLsn: uint64(since)},
		Rel:     &pb.RelTag{SpcOid: b.Rel.Spc, DbOid: b.Rel.DB, RelNumber: b.Rel.Rel, ForkNumber: uint32(b.Rel.Fork)},
	}
	for i := range b.N {
		r.BlockNumber = append(r.BlockNumber, b.First+i)
	}
	g.ready = append(g.ready, r)
}

func (g *grpcConn) flush() error {
	for _, r := range g.ready {
		if err := g.st.Send(r); err != nil {
			return err
		}
	}
	g.ready = g.ready[:0]
	return nil
}

func (g *grpcConn) receive(pages int) error {
	r, err := g.st.Recv()
	switch {
	case err != nil:
		return err
	case r.StatusCode != pb.GetPageStatusCode_GET_PAGE_STATUS_CODE_OK:
		return fmt.Errorf("timeline %s: the server says %s: %s", g.target, r.StatusCode, r.Reason)
	case len(r.Page) != pages:
		return fmt.Errorf("timeline %s: %d pages instead of %d", g.target, len(r.Page), pages)
	}
	return nil
}

func (g *grpcConn) abort() { g.c.Close() }
