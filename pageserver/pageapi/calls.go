package pageapi

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pageserver/answer"
	"github.com/stratapg/strata/pageserver/pageapi/pb"
	"github.com/stratapg/strata/pageserver/tally"
)

// until gives a context that ends with the call, or when the server is told to stop.
func (s *Server) until(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(s.ctx, cancel)
	return ctx, func() {
		stop()
		cancel()
	}
}

// unary answers a call by fn, of shard 0, and counts it.
func unary[T any](call context.Context, s *Server, k tally.Kind, fn func(ctx context.Context, src *answer.Source) (T, error)) (T, error) {
	var none T
	_, src, err := s.findFirst(call)
	if err != nil {
		return none, err
	}
	done := s.metrics.begin(k)
	ctx, cancel := s.until(call)
	defer cancel()
	out, err := fn(ctx, src)
	done(err != nil)
	if err != nil {
		return none, s.status(call, err)
	}
	return out, nil
}

// lsns gives those that a request is about.
func lsns(r *pb.ReadLsn) (wanted, since page.LSN, err error) {
	if r == nil {
		return 0, 0, status.Error(codes.InvalidArgument, "read_lsn is missing")
	}
	wanted, since = page.LSN(r.RequestLsn), page.LSN(r.NotModifiedSinceLsn)
	if since == 0 {
		since = wanted
	}
	return wanted, since, nil
}

// at gives the state that a request is about.
func at(ctx context.Context, src *answer.Source, r *pb.ReadLsn) (*datadir.Snapshot, error) {
	wanted, since, err := lsns(r)
	if err != nil {
		return nil, err
	}
	return src.At(ctx, wanted, since)
}

// relTag takes a relation as it was sent.
func relTag(r *pb.RelTag) (page.RelTag, error) {
	if r == nil {
		return page.RelTag{}, status.Error(codes.InvalidArgument, "rel is missing")
	}
	if r.ForkNumber > uint32(page.ForkInit) {
		return page.RelTag{}, status.Errorf(codes.InvalidArgument, "there is no fork %d", r.ForkNumber)
	}
	return page.RelTag{Spc: r.SpcOid, DB: r.DbOid, Rel: r.RelNumber, Fork: page.Fork(r.ForkNumber)}, nil
}

// GetDbSize implements the service.
func (s *Server) GetDbSize(call context.Context, r *pb.GetDbSizeRequest) (*pb.GetDbSizeResponse, error) {
	return unary(call, s, tally.DatabaseSize, func(ctx context.Context, src *answer.Source) (*pb.GetDbSizeResponse, error) {
		c, err := at(ctx, src, r.ReadLsn)
		if err != nil {
			return nil, err
		}
		n, err := answer.DatabaseSize(ctx, c, r.DbOid)
		return &pb.GetDbSizeResponse{NumBytes: uint64(n)}, err
	})
}

// GetRelSize implements the service.
func (s *Server) GetRelSize(call context.Context, r *pb.GetRelSizeRequest) (*pb.GetRelSizeResponse, error) {
	return unary(call, s, tally.RelationSize, func(ctx context.Context, src *answer.Source) (*pb.GetRelSizeResponse, error) {
		rel, err := relTag(r.Rel)
		if err != nil {
			return nil, err
		}
		c, err := at(ctx, src, r.ReadLsn)
		if err != nil {
			return nil, err
		}
		if r.AllowMissing {
			if ok, err := answer.RelationExists(ctx, c, rel); err != nil || !ok {
				return &pb.GetRelSizeResponse{Missing: true}, err
			}
		}
		n, err := answer.RelationSize(ctx, c, rel)
		return &pb.GetRelSizeResponse{NumBlocks: n}, err
	})
}

// GetSlruSegment implements the service.
func (s *Server) GetSlruSegment(call context.Context, r *pb.GetSlruSegmentRequest) (*pb.GetSlruSegmentResponse, error) {
	return unary(call, s, tally.SLRUSegment, func(ctx context.Context, src *answer.Source) (*pb.GetSlruSegmentResponse, error) {
		if r.Kind > uint32(page.MultixactOffsets) {
			return nil, status.Errorf(codes.InvalidArgument, "there is no SLRU of kind %d", r.Kind)
		}
		c, err := at(ctx, src, r.ReadLsn)
		if err != nil {
			return nil, err
		}
		b, err := answer.SLRUSegment(ctx, c, page.SLRU(r.Kind), r.Segno)
		return &pb.GetSlruSegmentResponse{Segment: b}, err
	})
}

// leaseLength is Neon's default.
const leaseLength = 10 * time.Minute

// LeaseLsn implements the service.
func (s *Server) LeaseLsn(call context.Context, r *pb.LeaseLsnRequest) (*pb.LeaseLsnResponse, error) {
	src, err := s.find(call)
	if err != nil {
		return nil, err
	}
	done := s.metrics.begin(tally.Lease)
	if r.Lsn == 0 {
		done(true)
		return nil, status.Error(codes.InvalidArgument, "the LSN to keep is 0")
	}
	ctx, cancel := s.until(call)
	defer cancel()
	until, err := src.Lease(ctx, page.LSN(r.Lsn), leaseLength)
	done(err != nil)
	if err != nil {
		if err := s.status(call, err); status.Code(err) != codes.InvalidArgument {
			return nil, err
		}
		return nil, status.Error(codes.FailedPrecondition, err.Error())
	}
	return &pb.LeaseLsnResponse{Expires: timestamppb.New(until)}, nil
}
