package layer

import (
	"context"
	"fmt"
	"sync"

	"github.com/stratapg/strata/virtualfile"
)

const (
	// A stream has streamPieces pieces of pieceSize: one is looked at while the others are read. Larger pieces
	// leave the processor's cache before they are looked at, and with fewer, or when they are read in batches
	// that wait for each other, the drive has nothing to do now and then.
	pieceSize    = 512 << 10
	streamPieces = 4
	// sumBlocksAhead is how many blocks of checksums are read in one go: those of 32 MiB.
	sumBlocksAhead = 32
)

// fileStream reads a stretch of a file, whole blocks, from its start to its end and verifies it, if the file
// has checksums. It reads ahead while what came is being looked at: the pieces go round, each read by a
// goroutine of its own.
type fileStream struct {
	file  *virtualfile.Handle
	end   int64
	sums  *sumWindow // nil without checksums
	lanes []*pieceLane
	next  int // lane of the next piece
	work  sync.WaitGroup

	cur   piece
	joint []byte // what was asked for and lies in two pieces or more
}

// piece is a part of the stretch, [off, off+n), or why it could not be read.
type piece struct {
	lane *pieceLane
	off  int64
	n    int
	err  error
}

func (p *piece) end() int64 { return p.off + int64(p.n) }

func (p *piece) bytes() []byte { return p.lane.buf.Bytes()[:p.n] }

// pieceLane reads every streamPieces-th piece into the same buffer.
type pieceLane struct {
	buf   *virtualfile.Buffer
	ready chan piece    // that was read; has room for one
	free  chan struct{} // the buffer may be filled again; likewise
}

// newFileStream begins to read. Before close, ctx has to be cancelled unless finish gave no error.
func newFileStream(ctx context.Context, f *virtualfile.Handle, c *checksums, start, end int64) *fileStream {
	s := &fileStream{file: f, end: end, cur: piece{off: start}}
	if c != nil {
		s.sums = &sumWindow{file: f, c: c}
	}
	for off := start; off < end && len(s.lanes) < streamPieces; off += pieceSize {
		l := &pieceLane{buf: f.Disk().Buffers().Get(int(min(pieceSize, end-off))),
			ready: make(chan piece, 1), free: make(chan struct{}, 1)}
		s.lanes = append(s.lanes, l)
		s.work.Go(func() { s.readLane(ctx, l, off) })
	}
	return s
}

// readLane reads the pieces of a lane, the first of which begins at off.
func (s *fileStream) readLane(ctx context.Context, l *pieceLane, off int64) {
	for {
		p := piece{lane: l, off: off, n: int(min(pieceSize, s.end-off))}
		p.err = readExactly(ctx, s.file.Disk(), []virtualfile.Read{{File: s.file, Off: off, Buf: l.buf, Len: p.n}})
		l.ready <- p // has room: the one before has been taken
		if off += streamPieces * pieceSize; p.err != nil || off >= s.end {
			return
		}
		select {
		case <-l.free:
		case <-ctx.Done():
			return
		}
	}
}

// advance goes to the next piece.
func (s *fileStream) advance(ctx context.Context) error {
	if l := s.cur.lane; l != nil {
		s.cur.lane = nil
		l.free <- struct{}{} // has room: it was taken before the piece was read
	}
	select {
	case p := <-s.lanes[s.next].ready:
		s.cur = p
		s.next = (s.next + 1) % len(s.lanes)
		if p.err != nil || s.sums == nil {
			return p.err
		}
		return s.sums.verify(ctx, p.off, p.bytes())
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
	b := s.cur.bytes()[start-s.cur.off:]
	if end <= s.cur.end() {
		return b[:end-start], nil
	}
	s.joint = append(s.joint[:0], b...)
	for end > s.cur.end() {
		if err := s.advance(ctx); err != nil {
			return nil, err
		}
		s.joint = append(s.joint, s.cur.bytes()[:min(s.cur.end(), end)-s.cur.off]...)
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

// close gives the buffers back once nobody reads into them.
func (s *fileStream) close() {
	s.work.Wait()
	for _, l := range s.lanes {
		l.buf.Release()
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
