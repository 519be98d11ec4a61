package pageserver

import (
	"encoding/binary"
	"errors"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/stratapg/strata/pageserver/answer"
	"github.com/stratapg/strata/pageserver/pagestream"
	"github.com/stratapg/strata/pageserver/tally"
	"github.com/stratapg/strata/pg"
)

// batch is some requests that are answered together, and the bytes of their answers.
type batch struct {
	answer.Batch // of page requests
	requests     []queued
	at           []int // where the pages in out end
	out          []byte
	held         answer.Hold
	answered     bool  // out is complete; of the stream's mu
	last         error // why out is the last that the client gets
}

// batches keeps what is large of a batch between those who need one.
var batches = sync.Pool{New: func() any { return new(batch) }}

func (b *batch) reset(requests []queued) {
	b.Reset()
	b.requests = append(b.requests[:0], requests...)
	b.at, b.out, b.answered, b.last = b.at[:0], b.out[:0], false, nil
}

// count counts the requests by how long they took. Those that arrived together are counted together.
func (b *batch) count(c *tally.Counts) {
	now := time.Now()
	for from := 0; from < len(b.requests); {
		first, to := &b.requests[from], from+1
		for to < len(b.requests) && b.requests[to].arrived.Equal(first.arrived) {
			to++
		}
		c.Answered(tallyKind(first.Kind), now.Sub(first.arrived), to-from)
		from = to
	}
}

// message appends a CopyData message whose content fill appends.
func (b *batch) message(fill func(out []byte) []byte) {
	at := len(b.out)
	b.out = fill(append(b.out, 'd', 0, 0, 0, 0))
	binary.BigEndian.PutUint32(b.out[at+1:], uint32(len(b.out)-at-1))
}

// answer fills b.out.
func (s *stream) answer(b *batch) {
	if b.requests[0].Kind == pagestream.Page {
		s.pages(b)
	} else {
		s.other(b, &b.requests[0].Request)
	}
}

// take takes memory for a batch: at once, or when it has its turn.
func (s *stream) take(b *batch, bytes int64) (err error) {
	ok := false
	if !s.itsTurn(b, false) {
		if b.held, ok = s.s.memory.TakeAhead(bytes); ok {
			return nil
		}
		s.itsTurn(b, true)
	}
	b.held, err = s.s.memory.Take(s.ctx, bytes)
	return err
}

// itsTurn reports whether a batch is the next to be sent; with wait it returns when it is, or when the stream has ended.
func (s *stream) itsTurn(b *batch, wait bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for wait && s.under[0] != b && s.broken == nil {
		s.changed.Wait()
	}
	return s.under[0] == b
}

// refuse answers a request with an error, or ends the stream with it.
func (s *stream) refuse(b *batch, r *pagestream.Request, err error) {
	if b.last != nil {
		return
	}
	s.s.metrics.answered(r.Kind, true)
	if code := fatal(err); code != "" && s.ctx.Err() == nil {
		b.last = err
		b.out, _ = (&pgproto3.ErrorResponse{Severity: "ERROR", Code: code, Message: err.Error()}).Encode(b.out) // too long it is not
		return
	}
	b.message(func(out []byte) []byte { return r.AnswerError(out, s.version, err.Error()) })
}

// pages reads the pages of a batch together. Each has its place in b.out from the beginning, so that it is copied there
// alone; only where one fails are the answers put together anew.
func (s *stream) pages(b *batch) {
	for i := range b.requests {
		r := &b.requests[i]
		b.Pages = append(b.Pages, answer.Page{Rel: r.Rel, Block: r.Block})
	}
	shares, err := s.from.Deal(s.ctx, &b.Batch, b.requests[0].LSN, b.requests[0].NotModifiedSince)
	if err == nil {
		err = s.take(b, int64(len(b.requests))*pg.BlockSize)
	}
	if err != nil {
		for i := range b.requests {
			s.refuse(b, &b.requests[i].Request, err)
		}
		return
	}
	s.lay(b)
	failed := shares.Read(s.ctx, &b.Batch)
	s.s.metrics.batches.Add(1)
	s.s.metrics.pages.Add(int64(len(b.requests)))
	if !failed {
		for range b.requests {
			s.s.metrics.answered(pagestream.Page, false)
		}
		return
	}
	b.out = make([]byte, 0, len(b.out)) // the pages stay where they were read to
	for i := range b.requests {
		r, p := &b.requests[i].Request, &b.Pages[i]
		if b.last != nil {
			break
		}
		if p.Err != nil {
			s.refuse(b, r, p.Err)
			continue
		}
		s.s.metrics.answered(pagestream.Page, false)
		b.message(func(out []byte) []byte { return r.AnswerPage(out, s.version, p.To) })
	}
}

// zeroPage holds an answer's place until its page is read, and is the answer beyond a relation's end.
var zeroPage [pg.BlockSize]byte

// lay gives each request its place in b.out, filled with zeros.
func (s *stream) lay(b *batch) {
	for i := range b.requests {
		r := &b.requests[i]
		b.message(func(out []byte) []byte { return r.AnswerPage(out, s.version, zeroPage[:]) })
		b.at = append(b.at, len(b.out))
	}
	for i, end := range b.at {
		b.Pages[i].To = b.out[end-pg.BlockSize : end]
	}
}

// send writes answers, and gives their memory back. Its error ends the stream.
func (s *stream) send(b *batch) error {
	b.held.Sending(s.late)
	defer b.held.Release()
	s.beforeWrite()
	_, err := s.nc.Write(b.out)
	b.count(&s.s.metrics.counts)
	return errors.Join(err, b.last)
}

// late cuts off a client that others wait for.
func (s *stream) late() {
	s.s.metrics.late.Add(1)
	s.nc.Close()
}
