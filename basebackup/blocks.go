package basebackup

import (
	"context"
	"fmt"
	"iter"

	"golang.org/x/sync/errgroup"

	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/bufpage"
)

// span is a run of blocks with successive keys.
type span struct {
	first page.Key
	n     uint32
}

// maxSpans bounds how many runs one read gathers: clusters have hundreds of relations of one block, which
// would otherwise be as many reads.
const maxSpans = 128

// fetch is one read: its runs in ascending order of keys, and their blocks one behind the other.
type fetch struct {
	spans []span
	buf   []byte
	done  chan struct{} // closed once buf or err is there
	err   error
}

// blockReader gives the blocks of a sequence of spans in that order. Several goroutines read ahead of it;
// what they hold is bounded by the number of buffers.
type blockReader struct {
	src       datadir.Reader
	lsn       page.LSN
	checksums bool
	perFetch  uint32

	ctx    context.Context // of the one backup that this reader serves; cancelled by close
	cancel context.CancelFunc
	group  *errgroup.Group
	work   chan *fetch
	order  chan *fetch
	free   chan []byte
	cur    *fetch
	rest   []byte
}

// newBlockReader starts reading. close must be called.
func newBlockReader(ctx context.Context, src datadir.Reader, lsn page.LSN, checksums bool, o Options, spans iter.Seq[span]) *blockReader {
	buffers := o.Readers + o.ReadAhead
	r := &blockReader{src: src, lsn: lsn, checksums: checksums, perFetch: uint32(o.RangeBlocks),
		work: make(chan *fetch, buffers), order: make(chan *fetch, buffers), free: make(chan []byte, buffers)}
	for range buffers {
		r.free <- nil // grown at first use, so that a small cluster takes little
	}
	ctx, r.cancel = context.WithCancel(ctx)
	r.group, r.ctx = errgroup.WithContext(ctx)
	r.group.Go(func() error {
		defer close(r.work)
		defer close(r.order)
		return r.plan(spans)
	})
	for range o.Readers {
		r.group.Go(func() error {
			for f := range r.work {
				f.err = r.read(f)
				close(f.done)
			}
			return nil
		})
	}
	return r
}

// plan cuts the sequence into reads and queues them as buffers become free.
func (r *blockReader) plan(spans iter.Seq[span]) error {
	var f *fetch
	var n uint32
	queue := func() bool {
		if f == nil {
			return true
		}
		select {
		case f.buf = <-r.free:
		case <-r.ctx.Done():
			return false
		}
		// Neither send can block: there are as many places as buffers.
		r.order <- f
		r.work <- f
		f, n = nil, 0
		return true
	}
	for s := range spans {
		for s.n > 0 {
			if f != nil && (n == r.perFetch || len(f.spans) == maxSpans || s.first.Less(f.end())) && !queue() {
				return r.ctx.Err()
			}
			if f == nil {
				f = &fetch{done: make(chan struct{})}
			}
			k := min(s.n, r.perFetch-n)
			f.spans = append(f.spans, span{s.first, k})
			n += k
			s.first, s.n = s.first.Add(k), s.n-k
		}
	}
	queue()
	return r.ctx.Err()
}

// end is the key behind the last.
func (f *fetch) end() page.Key {
	last := f.spans[len(f.spans)-1]
	return last.first.Add(last.n)
}

// read fills f.buf.
func (r *blockReader) read(f *fetch) error {
	blocks := 0
	ranges := make([]page.Range, len(f.spans))
	for i, s := range f.spans {
		ranges[i] = page.Range{Start: s.first, End: s.first.Add(s.n)}
		blocks += int(s.n)
	}
	if cap(f.buf) < blocks*pg.BlockSize {
		f.buf = make([]byte, blocks*pg.BlockSize)
	}
	f.buf = f.buf[:blocks*pg.BlockSize]
	at, i, in := 0, 0, uint32(0) // the block expected next: number at, the in-th of span i
	expected := func() page.Key { return f.spans[i].first.Add(in) }
	err := r.src.GetVectored(r.ctx, page.NewSet(ranges...), r.lsn, func(k page.Key, v []byte, err error) error {
		if at == blocks {
			return fmt.Errorf("%s at LSN %s was not asked for", k.Describe(), r.lsn)
		}
		if want := expected(); k != want {
			return fmt.Errorf("%s at LSN %s: %w", want.Describe(), r.lsn, page.ErrNotFound)
		}
		dst := f.buf[at*pg.BlockSize:][:pg.BlockSize]
		if err := r.block(dst, k, v, err); err != nil {
			return err
		}
		at++
		if in++; in == f.spans[i].n {
			i, in = i+1, 0
		}
		return nil
	})
	if err == nil && at < blocks {
		err = fmt.Errorf("%s at LSN %s: %w", expected().Describe(), r.lsn, page.ErrNotFound)
	}
	return err
}

// clogStamped is the length of a commit log page with the time of its last commit behind it.
const clogStamped = pg.BlockSize + 8

// block copies one block's value, as it is to be in a file.
func (r *blockReader) block(dst []byte, k page.Key, v []byte, err error) error {
	if err != nil {
		return fmt.Errorf("%s at LSN %s: %w", k.Describe(), r.lsn, err)
	}
	slru, _, _, isSLRU := k.SLRUBlock()
	if len(v) != pg.BlockSize && (len(v) != clogStamped || !isSLRU || slru != page.Clog) {
		return fmt.Errorf("%s at LSN %s: %d bytes instead of %d", k.Describe(), r.lsn, len(v), pg.BlockSize)
	}
	copy(dst, v)
	if r.checksums && !isSLRU {
		bufpage.Page(dst).SetChecksum(k.F6)
	}
	return nil
}

// next gives the next blocks in order, up to limit bytes. The slice is valid until the next call.
func (r *blockReader) next(limit int64) ([]byte, error) {
	for len(r.rest) == 0 {
		if r.cur != nil {
			r.free <- r.cur.buf
			r.cur = nil
		}
		f, ok := <-r.order
		if !ok {
			if err := r.ctx.Err(); err != nil {
				return nil, err
			}
			return nil, fmt.Errorf("no more blocks were planned")
		}
		<-f.done
		if f.err != nil {
			return nil, f.err
		}
		r.cur, r.rest = f, f.buf
	}
	n := min(int64(len(r.rest)), limit)
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b, nil
}

// close ends the reading and waits for the readers.
func (r *blockReader) close() {
	r.cancel()
	// The error is the cancelled context's; what went wrong with a read was given by next.
	_ = r.group.Wait()
}
