package pageserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/jackc/pgx/v5/pgproto3"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/pageserver/pagestream"
)

type streamCommand struct {
	place
	version pagestream.Version
}

// stream is a copy in both directions: requests in, answers out. The connection's goroutine reads; answers are made by a
// goroutine that lives while the queue holds something.
type stream struct {
	*conn
	ctx     context.Context
	tl      *strata.Timeline
	version pagestream.Version

	mu      sync.Mutex
	changed sync.Cond // the queue became shorter, or the answering goroutine ended
	queue   []pagestream.Request
	busy    bool
	broken  error // what ended the answering
}

func (s streamCommand) run(ctx context.Context, c *conn) error {
	tl, err := c.find(ctx, s.place)
	if err != nil {
		return err
	}
	c.be.Send(&pgproto3.CopyBothResponse{})
	if err := c.flush(); err != nil {
		return connError{err}
	}
	reading, cancel := context.WithCancel(ctx)
	defer cancel()
	st := &stream{conn: c, ctx: reading, tl: tl, version: s.version}
	st.changed.L = &st.mu
	err = st.read()
	if !errors.Is(err, errCopyEnded) && !errors.Is(err, errTerminated) {
		cancel() // nobody waits for the answers any more
	}
	if broken := st.drain(); broken != nil {
		return connError{broken}
	}
	if errors.Is(err, errCopyEnded) {
		return fmt.Errorf("pagestream: %w", err)
	}
	return connError{err}
}

// errTerminated is the orderly end of a connection.
var errTerminated = fmt.Errorf("the client has ended the connection: %w", io.EOF)

// errCopyEnded is the end of a stream after which the connection goes on.
var errCopyEnded = errors.New("unexpected message")

// read queues requests until the client ends the stream.
func (s *stream) read() error {
	for {
		m, err := s.receive(s.ctx)
		if err != nil {
			return err
		}
		switch m := m.(type) {
		case *pgproto3.CopyData:
			r, err := pagestream.DecodeRequest(m.Data, s.version)
			if err != nil {
				return errors.Join(errCopyEnded, err)
			}
			if err := s.push(r); err != nil {
				return err
			}
		case *pgproto3.Terminate:
			return errTerminated
		case *pgproto3.Flush, *pgproto3.Sync: // what pgconn and libpq may send around a copy
		default:
			return fmt.Errorf("%w: %T in a stream", errCopyEnded, m)
		}
	}
}

// push queues a request, once there is room.
func (s *stream) push(r pagestream.Request) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.queue) >= s.s.c.Queue && s.broken == nil {
		s.changed.Wait()
	}
	if s.broken != nil {
		return s.broken
	}
	s.queue = append(s.queue, r)
	if !s.busy {
		s.busy = true
		go s.answerAll()
	}
	return nil
}

// drain waits until all that was queued is answered, or cannot be.
func (s *stream) drain() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.busy {
		s.changed.Wait()
	}
	return s.broken
}

// answerAll answers until the queue is empty.
func (s *stream) answerAll() {
	b := batches.Get().(*batch)
	defer batches.Put(b)
	for s.take(b) {
		s.answer(b)
		if err := s.send(b.out); err != nil {
			s.end(err)
			return
		}
	}
}

// take moves what can be answered together from the queue's front to b. It reports whether there was something; if not
// the goroutine has to end.
func (s *stream) take(b *batch) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := together(s.queue, s.s.c.Batch)
	b.reset(s.queue[:n])
	s.queue = s.queue[:copy(s.queue, s.queue[n:])]
	s.busy = n > 0
	if len(s.queue) == 0 && cap(s.queue) > smallQueue {
		s.queue = nil
	}
	s.changed.Broadcast()
	return n > 0
}

// smallQueue is what an idle stream may keep, in requests.
const smallQueue = 8

// together says how many requests from the front are one batch: page requests for the same LSNs, or one of another kind.
func together(queue []pagestream.Request, most int) int {
	if len(queue) == 0 {
		return 0
	}
	n := 1
	for first := &queue[0]; n < min(len(queue), most); n++ {
		r := &queue[n]
		if first.Kind != pagestream.Page || r.Kind != pagestream.Page || r.LSN != first.LSN || r.NotModifiedSince != first.NotModifiedSince {
			break
		}
	}
	return n
}

// end ends the answering, and with it the connection.
func (s *stream) end(err error) {
	s.nc.Close() // the reader may be waiting for a client that is gone
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken, s.busy, s.queue = err, false, nil
	s.changed.Broadcast()
}
