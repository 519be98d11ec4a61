package pageapi

import (
	"cmp"
	"context"
	"errors"
	"io"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/stratapg/strata/pageserver/answer"
	"github.com/stratapg/strata/pageserver/pageapi/pb"
	"github.com/stratapg/strata/pageserver/tally"
	"github.com/stratapg/strata/pg"
)

// batch is what a request of pages needs while it is answered.
type batch struct {
	answer.Batch
	images []byte
	pages  []pb.Page
	list   []*pb.Page
	held   answer.Hold
}

// batches keeps batches between those who need one.
var batches = sync.Pool{New: func() any { return new(batch) }}

// GetPages implements the service.
func (s *Server) GetPages(g grpc.BidiStreamingServer[pb.GetPageRequest, pb.GetPageResponse]) (err error) {
	call := g.Context()
	src, err := s.find(call)
	if err != nil {
		return err
	}
	ctx, cancel := s.until(call)
	defer cancel()
	to := s.sender(g)
	defer func() { err = cmp.Or(err, to.wait()) }()
	for {
		r, err := g.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := s.answer(ctx, call, src, r, to.send); err != nil {
			return err
		}
	}
}

// answer answers one request of a stream. Its error ends the stream.
func (s *Server) answer(ctx, call context.Context, src *answer.Shards, r *pb.GetPageRequest, send func(proto.Message, *answer.Hold) error) error {
	done := s.metrics.begin(tally.Page)
	b := batches.Get().(*batch)
	defer batches.Put(b)
	defer b.held.Release()
	err := s.read(ctx, src, r, b)
	done(err != nil)
	m := &pb.GetPageResponse{RequestId: r.RequestId}
	if err != nil {
		err = s.status(call, err)
		code, ok := statusCode(status.Code(err))
		if !ok {
			return err
		}
		m.StatusCode, m.Reason = code, status.Convert(err).Message()
		return send(m, &b.held)
	}
	m.StatusCode, m.Rel, m.Page = pb.GetPageStatusCode_GET_PAGE_STATUS_CODE_OK, r.Rel, b.list
	return send(m, &b.held)
}

// read reads the pages of a request into b.list.
func (s *Server) read(ctx context.Context, src *answer.Shards, r *pb.GetPageRequest, b *batch) error {
	n := len(r.BlockNumber)
	switch {
	case r.RequestId == nil:
		return status.Error(codes.InvalidArgument, "request_id is missing")
	case n == 0:
		return status.Error(codes.InvalidArgument, "no block is asked for")
	case n > s.c.Batch:
		return status.Errorf(codes.InvalidArgument, "%d blocks are asked for, %d are the most", n, s.c.Batch)
	}
	rel, err := relTag(r.Rel)
	if err != nil {
		return err
	}
	wanted, since, err := lsns(r.ReadLsn)
	if err != nil {
		return err
	}
	b.Reset()
	for _, block := range r.BlockNumber {
		b.Pages = append(b.Pages, answer.Page{Rel: rel, Block: block})
	}
	shares, err := src.Deal(ctx, &b.Batch, wanted, since)
	if err != nil {
		return err
	}
	if b.held, err = s.memory.Take(ctx, int64(n)*pg.BlockSize); err != nil {
		return err
	}
	b.lay()
	s.metrics.pages.Add(int64(n))
	if !shares.Read(ctx, &b.Batch) {
		return nil
	}
	for i := range b.Pages {
		if err := b.Pages[i].Err; err != nil {
			return err
		}
	}
	return nil
}

// lay gives each page its place.
func (b *batch) lay() {
	n := len(b.Pages)
	if len(b.images) < n*pg.BlockSize {
		b.images, b.pages, b.list = make([]byte, n*pg.BlockSize), make([]pb.Page, n), make([]*pb.Page, n)
		for i := range b.pages {
			b.list[i] = &b.pages[i]
		}
	}
	b.list = b.list[:n]
	clear(b.images[:n*pg.BlockSize])
	for i := range b.Pages {
		to := b.images[i*pg.BlockSize:][:pg.BlockSize:pg.BlockSize]
		b.pages[i].BlockNumber, b.pages[i].Image = b.Pages[i].Block, to
		b.Pages[i].To = to
	}
}
