package pageserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/stratapg/strata/pageserver/answer"
	"github.com/stratapg/strata/pageserver/pagestream"
)

type streamCommand struct {
	place
	version pagestream.Version
}

// stream is a copy in both directions: requests in, answers out. The connection's goroutine reads; answers are made by
// goroutines that live while the queue holds something, and write in the order of the requests.
type stream struct {
	*conn
	ctx     context.Context
	from    answer.Source
	version pagestream.Version

	mu      sync.Mutex
	changed sync.Cond // the queue became shorter, a batch was sent, or an answering goroutine ended
	queue   []pagestream.Request
	busy    int   // goroutines that answer
	taken   int64 // batches taken from the queue
	sent    int64 // batches whose answers were written
	broken  error // what ended the answering
}

const (
	// maxUnderWay is how many batches of a stream are answered at a time: while the answers of one are written, and
	// the client looks at them, another one is read.
	maxUnderWay = 2
	// worthSplitting is how many requests make a batch beside another: so many that what a batch costs in itself, two
	// system calls and a plan, is little beside its pages.
	worthSplitting = 8
)

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
	st := &stream{conn: c, ctx: reading, from: c.source(tl), version: s.version}
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
	s.hireLocked()
	return nil
}

// hireLocked begins to answer: who is alone at once, a second batch when it is large enough.
func (s *stream) hireLocked() {
	if s.busy == 0 && len(s.queue) > 0 || s.busy < maxUnderWay && len(s.queue) >= worthSplitting {
		s.busy++
		go s.answerAll()
	}
}

// drain waits until all that was queued is answered, or cannot be.
func (s *stream) drain() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.busy > 0 {
		s.changed.Wait()
	}
	return s.broken
}

// answerAll answers until the queue is empty.
func (s *stream) answerAll() {
	b := batches.Get().(*batch)
	defer batches.Put(b)
	for {
		turn, ok := s.take(b)
		if !ok {
			return
		}
		s.answer(b)
		if !s.await(turn) {
			return
		}
		if err := s.send(b.out); err != nil {
			s.end(err)
			return
		}
		s.pass()
	}
}

// take moves what can be answered together from the queue's front to b, and gives its turn to be sent. It reports
// whether there was something; if not the goroutine has ended.
func (s *stream) take(b *batch) (turn int64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := together(s.queue, s.shareLocked())
	b.reset(s.queue[:n])
	s.queue = s.queue[:copy(s.queue, s.queue[n:])]
	if len(s.queue) == 0 && cap(s.queue) > smallQueue {
		s.queue = nil
	}
	s.changed.Broadcast()
	if n == 0 || s.broken != nil {
		s.busy--
		return 0, false
	}
	s.taken++
	s.hireLocked()
	return s.taken - 1, true
}

// shareLocked is how many requests the next batch may have. Where no other is under way it leaves half of many to one.
func (s *stream) shareLocked() int {
	if n := len(s.queue); s.busy == 1 && n >= maxUnderWay*worthSplitting {
		return min(s.s.c.Batch, (n+maxUnderWay-1)/maxUnderWay)
	}
	return s.s.c.Batch
}

// await waits until the batches before have been sent. It fails if one could not be; the goroutine has ended then.
func (s *stream) await(turn int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.sent != turn && s.broken == nil {
		s.changed.Wait()
	}
	if s.broken != nil {
		s.busy--
		s.changed.Broadcast()
		return false
	}
	return true
}

// pass lets the next batch be sent.
func (s *stream) pass() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent++
	s.changed.Broadcast()
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
	s.broken, s.queue = err, nil
	s.busy--
	s.changed.Broadcast()
}
