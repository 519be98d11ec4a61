// Package native is redo in Go: it builds a page from an image and the WAL records that came after, as
// PostgreSQL's recovery would, in this process and without unsafe memory.
//
// What a record does to a page is one function per operation, found in a table by version, flavour,
// resource manager and operation (tables.go). A function gets the page, the decoded record and the block
// reference that names the page. What is common to all is done around it (change.go): full-page images,
// pages made anew, records that the page already has.
//
// Invariants: a page is given back only if every record fitted and its header is sound; otherwise the
// caller gets a *walredo.Error with the record's LSN, wrapping walredo.ErrUnsupported, ErrCorrupt or
// ErrNoBase. Nothing a record or page says is trusted: lengths and offsets are checked before use, and a
// panic inside (a bug) becomes an error too. Nothing outlives a call except scratch buffers in a pool.
package native

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/bufpage"
	"github.com/stratapg/strata/walredo"
)

// Redoer applies records in this process. Its methods may be called from many goroutines.
type Redoer struct {
	scratch sync.Pool // of *change
}

var _ walredo.Redoer = (*Redoer)(nil)

// New gives a Redoer. It holds no resources but memory.
func New() *Redoer {
	return &Redoer{scratch: sync.Pool{New: func() any { return new(change) }}}
}

// Close does nothing; there is nothing to end.
func (r *Redoer) Close() error { return nil }

// Redo implements walredo.Redoer.
func (r *Redoer) Redo(ctx context.Context, dst []byte, req *walredo.Request) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return dst, &walredo.Error{Key: req.Key, Err: err}
	}
	c := r.scratch.Get().(*change)
	out, err := c.run(ctx, dst, req)
	if err != nil {
		out = dst
	}
	c.forget()
	r.scratch.Put(c)
	return out, err
}

// errBug marks a panic caught. What caused it should have been refused with a reason; tests look for it.
var errBug = errors.New("redo panicked on it, which is a bug")

// stampSize is the length of the commit time behind a commit log page.
const stampSize = 8

// checkEvery is the number of records between looks at the context: a few tens of microseconds.
const checkEvery = 256

// run rebuilds the page behind the end of dst. The page is made in place there.
func (c *change) run(ctx context.Context, dst []byte, req *walredo.Request) (out []byte, err error) {
	at := -1 // the record at work
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %w: %v", walredo.ErrCorrupt, errBug, p)
		}
		if err != nil {
			err = c.failure(req, at, err)
		}
	}()
	n := len(dst)
	out = slices.Grow(dst, pg.BlockSize+stampSize)[:n+pg.BlockSize]
	if err := c.begin(req, out[n:n+pg.BlockSize:n+pg.BlockSize]); err != nil {
		return nil, err
	}
	for i := range req.Records {
		at = i
		if i%checkEvery == checkEvery-1 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err := c.value(&req.Records[i]); err != nil {
			return nil, err
		}
	}
	at = -1
	return c.finish(out)
}

// begin sets c up for a request with the page to be made in p.
func (c *change) begin(req *walredo.Request, p []byte) error {
	c.key = req.Key
	c.rel, c.blkno, c.isRel = req.Key.RelBlock()
	c.version, c.checksums = req.Version, req.Checksums
	c.page = p
	c.stamped, c.based, c.decoded = false, false, false
	c.ops = opsOf(req.Version, req.Flavour)
	if c.ops == nil {
		return fmt.Errorf("%w: %w: %d", walredo.ErrUnsupported, pg.ErrUnsupportedVersion, req.Version)
	}
	if req.Base == nil {
		clear(p)
		return nil
	}
	return c.setImage(req.Base)
}

// setImage makes b the page. A commit log page may have its time behind it.
func (c *change) setImage(b []byte) error {
	slru, _, _, isSLRU := c.key.SLRUBlock()
	switch {
	case len(b) == pg.BlockSize:
		c.stamped = false
	case len(b) == pg.BlockSize+stampSize && isSLRU && slru == page.Clog:
		c.stamped = true
		copy(c.stamp[:], b[pg.BlockSize:])
	default:
		return corrupt("image of %d bytes", len(b))
	}
	copy(c.page, b)
	c.based = true
	return nil
}

// value applies one change, of whatever kind.
func (c *change) value(r *walredo.Record) error {
	c.decoded = false
	c.end = r.LSN
	switch {
	case r.Value.Kind == page.KindImage:
		return c.setImage(r.Value.Bytes)
	case r.Value.Kind == page.KindPostgres:
		return c.record(r)
	case !c.based:
		return walredo.ErrNoBase
	}
	return c.pseudo(&r.Value)
}

// finish checks the page and gives out with it, and the commit log's time behind.
func (c *change) finish(out []byte) ([]byte, error) {
	if !c.based {
		return nil, walredo.ErrNoBase
	}
	if c.isRel {
		if err := c.page.Check(); err != nil {
			return nil, fmt.Errorf("%w: after the last record: %w", walredo.ErrCorrupt, err)
		}
	}
	if c.stamped {
		out = append(out, c.stamp[:]...)
	}
	return out, nil
}

// failure names the record in an error.
func (c *change) failure(req *walredo.Request, at int, err error) error {
	e := &walredo.Error{Key: req.Key, Err: err}
	if at >= 0 {
		r := &req.Records[at]
		e.LSN = r.LSN
		e.Rmgr, e.Info = rmgrOf(r.Value.Kind), 0
		if c.decoded {
			e.Rmgr, e.Info = c.rec.Rmgr, c.rec.Info
		} else if r.Value.Kind == page.KindPostgres {
			e.Rmgr, e.Info = headOf(r.Value.Bytes)
		}
	}
	if errors.Is(err, bufpage.ErrBadPage) || errors.Is(err, bufpage.ErrNoRoom) {
		e.Err = fmt.Errorf("%w: %w", walredo.ErrCorrupt, err)
	}
	return e
}

// rmgrOf says under which resource manager's name to complain of a pseudo-record.
func rmgrOf(k page.Kind) pg.Rmgr {
	switch k {
	case page.KindClogCommitted, page.KindClogAborted:
		return pg.RmCLOG
	case page.KindMultixactMembers, page.KindMultixactOffset:
		return pg.RmMultiXact
	case page.KindClearVM:
		return pg.RmHeap
	case page.KindTruncateVM:
		return pg.RmSMGR
	}
	return pg.RmXLOG
}

// headOf reads resource manager and info from a record that could not be decoded (XLogRecord).
func headOf(b []byte) (pg.Rmgr, uint8) {
	const offInfo, offRmgr = 16, 17
	if len(b) <= offRmgr {
		return 0, 0
	}
	return pg.Rmgr(b[offRmgr]), b[offInfo]
}

// corrupt makes an error for a record that does not fit.
func corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{walredo.ErrCorrupt}, args...)...)
}
