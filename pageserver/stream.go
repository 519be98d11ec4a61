package pageserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/stratapg/strata/pageserver/answer"
	"github.com/stratapg/strata/pageserver/pagestream"
)

type streamCommand struct {
	place
	version pagestream.Version
}

// queued is a request and when it arrived, or those that it arrived with.
type queued struct {
	pagestream.Request
	arrived time.Time
}

// stream is a copy in both directions: requests in, answers out. The connection's goroutine reads; answers are made by
// goroutines that live while the queue holds something, and written in the order of the requests, by whichever of them made
// those whose turn it is.
type stream struct {
	*conn
	ctx     context.Context
	from    *answer.Shards
	version pagestream.Version

	mu      sync.Mutex
	changed sync.Cond // the queue became shorter, or an answering goroutine ended
	queue   []queued
	busy    int      // goroutines that answer
	under   []*batch // taken from the queue and not written yet, in order
	writing bool     // one of the goroutines writes
	broken  error    // what ended the answering
}

const (
	// maxUnderWay is how many batches of a stream may be taken and not written yet.
	maxUnderWay = 4
	// worthSplitting is how many requests make a batch beside another: so many that what a batch costs in itself, two
	// system calls and a plan, is little beside its pages.
	worthSplitting = 8
)

// answering is how many goroutines may answer requests of one stream: while one of them reads another one writes.
func answering() int { return min(max(runtime.GOMAXPROCS(0), 2), maxUnderWay) }

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
	st := &stream{conn: c, ctx: reading, from: tl, version: s.version}
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
		some, end := s.readSome()
		if err := s.push(some); err != nil {
			return err
		}
		if end != nil {
			return end
		}
	}
}

// readSome waits for a request, and takes those that have arrived with it. What ends the stream comes behind them.
func (s *stream) readSome() (some []queued, end error) {
	var arrived time.Time
	for {
		m, err := s.receive(s.ctx)
		if err != nil {
			return some, err
		}
		switch m := m.(type) {
		case *pgproto3.CopyData:
			r, err := pagestream.DecodeRequest(m.Data, s.version)
			if err != nil {
				return some, errors.Join(errCopyEnded, err)
			}
			if len(some) == 0 {
				arrived = time.Now()
			}
			some = append(some, queued{r, arrived})
		case *pgproto3.Terminate:
			return some, errTerminated
		case *pgproto3.Flush, *pgproto3.Sync: // what pgconn and libpq may send around a copy
		default:
			return some, fmt.Errorf("%w: %T in a stream", errCopyEnded, m)
		}
		if len(some) >= s.s.c.Batch || !s.be.Arrived() {
			return some, nil
		}
	}
}

// push queues requests, once there is room.
func (s *stream) push(some []queued) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(some) > 0 {
		for len(s.queue) >= s.s.c.Queue && s.broken == nil {
			s.changed.Wait()
		}
		if s.broken != nil {
			return s.broken
		}
		n := min(len(some), s.s.c.Queue-len(s.queue))
		s.queue = append(s.queue, some[:n]...)
		some = some[n:]
		s.hireLocked()
	}
	return s.broken
}

// hireLocked begins to answer: who is alone at once, and beside others what is worth it.
func (s *stream) hireLocked() {
	want := min(answering(), (len(s.queue)+worthSplitting-1)/worthSplitting, maxUnderWay-len(s.under))
	for s.broken == nil && s.busy < want {
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
	for _, b := range s.under { // what is not sent any more
		b.held.Release()
	}
	return s.broken
}

// answerAll answers until the queue is empty, or so much is under way that a client has to take of it first.
func (s *stream) answerAll() {
	for b := s.next(); b != nil; b = s.next() {
		s.answer(b)
		if err := s.deliver(b); err != nil {
			s.end(err)
		}
	}
}

// next moves what can be answered together from the queue's front to a batch. Without one the goroutine has ended.
func (s *stream) next() *batch {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	if s.broken == nil && len(s.under) < maxUnderWay {
		n = together(s.queue, s.shareLocked())
	}
	if n == 0 {
		s.busy--
		s.changed.Broadcast()
		return nil
	}
	b := batches.Get().(*batch)
	b.reset(s.queue[:n])
	s.queue = s.queue[:copy(s.queue, s.queue[n:])]
	if len(s.queue) == 0 && cap(s.queue) > smallQueue {
		s.queue = nil
	}
	s.under = append(s.under, b)
	s.changed.Broadcast()
	return b
}

// shareLocked is how many requests the next batch may have: so few of many that all batches that may be under way have some,
// and server and client always have something to do.
func (s *stream) shareLocked() int {
	share := (len(s.queue) + maxUnderWay - 1) / maxUnderWay
	return min(s.s.c.Batch, max(share, worthSplitting))
}

// deliver writes what is answered and has its turn; where another goroutine writes just now, that one will.
func (s *stream) deliver(b *batch) (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b.answered = true
	if s.writing {
		return nil
	}
	for len(s.under) > 0 && s.under[0].answered && s.broken == nil && err == nil {
		first := s.under[0]
		s.writing = true
		s.mu.Unlock()
		err = s.send(first)
		s.mu.Lock()
		s.writing = false
		s.under = s.under[:copy(s.under, s.under[1:])]
		batches.Put(first)
		s.changed.Broadcast() // another one has its turn
		s.hireLocked()
	}
	return err
}

// smallQueue is what an idle stream may keep, in requests.
const smallQueue = 8

// together says how many requests from the front are one batch: page requests for the same LSNs, or one of another kind.
func together(queue []queued, most int) int {
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
	s.changed.Broadcast()
}
