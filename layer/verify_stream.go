package layer

import (
	"context"
	"fmt"

	"github.com/stratapg/strata/virtualfile"
)

const (
	// A stream reads piecesAtOnce pieces of pieceSize while it looks at as many.
	pieceSize    = 1 << 20
	piecesAtOnce = 3
	piecesAhead  = 2 * piecesAtOnce
	// sumBlocksAhead is how many blocks of checksums are read in one go: those of 32 MiB.
	sumBlocksAhead = 32
)

// fileStream reads a stretch of a file, whole blocks, from its start to its end and verifies it, if the file
// has checksums. It reads ahead while what came is being looked at.
type fileStream struct {
	file  *virtualfile.Handle
	end   int64
	sums  *sumWindow // nil without checksums
	ready chan piece
	free  chan *virtualfile.Buffer
	done  chan struct{} // closed by the goroutine that reads

	cur   piece
	joint []byte // what was asked for and lies in two pieces or more
}

// piece is a part of the stretch, [off, off+n), or why it could not be read.
type piece struct {
	buf *virtualfile.Buffer
	off int64
	n   int
	err error
}

func (p *piece) end() int64 { return p.off + int64(p.n) }

// newFileStream begins to read. Before close, ctx has to be cancelled unless finish gave no error.
func newFileStream(ctx context.Context, f *virtualfile.Handle, c *checksums, start, end int64) *fileStream {
	s := &fileStream{file: f, end: end, cur: piece{off: start}, ready: make(chan piece, piecesAhead),
		free: make(chan *virtualfile.Buffer, piecesAhead), done: make(chan struct{})}
	if c != nil {
		s.sums = &sumWindow{file: f, c: c}
	}
	size := int(min(pieceSize, end-start))
	for range min(piecesAhead, (end-start+pieceSize-1)/pieceSize) {
		s.free <- f.Disk().Buffers().Get(size)
	}
	go s.readAhead(ctx, start, size) // close waits for it
	return s
}

func (s *fileStream) readAhead(ctx context.Context, off int64, size int) {
	defer close(s.done)
	for off < s.end {
		var reads []virtualfile.Read
		for len(reads) < piecesAtOnce && off < s.end {
			select {
			case b := <-s.free:
				r := virtualfile.Read{File: s.file, Off: off, Buf: b, Len: int(min(int64(size), s.end-off))}
				reads = append(reads, r)
				off += int64(r.Len)
			case <-ctx.Done():
				for _, r := range reads {
					s.free <- r.Buf
				}
				return
			}
		}
		err := readExactly(ctx, s.file.Disk(), reads)
		for _, r := range reads {
			s.ready <- piece{buf: r.Buf, off: r.Off, n: r.Len, err: err} // never waits: there is a place for each buffer
		}
		if err != nil {
			return
		}
	}
}

// advance goes to the next piece.
func (s *fileStream) advance(ctx context.Context) error {
	if s.cur.buf != nil {
		s.free <- s.cur.buf
		s.cur.buf = nil
	}
	select {
	case p := <-s.ready:
		s.cur = p
		if p.err != nil || s.sums == nil {
			return p.err
		}
		return s.sums.verify(ctx, p.off, p.buf.Bytes()[:p.n])
	case <-ctx.Done():
		return ctx.Err()
	}
}

// bytes gives [start, end) of the file, valid until the next call. It never goes back.
func (s *fileStream) bytes(ctx context.Context, start, end int64) ([]byte, error) {
	for start >= s.cur.end() {
		if err := s.advance(ctx); err != nil {
			return nil, err
		}
	}
	b := s.cur.buf.Bytes()[start-s.cur.off : s.cur.n]
	if end <= s.cur.end() {
		return b[:end-start], nil
	}
	s.joint = append(s.joint[:0], b...)
	for end > s.cur.end() {
		if err := s.advance(ctx); err != nil {
			return nil, err
		}
		s.joint = append(s.joint, s.cur.buf.Bytes()[:min(s.cur.end(), end)-s.cur.off]...)
	}
	return s.joint, nil
}

// finish verifies what was not asked for.
func (s *fileStream) finish(ctx context.Context) error {
	for s.cur.end() < s.end {
		if err := s.advance(ctx); err != nil {
			return err
		}
	}
	return nil
}

// close gives the buffers back once the goroutine has ended.
func (s *fileStream) close() {
	<-s.done
	if s.cur.buf != nil {
		s.cur.buf.Release()
	}
	for len(s.ready) > 0 {
		p := <-s.ready
		p.buf.Release()
	}
	for len(s.free) > 0 {
		(<-s.free).Release()
	}
	if s.sums != nil {
		s.sums.release()
	}
}

// sumWindow holds a few blocks of a file's checksums and moves forward.
type sumWindow struct {
	file *virtualfile.Handle
	c    *checksums
	buf  *virtualfile.Buffer
	from int64 // first block in buf
	to   int64
}

// verify checks whole chunks that lie at off, not more than pieceSize.
func (w *sumWindow) verify(ctx context.Context, off int64, b []byte) error {
	chunk := int64(w.c.chunk())
	first, _ := w.c.blockOf(off / chunk)
	last, _ := w.c.blockOf((off + int64(len(b)) - 1) / chunk)
	if first < w.from || last >= w.to {
		if err := w.load(ctx, first); err != nil {
			return err
		}
	}
	return w.c.verify(w.file.Name(), off, b, w.block)
}

func (w *sumWindow) block(blk int64) []byte {
	at := (blk - w.from) * blockSize
	return w.buf.Bytes()[at : at+blockSize]
}

// load reads and checks blocks from first on.
func (w *sumWindow) load(ctx context.Context, first int64) error {
	n := min(sumBlocksAhead, w.c.covered/blockSize+w.c.blocks()-first)
	if w.buf == nil {
		w.buf = w.file.Disk().Buffers().Get(int(n) * blockSize)
	}
	w.from, w.to = first, first
	read := []virtualfile.Read{{File: w.file, Off: first * blockSize, Buf: w.buf, Len: int(n) * blockSize}}
	if err := readExactly(ctx, w.file.Disk(), read); err != nil {
		return err
	}
	for blk := first; blk < first+n; blk++ {
		if err := w.c.checkBlock(w.file.Name(), blk, w.block(blk)); err != nil {
			return err
		}
	}
	w.to = first + n
	return nil
}

func (w *sumWindow) release() {
	if w.buf != nil {
		w.buf.Release()
		w.buf = nil
	}
}

// readExactly does reads of places that lie within their files.
func readExactly(ctx context.Context, d *virtualfile.Disk, reads []virtualfile.Read) error {
	if err := d.ReadMulti(ctx, reads); err != nil {
		return err
	}
	for i := range reads {
		r := &reads[i]
		if r.Err != nil {
			return fmt.Errorf("read %s, %d bytes at offset %d: %w", r.File.Name(), r.Len, r.Off, r.Err)
		}
		if r.N < r.Len {
			return corruptf(r.File.Name(), r.Off, "only %d of %d bytes are there", r.N, r.Len)
		}
	}
	return nil
}
