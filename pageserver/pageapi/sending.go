package pageapi

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	protocodec "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/proto"

	"github.com/stratapg/strata/pageserver/answer"
)

// sender sends the answers of a call, of which one at a time is on its way: in the transport's buffers, where it lies until the
// client has room for it. Meanwhile the next one may be read.
type sender struct {
	s       *Server
	g       grpc.ServerStream
	drop    func() // breaks the client's connection off
	sending *sending
}

// sending is an answer on its way.
type sending struct {
	held answer.Hold
	late *time.Timer
	once sync.Once
	gone chan struct{}
}

// end is called when the answer has been written, or will not be.
func (m *sending) end() {
	m.once.Do(func() {
		m.late.Stop()
		m.held.Release()
		close(m.gone)
	})
}

func (s *Server) sender(g grpc.ServerStream) *sender {
	client := ""
	if p, ok := peer.FromContext(g.Context()); ok {
		client = p.Addr.String()
	}
	return &sender{s: s, g: g, drop: func() {
		s.metrics.late.Add(1)
		s.conns.breakOff(client)
	}}
}

// send sends an answer when the one before has gone, and takes over the memory that it has. Who does not take it for
// Config.Idle, or for Config.Slow while others wait for memory, loses his connection.
func (t *sender) send(m proto.Message, held *answer.Hold) error {
	if err := t.wait(); err != nil {
		return err
	}
	way := &sending{held: *held, gone: make(chan struct{})}
	*held = answer.Hold{}
	way.late = time.AfterFunc(t.s.c.Idle, t.drop)
	way.held.Sending(t.drop)
	t.sending = way
	err := t.g.SendMsg(&outgoing{m, way.end})
	if err != nil {
		way.end()
	}
	return err
}

// wait waits until nothing is on its way. A call does so before it ends, so that what ended calls have left behind is nothing.
func (t *sender) wait() error {
	if t.sending == nil {
		return nil
	}
	var err error
	select {
	case <-t.sending.gone:
	case <-t.g.Context().Done():
		err = context.Cause(t.g.Context())
		t.sending.end()
	}
	t.sending = nil
	return err
}

// outgoing is a message of which is told when its bytes are in use no more.
type outgoing struct {
	proto.Message
	written func()
}

// codec is gRPC's, but for messages that are outgoing. Of one that is compressed it is told when it has been compressed.
type codec struct{ encoding.CodecV2 }

func newCodec() codec { return codec{encoding.GetCodecV2(protocodec.Name)} }

// Marshal implements encoding.CodecV2.
func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	m, ok := v.(*outgoing)
	if !ok {
		return c.CodecV2.Marshal(v)
	}
	pool := telling{mem.DefaultBufferPool(), m.written}
	b := pool.Get(proto.Size(m.Message))
	out, err := proto.MarshalOptions{UseCachedSize: true}.MarshalAppend((*b)[:0], m.Message)
	if err != nil {
		pool.BufferPool.Put(b)
		return nil, err
	}
	*b = out
	if mem.IsBelowBufferPoolingThreshold(cap(out)) { // so little is not counted, nor told of
		m.written()
	}
	return mem.BufferSlice{mem.NewBuffer(b, pool)}, nil
}

// telling is a pool that tells when it gets a buffer back.
type telling struct {
	mem.BufferPool
	back func()
}

// Put implements mem.BufferPool.
func (p telling) Put(b *[]byte) {
	p.BufferPool.Put(b)
	p.back()
}
