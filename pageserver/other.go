package pageserver

import (
	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/pageserver/answer"
	"github.com/stratapg/strata/pageserver/pagestream"
	"github.com/stratapg/strata/pg"
)

// other answers a request that is not for a page, from shard 0.
func (s *stream) other(b *batch, r *pagestream.Request) {
	c, err := s.first(r)
	if err == nil {
		err = s.take(b, roomy)
	}
	if err != nil {
		s.refuse(b, r, err)
		return
	}
	var fill func(out []byte) []byte
	switch r.Kind {
	case pagestream.Exists:
		var ok bool
		ok, err = answer.RelationExists(s.ctx, c, r.Rel)
		fill = func(out []byte) []byte { return r.AnswerExists(out, s.version, ok) }
	case pagestream.RelationSize:
		var n uint32
		n, err = answer.RelationSize(s.ctx, c, r.Rel)
		fill = func(out []byte) []byte { return r.AnswerRelationSize(out, s.version, n) }
	case pagestream.DatabaseSize:
		var n int64
		n, err = answer.DatabaseSize(s.ctx, c, r.Database)
		fill = func(out []byte) []byte { return r.AnswerDatabaseSize(out, s.version, n) }
	case pagestream.SLRUSegment:
		var pages []byte
		pages, err = answer.SLRUSegment(s.ctx, c, r.SLRU, r.Segment)
		fill = func(out []byte) []byte { return r.AnswerSLRUSegment(out, s.version, pages) }
	}
	if err != nil {
		s.refuse(b, r, err)
		return
	}
	s.s.metrics.answered(r.Kind, false)
	b.message(fill)
}

// roomy is what an answer may need that is no page: the largest is a segment of an SLRU.
const roomy = 33 * pg.BlockSize

// first gives the state of shard 0 that a request means.
func (s *stream) first(r *pagestream.Request) (*datadir.Snapshot, error) {
	src, err := s.from.First()
	if err != nil {
		return nil, err
	}
	return src.At(s.ctx, r.LSN, r.NotModifiedSince)
}
