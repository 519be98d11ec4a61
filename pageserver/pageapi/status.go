package pageapi

import (
	"context"
	"errors"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pageserver/answer"
	"github.com/stratapg/strata/pageserver/pageapi/pb"
)

// codeOf are the codes of the engine's errors; all others are Internal.
var codeOf = []struct {
	is   error
	code codes.Code
}{
	{answer.ErrRequest, codes.InvalidArgument},
	{answer.ErrElsewhere, codes.InvalidArgument},
	{strata.ErrBeforeHistory, codes.InvalidArgument},
	{strata.ErrFutureLSN, codes.InvalidArgument},
	{strata.ErrWrongShard, codes.InvalidArgument},
	{page.ErrNotFound, codes.NotFound},
	{strata.ErrTenantNotFound, codes.NotFound},
	{strata.ErrTimelineNotFound, codes.NotFound},
	{strata.ErrArchived, codes.FailedPrecondition},
	{strata.ErrTooManyLeases, codes.ResourceExhausted},
	{strata.ErrNotActive, codes.Unavailable},
	{strata.ErrClosed, codes.Unavailable},
}

// status gives the status of an error. What ended because the server shuts down is Unavailable, so that clients try again;
// what ended because the client did has the client's code.
func (s *Server) status(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := status.FromError(err); ok {
		return err
	}
	if s.ctx.Err() != nil {
		return status.Error(codes.Unavailable, "the server shuts down")
	}
	if ctx.Err() != nil {
		return status.FromContextError(ctx.Err()).Err()
	}
	for _, c := range codeOf {
		if errors.Is(err, c.is) {
			return status.Error(c.code, err.Error())
		}
	}
	s.c.Logger.Warn("a request over gRPC failed", "error", err)
	return status.Error(codes.Internal, err.Error())
}

// statusCode gives what a stream answers a request with that failed so; ok is false for what ends the stream.
func statusCode(c codes.Code) (code pb.GetPageStatusCode, ok bool) {
	switch c {
	case codes.AlreadyExists, codes.FailedPrecondition, codes.InvalidArgument, codes.OutOfRange:
		return pb.GetPageStatusCode_GET_PAGE_STATUS_CODE_INVALID_REQUEST, true
	case codes.NotFound:
		return pb.GetPageStatusCode_GET_PAGE_STATUS_CODE_NOT_FOUND, true
	case codes.DataLoss, codes.Internal:
		return pb.GetPageStatusCode_GET_PAGE_STATUS_CODE_INTERNAL_ERROR, true
	case codes.ResourceExhausted:
		return pb.GetPageStatusCode_GET_PAGE_STATUS_CODE_SLOW_DOWN, true
	}
	return 0, false
}
