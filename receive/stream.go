package receive

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/stratapg/strata/page"
)

// maxChunks bounds what is received and not ingested yet; a server sends at most 128 KiB in one message
// (MAX_SEND_SIZE), and maxChunkSize refuses what no server sends.
const (
	maxChunks    = 32
	maxChunkSize = 1 << 20
)

// chunk is a piece of WAL.
type chunk struct {
	at   page.LSN
	data []byte
}

func (c chunk) end() page.LSN { return c.at + page.LSN(len(c.data)) }

// positions are shared between the goroutine that talks to the server and the one that ingests.
type positions struct {
	recv, srv atomic.Uint64
}

func (p *positions) received(l page.LSN)   { p.recv.Store(uint64(l)) }
func (p *positions) receivedLSN() page.LSN { return page.LSN(p.recv.Load()) }
func (p *positions) serverEnd() page.LSN   { return page.LSN(p.srv.Load()) }
func (p *positions) server(l page.LSN)     { p.srv.Store(max(p.srv.Load(), uint64(l))) }

// stream owns the connection while WAL streams: it alone reads and writes it.
type stream struct {
	conn   *pgconn.PgConn
	o      Options
	pos    *positions
	at     page.LSN // where the next byte stands
	chunks chan chunk
	done   chan struct{} // closed when no more is wanted
	flush  chan struct{} // asks the ingesting goroutine to make everything durable; room for one
	owed   bool          // the server waits for a status that says so
	sent   time.Time     // when the last status message went out
}

// Messages inside the stream ("Streaming Replication Protocol"): a byte, then big-endian numbers.
//
//	'w' XLogData        start u64, end of WAL u64, time u64, WAL
//	'k' keepalive       end of WAL u64, time u64, reply wanted u8
//	'r' status update   written u64, flushed u64, applied u64, time u64, reply wanted u8
const (
	msgWAL       = 'w'
	msgKeepalive = 'k'
	msgStatus    = 'r'

	walHeader     = 1 + 3*8
	keepaliveSize = 1 + 2*8 + 1
)

// start asks for the stream and waits until the server agrees.
func (s *stream) start(ctx context.Context, at page.LSN, tli uint32) error {
	s.at = at
	s.pos.received(at)
	cmd := fmt.Sprintf("START_REPLICATION SLOT %s PHYSICAL %s TIMELINE %d", s.o.Slot, at, tli)
	s.conn.Frontend().Send(&pgproto3.Query{String: cmd})
	if err := s.conn.Frontend().Flush(); err != nil {
		return &netError{fmt.Errorf("%s: %w", cmd, err)}
	}
	for {
		m, err := s.conn.ReceiveMessage(ctx)
		if err != nil {
			return &netError{fmt.Errorf("%s: %w", cmd, err)}
		}
		switch m := m.(type) {
		case *pgproto3.CopyBothResponse:
			return nil
		case *pgproto3.RowDescription:
			// Nothing is left to send on this timeline: the answer is that of the stream's end.
			return s.timelineEnd(ctx)
		case *pgproto3.ErrorResponse:
			return fmt.Errorf("%s: %w", cmd, explain(pgconn.ErrorResponseToPgError(m)))
		}
	}
}

// explain adds what to do about WAL that the server no longer has.
func explain(err error) error {
	var pe *pgconn.PgError
	if errors.As(err, &pe) && pe.Code == codeUndefinedFile {
		return fmt.Errorf("%w (the server has removed WAL that was not received yet: ingest it from an archive first, or import the cluster anew)", err)
	}
	return err
}

// run receives until the stream ends, done is closed or ctx is cancelled. It closes chunks.
func (s *stream) run(ctx context.Context) error {
	defer close(s.chunks)
	for {
		if err := s.statusIfDue(); err != nil {
			return err
		}
		select {
		case <-s.done:
			return s.stop(ctx)
		case <-ctx.Done():
			<-s.done // what was ingested is being made durable
			return errors.Join(ctx.Err(), s.stop(ctx))
		default:
		}
		m, err := s.receive(ctx)
		if err != nil || m == nil {
			if err != nil && ctx.Err() == nil {
				return err
			}
			continue
		}
		switch m := m.(type) {
		case *pgproto3.CopyData:
			if err := s.message(ctx, m.Data); err != nil {
				return err
			}
		case *pgproto3.CopyDone:
			return s.copyDone(ctx)
		case *pgproto3.ErrorResponse:
			return explain(pgconn.ErrorResponseToPgError(m))
		}
	}
}

// pollInterval bounds how long a quiet server keeps run from noticing done and from sending a status.
const pollInterval = 200 * time.Millisecond

// receive waits for a message; nil means that none came in time.
func (s *stream) receive(ctx context.Context) (pgproto3.BackendMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, min(pollInterval, s.o.StatusInterval))
	defer cancel()
	m, err := s.conn.ReceiveMessage(ctx)
	switch {
	case err == nil:
		return m, nil
	case pgconn.Timeout(err) && ctx.Err() != nil:
		return nil, nil
	}
	if pe := (*pgconn.PgError)(nil); errors.As(err, &pe) {
		return nil, explain(err)
	}
	return nil, &netError{fmt.Errorf("receive: %w", err)}
}

// message takes apart what came inside the stream.
func (s *stream) message(ctx context.Context, b []byte) error {
	be := binary.BigEndian
	switch {
	case len(b) >= walHeader && b[0] == msgWAL:
		at := page.LSN(be.Uint64(b[1:]))
		if at != s.at {
			return fmt.Errorf("the server sent WAL from %s, not from %s", at, s.at)
		}
		data := b[walHeader:]
		if len(data) > maxChunkSize {
			return fmt.Errorf("the server sent %d bytes of WAL in one message", len(data))
		}
		s.pos.server(page.LSN(be.Uint64(b[9:])))
		// The message's memory is used again by the next one.
		return s.hand(ctx, chunk{at, append([]byte(nil), data...)})
	case len(b) >= keepaliveSize && b[0] == msgKeepalive:
		s.pos.server(page.LSN(be.Uint64(b[1:])))
		if b[17] != 0 {
			return s.ping()
		}
		return nil
	case len(b) == 0:
		return errors.New("the server sent an empty message")
	}
	return fmt.Errorf("the server sent a message of type %q and %d bytes", b[0], len(b))
}

// ping answers a keepalive that wants a reply. A server that shuts down sends them until everything it sent
// is durable here, and does not end before: so make it durable first.
func (s *stream) ping() error {
	if s.durable() >= s.at {
		return s.status()
	}
	s.owed = true
	select {
	case s.flush <- struct{}{}:
	default: // asked already
	}
	return nil
}

// hand gives a chunk to the ingesting goroutine. While that is busy the server is not read, but told that
// we are alive.
func (s *stream) hand(ctx context.Context, c chunk) error {
	for {
		t := time.NewTimer(s.o.StatusInterval)
		select {
		case s.chunks <- c:
			t.Stop()
			s.at = c.end()
			s.pos.received(s.at)
			return nil
		case <-ctx.Done():
			t.Stop()
			return nil // run sees it too
		case <-s.done:
			t.Stop()
			return nil
		case <-t.C:
			if err := s.status(); err != nil {
				return err
			}
		}
	}
}

func (s *stream) statusIfDue() error {
	if time.Since(s.sent) < s.o.StatusInterval && !(s.owed && s.durable() >= s.at) {
		return nil
	}
	return s.status()
}

// postgresEpoch is where PostgreSQL's clock starts.
var postgresEpoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// durable is how much of what was received would survive a crash.
func (s *stream) durable() page.LSN { return min(s.o.Store.DiskConsistentLSN(), s.pos.receivedLSN()) }

// status tells the server how far we are. Flushed is what would survive a crash, no more: it moves the slot.
func (s *stream) status() error {
	durable := s.durable()
	now := time.Now()
	be := binary.BigEndian
	b := make([]byte, 0, 1+4*8+1)
	b = append(b, msgStatus)
	b = be.AppendUint64(b, uint64(s.pos.receivedLSN()))
	b = be.AppendUint64(b, uint64(durable))
	b = be.AppendUint64(b, uint64(durable))
	b = be.AppendUint64(b, uint64(now.Sub(postgresEpoch).Microseconds()))
	b = append(b, 0)
	s.sent, s.owed = now, false
	return s.send(&pgproto3.CopyData{Data: b})
}

func (s *stream) send(m pgproto3.FrontendMessage) error {
	s.conn.Frontend().Send(m)
	if err := s.conn.Frontend().Flush(); err != nil {
		return &netError{fmt.Errorf("send: %w", err)}
	}
	return nil
}

// stop ends the stream from our side: a last status, then the end of the copy, then all that the server
// still sends up to its own end, by which it has seen the status.
func (s *stream) stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	if err := s.status(); err != nil {
		return err
	}
	if err := s.send(&pgproto3.CopyDone{}); err != nil {
		return err
	}
	for {
		m, err := s.conn.ReceiveMessage(ctx)
		if err != nil {
			return &netError{fmt.Errorf("end the stream: %w", err)}
		}
		switch m := m.(type) {
		case *pgproto3.ReadyForQuery:
			return nil
		case *pgproto3.ErrorResponse:
			return pgconn.ErrorResponseToPgError(m)
		}
	}
}

// copyDone answers the server's end of the stream: it has sent all of a timeline that it has left.
func (s *stream) copyDone(ctx context.Context) error {
	if err := s.send(&pgproto3.CopyDone{}); err != nil {
		return err
	}
	return s.timelineEnd(ctx)
}

// timelineEnd reads which timeline follows: a row with its number and where it begins.
func (s *stream) timelineEnd(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, closeTimeout)
	defer cancel()
	var next *timelineEnded
	for {
		m, err := s.conn.ReceiveMessage(ctx)
		if err != nil {
			return &netError{fmt.Errorf("end of the timeline: %w", err)}
		}
		switch m := m.(type) {
		case *pgproto3.DataRow:
			if next, err = parseTimelineEnd(m.Values); err != nil {
				return err
			}
		case *pgproto3.ErrorResponse:
			return pgconn.ErrorResponseToPgError(m)
		case *pgproto3.ReadyForQuery:
			if next == nil {
				return errStreamEnded
			}
			return next
		}
	}
}

func parseTimelineEnd(v [][]byte) (*timelineEnded, error) {
	if len(v) < 2 {
		return nil, fmt.Errorf("end of the timeline: %d columns", len(v))
	}
	tli, err := strconv.ParseUint(string(v[0]), 10, 32)
	if err != nil {
		return nil, fmt.Errorf("end of the timeline: %w", err)
	}
	at, err := page.ParseLSN(string(v[1]))
	if err != nil {
		return nil, fmt.Errorf("end of the timeline: %w", err)
	}
	return &timelineEnded{uint32(tli), at}, nil
}
