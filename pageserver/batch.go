package pageserver

import (
	"encoding/binary"
	"sync"
	"time"

	"github.com/stratapg/strata/datadir"
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
	answered     bool // out is complete; of the stream's mu
}

// batches keeps what is large of a batch between those who need one.
var batches = sync.Pool{New: func() any { return new(batch) }}

func (b *batch) reset(requests []queued) {
	b.Reset()
	b.requests = append(b.requests[:0], requests...)
	b.at, b.out, b.answered = b.at[:0], b.out[:0], false
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
	first := &b.requests[0]
	c, err := s.from.At(s.ctx, first.LSN, first.NotModifiedSince)
	switch {
	case err != nil:
		for i := range b.requests {
			s.refuse(b, &b.requests[i].Request, err)
		}
	case first.Kind == pagestream.Page:
		s.pages(b, c)
	default:
		s.other(b, &first.Request, c)
	}
}

// refuse answers a request with an error.
func (s *stream) refuse(b *batch, r *pagestream.Request, err error) {
	s.s.metrics.answered(r.Kind, true)
	b.message(func(out []byte) []byte { return r.AnswerError(out, s.version, err.Error()) })
}

// pages reads the pages of a batch together. Each has its place in b.out from the beginning, so that it is copied there
// alone; only where one fails are the answers put together anew.
func (s *stream) pages(b *batch, c *datadir.Snapshot) {
	s.lay(b)
	failed := b.Read(s.ctx, &s.from, c)
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
		r := &b.requests[i]
		b.Pages = append(b.Pages, answer.Page{Rel: r.Rel, Block: r.Block, To: b.out[end-pg.BlockSize : end]})
	}
}

// send writes answers.
func (s *stream) send(b []byte) error {
	_ = s.nc.SetWriteDeadline(time.Now().Add(s.s.c.Idle))
	_, err := s.nc.Write(b)
	return err
}
