package pageserver

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pageserver/pagestream"
	"github.com/stratapg/strata/pg"
)

// batch is some requests that are answered together, and the bytes of their answers.
type batch struct {
	requests []pagestream.Request
	results  []result
	order    []int // page requests by key
	keys     []page.Key
	out      []byte
}

// result is the answer to a page request: where its page lies in batch.out, or why there is none.
type result struct {
	at  int
	err error
}

// batches keeps what is large of a batch between those who need one.
var batches = sync.Pool{New: func() any { return new(batch) }}

func (b *batch) reset(requests []pagestream.Request) {
	b.requests = append(b.requests[:0], requests...)
	clear(b.results)
	b.results, b.order, b.keys, b.out = b.results[:0], b.order[:0], b.keys[:0], b.out[:0]
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
	lsn, err := s.effective(s.ctx, s.tl, first)
	switch {
	case err != nil:
		for i := range b.requests {
			s.refuse(b, &b.requests[i], err)
		}
	case first.Kind == pagestream.Page:
		s.pages(b, s.tl.Cluster(lsn))
	default:
		s.other(b, first, s.tl.Cluster(lsn))
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
	s.lay(b, c)
	failed := s.fetch(b, c)
	s.s.metrics.batches.Add(1)
	s.s.metrics.pages.Add(int64(len(b.requests)))
	if !failed {
		for range b.requests {
			s.s.metrics.answered(pagestream.Page, false)
		}
		return
	}
	whole := slices.Clone(b.out)
	b.out = b.out[:0]
	for i := range b.requests {
		r, res := &b.requests[i], &b.results[i]
		if res.err != nil {
			s.refuse(b, r, res.err)
			continue
		}
		s.s.metrics.answered(pagestream.Page, false)
		b.message(func(out []byte) []byte { return r.AnswerPage(out, s.version, whole[res.at:res.at+pg.BlockSize]) })
	}
}

// zeroPage is what lies beyond a relation's end.
var zeroPage [pg.BlockSize]byte

// lay gives each request its place in b.out, filled with zeros, and lists those that have a page to read.
func (s *stream) lay(b *batch, c *datadir.Snapshot) {
	sizes := sizesAt{c: c, ctx: s.ctx}
	for i := range b.requests {
		r := &b.requests[i]
		b.message(func(out []byte) []byte { return r.AnswerPage(out, s.version, zeroPage[:]) })
		res := result{at: len(b.out) - pg.BlockSize}
		var blocks uint32
		if blocks, res.err = sizes.of(r.Rel); res.err == nil && r.Block < blocks {
			b.order = append(b.order, i)
		}
		b.results = append(b.results, res)
	}
	slices.SortFunc(b.order, func(i, j int) int {
		return cmp.Or(b.requests[i].Rel.Compare(b.requests[j].Rel), cmp.Compare(b.requests[i].Block, b.requests[j].Block))
	})
	for _, i := range b.order {
		b.keys = append(b.keys, b.requests[i].Rel.Block(b.requests[i].Block))
	}
}

// sizesAt asks for the size of the same relation once.
type sizesAt struct {
	c      *datadir.Snapshot
	ctx    context.Context
	rel    page.RelTag
	blocks uint32
	err    error
	known  bool
}

func (z *sizesAt) of(rel page.RelTag) (uint32, error) {
	if !z.known || z.rel != rel {
		z.rel, z.known = rel, true
		z.blocks, z.err = relationSize(z.ctx, z.c, rel)
	}
	return z.blocks, z.err
}

// fetch reads the pages that lay listed. It reports whether an answer is an error.
func (s *stream) fetch(b *batch, c *datadir.Snapshot) (failed bool) {
	next := 0
	var err error
	if len(b.keys) > 0 {
		err = s.tl.GetVectored(s.ctx, page.SetOfKeys(b.keys...), c.LSN(), func(k page.Key, value []byte, err error) error {
			for next < len(b.order) && b.keys[next].Less(k) {
				b.result(next).err = errors.New("this page is missing in the store")
				next++
			}
			for ; next < len(b.order) && b.keys[next] == k; next++ {
				switch res := b.result(next); {
				case err != nil:
					res.err = err
				case len(value) != pg.BlockSize:
					res.err = fmt.Errorf("this page has %d bytes in the store", len(value))
				default:
					copy(b.out[res.at:], value)
				}
			}
			return nil
		})
	}
	for ; next < len(b.order); next++ {
		b.result(next).err = cmp.Or(err, errors.New("this page is missing in the store"))
	}
	for i := range b.results {
		if res := &b.results[i]; res.err != nil {
			failed = true
			r := &b.requests[i]
			res.err = fmt.Errorf("block %d of relation %s at LSN %s: %w", r.Block, r.Rel, c.LSN(), res.err)
		}
	}
	return failed
}

func (b *batch) result(n int) *result { return &b.results[b.order[n]] }

// send writes answers.
func (s *stream) send(b []byte) error {
	_ = s.nc.SetWriteDeadline(time.Now().Add(s.s.c.Idle))
	_, err := s.nc.Write(b)
	return err
}
