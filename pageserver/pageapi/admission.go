package pageapi

import (
	"context"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// admission bounds the calls that are under way, of all connections together: each costs a goroutine and buffers, whether it asks
// for anything or not.
type admission struct {
	most          int64
	open, refused atomic.Int64
}

// begin admits a call, which is over with end. A look at the server's health is always admitted: it is short, and a server that
// is busy is not ill.
func (a *admission) begin(method string) (end func(), err error) {
	if method == grpc_health_v1.Health_Check_FullMethodName {
		return func() {}, nil
	}
	if a.open.Add(1) > a.most {
		a.open.Add(-1)
		a.refused.Add(1)
		return nil, status.Errorf(codes.ResourceExhausted, "%d calls are under way here, and no more may be: close some, or ask again", a.most)
	}
	return func() { a.open.Add(-1) }, nil
}

func (a *admission) unary(ctx context.Context, r any, i *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	end, err := a.begin(i.FullMethod)
	if err != nil {
		return nil, err
	}
	defer end()
	return next(ctx, r)
}

func (a *admission) stream(srv any, st grpc.ServerStream, i *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	end, err := a.begin(i.FullMethod)
	if err != nil {
		return err
	}
	defer end()
	return next(srv, st)
}
