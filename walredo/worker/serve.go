// Package worker is a redo process from the inside: it serves a Redoer over the protocol of package wire, as
// `strata redo-worker` does with redo in Go on its stdin and stdout.
//
// A worker is serial. Answers are held back only while further questions are there already; it never
// waits for input with an answer unsent. Memory is bounded by Options.MaxRequest. Nothing of a request is
// left when the next begins.
package worker

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/walredo"
	"github.com/stratapg/strata/walredo/wire"
)

// Options say how to serve.
type Options struct {
	// Kind of cluster whose WAL is redone.
	Kind walredo.Kind
	// Redoer does the work.
	Redoer walredo.Redoer
	// ReportFailures answers what cannot be redone with a failure page (wire.Failure) and goes on.
	// Otherwise Serve ends with the error, as Neon's worker does.
	ReportFailures bool
	// MaxRequest is the most bytes of records that one request may have; default 512 MiB. One with more ends
	// Serve with an error.
	MaxRequest int64
}

// Buffers of the two streams: some answers are worth a system call of their own, and a pipe holds 64 KiB.
const (
	readBuffer  = 64 << 10
	writeBuffer = 8*wire.AnswerSize + answerRoom - wire.AnswerSize
	// answerRoom is what a Redoer needs to make an answer in place: a commit log page is 8 bytes longer.
	answerRoom = wire.AnswerSize + 8

	defaultMaxRequest = 512 << 20
)

// Serve answers the questions that come from in until there are no more, which is no error.
func Serve(ctx context.Context, in io.Reader, out io.Writer, o Options) error {
	if o.Redoer == nil || !o.Kind.Version.Supported() {
		return fmt.Errorf("redo worker: a Redoer and a version of 14 to 17 are needed, not %d", o.Kind.Version)
	}
	if o.MaxRequest <= 0 {
		o.MaxRequest = defaultMaxRequest
	}
	w := bufio.NewWriterSize(out, writeBuffer)
	s := &server{o: o, w: w, r: wire.NewReader(bufio.NewReaderSize(flushFirst{in, w}, readBuffer))}
	err := s.serve(ctx)
	if err != nil {
		err = fmt.Errorf("redo worker: %w", err)
	}
	return errors.Join(err, w.Flush())
}

// flushFirst sends the answers there are before it waits for more questions.
type flushFirst struct {
	io.Reader
	w *bufio.Writer
}

func (f flushFirst) Read(b []byte) (int, error) {
	if err := f.w.Flush(); err != nil {
		return 0, err
	}
	return f.Reader.Read(b)
}

type server struct {
	o Options
	r *wire.Reader
	w *bufio.Writer

	begun bool
	rel   page.RelTag
	block uint32
	req   walredo.Request
	mem   arena
	page  [pg.BlockSize]byte // of failures
}

func (s *server) serve(ctx context.Context) error {
	var m wire.Message
	for {
		if err := s.r.Next(&m, s.alloc); err != nil {
			if err == io.EOF {
				return nil
			}
			return err
		}
		if err := s.message(ctx, &m); err != nil {
			return err
		}
	}
}

// alloc gives memory for a record or an image, which is needed until the request ends.
func (s *server) alloc(n int) ([]byte, error) {
	if s.mem.used+int64(n) > s.o.MaxRequest {
		return nil, fmt.Errorf("a request of more than %d bytes", s.o.MaxRequest)
	}
	return s.mem.get(n), nil
}

func (s *server) message(ctx context.Context, m *wire.Message) error {
	switch m.Type {
	case wire.Ping:
		s.begun = false
		return s.pong()
	case wire.Begin:
		s.begin(m)
		return nil
	}
	if !s.begun {
		return fmt.Errorf("%w: type %q outside of a request", wire.ErrProtocol, m.Type)
	}
	if m.Type != wire.Apply && (m.Rel != s.rel || m.Block != s.block) {
		return fmt.Errorf("%w: type %q names %s block %d within a request for %s block %d", wire.ErrProtocol,
			m.Type, m.Rel, m.Block, s.rel, s.block)
	}
	switch m.Type {
	case wire.Push:
		s.req.Base = m.Bytes
	case wire.Apply:
		s.req.Records = append(s.req.Records, walredo.Record{
			LSN: m.LSN, Value: page.Value{Kind: page.KindPostgres, Bytes: m.Bytes},
		})
		s.req.LSN = m.LSN
	case wire.Get:
		return s.answer(ctx)
	}
	return nil
}

func (s *server) begin(m *wire.Message) {
	s.begun, s.rel, s.block = true, m.Rel, m.Block
	clear(s.req.Records)
	s.req = walredo.Request{
		Key: m.Rel.Block(m.Block), Version: s.o.Kind.Version, Flavour: s.o.Kind.Flavour, Checksums: s.o.Kind.Checksums,
		Records: s.req.Records[:0],
	}
	s.mem.reset()
}

// pong answers a ping with zeros, made where they are written from.
func (s *server) pong() error {
	if err := s.makeRoom(); err != nil {
		return err
	}
	zeros := s.w.AvailableBuffer()[:wire.AnswerSize]
	clear(zeros)
	_, err := s.w.Write(zeros)
	return err
}

// makeRoom sends what there is if another answer has no room behind it.
func (s *server) makeRoom() error {
	if s.w.Available() < answerRoom {
		return s.w.Flush()
	}
	return nil
}

// answer has the page made where it is written from.
func (s *server) answer(ctx context.Context) error {
	s.begun = false
	if err := s.makeRoom(); err != nil {
		return err
	}
	out, err := s.o.Redoer.Redo(ctx, s.w.AvailableBuffer(), &s.req)
	if err == nil && len(out) != pg.BlockSize {
		err = fmt.Errorf("redo gave %d bytes", len(out))
	}
	if err != nil {
		if !s.o.ReportFailures || ctx.Err() != nil {
			return err
		}
		clear(s.page[:])
		out = s.page[:]
		f := wire.FailureOf(err)
		f.Put(out)
	}
	_, err = s.w.Write(out)
	return err
}

// arena gives memory that lives until its reset. One chunk is kept over it.
type arena struct {
	chunk []byte
	free  []byte
	used  int64
}

// arenaChunk holds the records of nearly every request.
const arenaChunk = 64 << 10

func (a *arena) get(n int) []byte {
	a.used += int64(n)
	if n > arenaChunk/2 {
		return make([]byte, n)
	}
	if n > len(a.free) {
		a.chunk = make([]byte, arenaChunk)
		a.free = a.chunk
	}
	b := a.free[:n:n]
	a.free = a.free[n:]
	return b
}

func (a *arena) reset() { a.free, a.used = a.chunk, 0 }
