package client

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pageserver/pagestream"
)

// Stream is a stream of requests and their answers, in the same order.
type Stream struct {
	c       *Conn
	version pagestream.Version
	buf     []byte
	used    int // bytes of the last answer, which lie in Conn.in until the next one is asked for

	mu   sync.Mutex
	sent []pagestream.Request // not answered yet
}

// Stream makes the connection one of pages of a timeline. Nothing else can be done on it afterwards.
func (c *Conn) Stream(tenant page.TenantID, timeline page.TimelineID, v pagestream.Version) (*Stream, error) {
	_, err := c.command(fmt.Sprintf("pagestream_v%d %s %s", v, tenant, timeline), func(m pgproto3.BackendMessage) bool {
		_, ok := m.(*pgproto3.CopyBothResponse)
		return ok
	})
	if err != nil {
		return nil, err
	}
	return &Stream{c: c, version: v}, nil
}

// Send sends requests with one write.
func (s *Stream) Send(requests ...pagestream.Request) error {
	s.Queue(requests...)
	return s.Flush()
}

// Queue keeps requests for the next Flush.
func (s *Stream) Queue(requests ...pagestream.Request) {
	s.mu.Lock()
	s.sent = append(s.sent, requests...)
	s.mu.Unlock()
	for i := range requests {
		s.buf = requests[i].Append(s.buf[:0], s.version)
		s.c.fe.Send(&pgproto3.CopyData{Data: s.buf})
	}
}

// Flush sends what was queued.
func (s *Stream) Flush() error { return s.c.fe.Flush() }

// Arrived reports whether the next answer, or a part of it, has arrived, so that Receive hardly waits.
func (s *Stream) Arrived() bool {
	return s.c.in.Buffered() > s.used || s.c.fe.ReadBufferLen() > 0
}

// Receive waits for the answer to the oldest request that has none. What it gives is valid until the next call.
func (s *Stream) Receive() (pagestream.Answer, error) {
	data, err := s.next()
	if err != nil {
		return pagestream.Answer{}, err
	}
	s.mu.Lock()
	if len(s.sent) == 0 {
		s.mu.Unlock()
		return pagestream.Answer{}, errors.New("an answer that was not asked for")
	}
	r := s.sent[0]
	s.sent = s.sent[1:]
	s.mu.Unlock()
	return pagestream.DecodeAnswer(data, s.version, &r)
}

// next gives the next message of the copy, where it was read to if it has room there.
func (s *Stream) next() ([]byte, error) {
	const head = 1 + 4
	in := s.c.in
	_, _ = in.Discard(s.used) // it was peeked at
	s.used = 0
	if s.c.fe.ReadBufferLen() == 0 {
		h, err := in.Peek(head)
		if err != nil {
			return nil, err
		}
		if n := binary.BigEndian.Uint32(h[1:]); h[0] == 'd' && n >= 4 && n < readAhead {
			m, err := in.Peek(1 + int(n))
			if err != nil {
				return nil, err
			}
			s.used = len(m)
			return m[head:], nil
		}
	}
	m, err := s.c.until(func(m pgproto3.BackendMessage) bool { _, ok := m.(*pgproto3.CopyData); return ok })
	if err != nil {
		return nil, err
	}
	return m.(*pgproto3.CopyData).Data, nil
}

// Ask sends one request and waits for its answer; what the server says against it is an error.
func (s *Stream) Ask(r pagestream.Request) (pagestream.Answer, error) {
	if err := s.Send(r); err != nil {
		return pagestream.Answer{}, err
	}
	a, err := s.Receive()
	if err == nil && a.Error != "" {
		err = errors.New(a.Error)
	}
	return a, err
}
