// Package chooser is a walredo.Redoer made of two: redo in this process (package native) and redo in others
// (package pool). For each record it chooses by the record's type, or it has both do the work and compares.
//
// A request whose records belong to different ones is cut into runs; the page of one run is the image that the
// next starts from. What processes cannot do, such as commit logs and pseudo-records, is always done here.
//
// A Redoer may be used from many goroutines. It keeps nothing between requests but buffers.
package chooser

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/bufpage"
	"github.com/stratapg/strata/pg/mask"
	"github.com/stratapg/strata/walredo"
	"github.com/stratapg/strata/walredo/native"
)

// Mode says who does what.
type Mode uint8

const (
	// NativeFirst sends to the pool what native has no redo for.
	NativeFirst Mode = iota
	// PoolFirst does here what no process can do, and nothing else.
	PoolFirst
	// Verify does each request in both ways. The pages have to be equal under PostgreSQL's masks (package mask),
	// and their LSNs too; the native one is given.
	Verify
)

// ErrDisagree says that the two ways gave different pages, or that one of them failed.
var ErrDisagree = errors.New("native redo and the pool disagree")

// Metrics is what was done where.
type Metrics struct {
	Native        int64 // runs of records done here
	Pool          int64 // runs of records done by the pool
	Compared      int64 // pages done in both ways
	Disagreements int64 // of them, those that differ
}

// Redoer chooses.
type Redoer struct {
	native  *native.Redoer
	pool    walredo.Redoer
	mode    Mode
	buffers sync.Pool // of *[]byte

	inNative, inPool, compared, disagreed atomic.Int64
}

var _ walredo.Redoer = (*Redoer)(nil)

// New makes a Redoer of two, which it closes with itself.
func New(n *native.Redoer, pool walredo.Redoer, mode Mode) *Redoer {
	return &Redoer{native: n, pool: pool, mode: mode, buffers: sync.Pool{New: func() any { return new([]byte) }}}
}

// Close closes both.
func (r *Redoer) Close() error { return errors.Join(r.native.Close(), r.pool.Close()) }

// Metrics gives the counters as they are now.
func (r *Redoer) Metrics() Metrics {
	return Metrics{r.inNative.Load(), r.inPool.Load(), r.compared.Load(), r.disagreed.Load()}
}

// Redo implements walredo.Redoer.
func (r *Redoer) Redo(ctx context.Context, dst []byte, req *walredo.Request) ([]byte, error) {
	if _, _, ok := req.Key.RelBlock(); !ok {
		return r.here(ctx, dst, req)
	}
	switch r.mode {
	case PoolFirst:
		return r.runs(ctx, dst, req, poolFirst)
	case Verify:
		return r.verify(ctx, dst, req)
	}
	return r.runs(ctx, dst, req, nativeFirst)
}

// side says who does a record.
type side uint8

const (
	either side = iota // an image, from which anybody can start
	here
	there
)

func nativeFirst(k walredo.Kind, rec *walredo.Record) side {
	switch {
	case rec.Value.Kind == page.KindImage:
		return either
	case native.Covers(k, rec):
		return here
	}
	return there
}

func poolFirst(_ walredo.Kind, rec *walredo.Record) side {
	switch rec.Value.Kind {
	case page.KindImage:
		return either
	case page.KindPostgres:
		return there
	}
	return here
}

func (r *Redoer) here(ctx context.Context, dst []byte, req *walredo.Request) ([]byte, error) {
	r.inNative.Add(1)
	return r.native.Redo(ctx, dst, req)
}

func (r *Redoer) there(ctx context.Context, dst []byte, req *walredo.Request) ([]byte, error) {
	r.inPool.Add(1)
	return r.pool.Redo(ctx, dst, req)
}

func (r *Redoer) one(ctx context.Context, dst []byte, req *walredo.Request, s side) ([]byte, error) {
	if s == there {
		return r.there(ctx, dst, req)
	}
	return r.here(ctx, dst, req)
}

// runs cuts the request into runs of one side each.
func (r *Redoer) runs(ctx context.Context, dst []byte, req *walredo.Request, choose func(walredo.Kind, *walredo.Record) side) ([]byte, error) {
	s, n := firstRun(req, choose)
	if n == len(req.Records) {
		return r.one(ctx, dst, req, s)
	}
	var between [2]*[]byte // the image that a run starts from, and the page that it makes
	for i := range between {
		between[i] = r.buffers.Get().(*[]byte)
		defer r.buffers.Put(between[i])
	}
	part := *req
	for {
		rest := part.Records[n:]
		part.Records = part.Records[:n]
		if len(rest) == 0 {
			return r.one(ctx, dst, &part, s)
		}
		out, err := r.one(ctx, (*between[0])[:0], &part, s)
		if err != nil {
			return dst, err
		}
		*between[0] = out
		part.Base, part.Records = out, rest
		between[0], between[1] = between[1], between[0]
		s, n = firstRun(&part, choose)
	}
}

// firstRun gives the side and the length of the first run.
func firstRun(req *walredo.Request, choose func(walredo.Kind, *walredo.Record) side) (side, int) {
	k, run := req.Kind(), either
	for i := range req.Records {
		s := choose(k, &req.Records[i])
		switch {
		case run == either:
			run = s
		case s != either && s != run:
			return run, i
		}
	}
	return run, len(req.Records)
}

// verify does the request in both ways.
func (r *Redoer) verify(ctx context.Context, dst []byte, req *walredo.Request) ([]byte, error) {
	buf := r.buffers.Get().(*[]byte)
	defer r.buffers.Put(buf)
	theirs, theirErr := r.runs(ctx, (*buf)[:0], req, poolFirst)
	if theirErr == nil {
		*buf = theirs
	}
	n := len(dst)
	out, ourErr := r.runs(ctx, dst, req, nativeFirst)
	if err := ctx.Err(); err != nil {
		return dst, &walredo.Error{Key: req.Key, Err: err}
	}
	r.compared.Add(1)
	err := disagreement(req, out[n:], theirs, ourErr, theirErr)
	if err == nil {
		return out, ourErr
	}
	r.disagreed.Add(1)
	e := &walredo.Error{Key: req.Key, Err: err}
	if len(req.Records) == 1 {
		e.LSN = req.Records[0].LSN
	}
	return dst, e
}

// disagreement says how the two ways differ. Errors of both are agreement enough.
func disagreement(req *walredo.Request, ours, theirs []byte, ourErr, theirErr error) error {
	switch {
	case ourErr != nil && theirErr != nil:
		return nil
	case ourErr != nil:
		return fmt.Errorf("%w: only native failed: %w", ErrDisagree, ourErr)
	case theirErr != nil:
		return fmt.Errorf("%w: only the pool failed: %w", ErrDisagree, theirErr)
	case len(ours) != pg.BlockSize || len(theirs) != pg.BlockSize:
		return fmt.Errorf("%w: pages of %d and %d bytes", ErrDisagree, len(ours), len(theirs))
	}
	rel, block, _ := req.Key.RelBlock()
	kind := mask.KindOf(ours, rel.Fork)
	if at := mask.Difference(ours, theirs, kind, block); at >= 0 {
		return fmt.Errorf("%w: %s page differs at byte %d after %d records", ErrDisagree, kind, at, len(req.Records))
	}
	if a, b := bufpage.Page(ours).LSN(), bufpage.Page(theirs).LSN(); a != b {
		return fmt.Errorf("%w: native sets the LSN %s, the pool %s", ErrDisagree, a, b)
	}
	return nil
}
