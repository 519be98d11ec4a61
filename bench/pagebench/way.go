package pagebench

import (
	"context"
	"fmt"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pageserver/client"
	"github.com/stratapg/strata/pageserver/pagestream"
	"github.com/stratapg/strata/pg"
)

// Way is how pages of a target are asked for: Pagestream, GRPC or Library.
type Way interface {
	// connect makes the connection of one client, which keeps so many requests under way.
	connect(ctx context.Context, t Target, depth int) (connection, error)
}

// connection is one client's. One goroutine may queue and flush while another one receives.
type connection interface {
	// queue keeps a request of consecutive blocks, which flush sends.
	queue(b Blocks, at, since page.LSN)
	flush() error
	// receive waits until the oldest request, of so many pages, is answered.
	receive(pages int) error
	// abort ends it; whoever waits gets an error.
	abort()
}

// Pagestream asks over the PostgreSQL protocol, by pagestream_v3.
type Pagestream struct {
	// Addr is host:port; Connect says how it is reached.
	Addr    string
	Connect client.Options
}

func (p Pagestream) connect(ctx context.Context, t Target, _ int) (connection, error) {
	c, err := client.Dial(ctx, p.Addr, p.Connect)
	if err != nil {
		return nil, err
	}
	st, err := c.Stream(t.Tenant, t.Timeline, pagestream.V3)
	if err != nil {
		c.Abort()
		return nil, fmt.Errorf("timeline %s: %w", t, err)
	}
	return &pagestreamConn{c, st, t}, nil
}

type pagestreamConn struct {
	c      *client.Conn
	st     *client.Stream
	target Target
}

func (p *pagestreamConn) queue(b Blocks, at, since page.LSN) {
	for i := range b.N {
		p.st.Queue(pagestream.Request{Kind: pagestream.Page, LSN: at, NotModifiedSince: since, Rel: b.Rel, Block: b.First + i})
	}
}

func (p *pagestreamConn) flush() error { return p.st.Flush() }
func (p *pagestreamConn) abort()       { p.c.Abort() }

func (p *pagestreamConn) receive(pages int) error {
	for range pages {
		answer, err := p.st.Receive()
		if err != nil {
			return err
		}
		if answer.Error != "" {
			return fmt.Errorf("timeline %s: the server says %s", p.target, answer.Error)
		}
	}
	return nil
}

// Library asks the engine in this process, each request by one read of its own.
type Library struct{ Engine *strata.Engine }

func (l Library) connect(ctx context.Context, t Target, depth int) (connection, error) {
	tl, err := l.timeline(ctx, t)
	if err != nil {
		return nil, err
	}
	c := &libraryConn{tl: tl, work: make(chan *reading, depth), under: make(chan *reading, depth)}
	c.ctx, c.stop = context.WithCancel(context.WithoutCancel(ctx))
	for range depth {
		go c.read()
	}
	return c, nil
}

func (l Library) timeline(ctx context.Context, t Target) (*strata.Timeline, error) {
	tn, err := l.Engine.Tenant(ctx, t.Tenant)
	if err != nil {
		return nil, err
	}
	return tn.Timeline(ctx, t.Timeline.String())
}

// libraryConn has as many goroutines as requests may be under way. They end with abort.
type libraryConn struct {
	tl    *strata.Timeline
	ctx   context.Context
	stop  context.CancelFunc
	ready []*reading
	work  chan *reading
	under chan *reading // in their order
}

// reading is a request under way.
type reading struct {
	keys page.Set
	at   page.LSN
	done chan error
}

func (c *libraryConn) abort() { c.stop() }

func (c *libraryConn) queue(b Blocks, at, _ page.LSN) {
	first := b.Rel.Block(b.First)
	keys := page.NewSet(page.Range{Start: first, End: first.Add(b.N)})
	c.ready = append(c.ready, &reading{keys, min(at, c.tl.LastRecordLSN()), make(chan error, 1)})
}

func (c *libraryConn) flush() error {
	for _, r := range c.ready {
		c.under <- r // neither is longer than what may be under way
		c.work <- r
	}
	c.ready = c.ready[:0]
	return nil
}

func (c *libraryConn) read() {
	for {
		select {
		case r := <-c.work:
			r.done <- c.tl.GetVectored(c.ctx, r.keys, r.at, func(k page.Key, value []byte, err error) error {
				if err == nil && len(value) != pg.BlockSize {
					err = fmt.Errorf("%s has %d bytes", k.Describe(), len(value))
				}
				return err
			})
		case <-c.ctx.Done():
			return
		}
	}
}

func (c *libraryConn) receive(int) error {
	select {
	case r := <-c.under:
		select {
		case err := <-r.done:
			return err
		case <-c.ctx.Done():
		}
	case <-c.ctx.Done():
	}
	return c.ctx.Err()
}

// Keyspaces gives those of timelines of the engine, as API.Keyspaces does of a server's.
func (l Library) Keyspaces(ctx context.Context, targets []Target, relnode uint32) (all []Keyspace, err error) {
	for _, t := range targets {
		tl, err := l.timeline(ctx, t)
		if err != nil {
			return nil, err
		}
		k := Keyspace{Target: t, At: tl.LastRecordLSN()}
		ranges, err := tl.Cluster(k.At).DenseKeys(ctx, nil)
		if err != nil {
			return nil, err
		}
		for _, r := range page.NewSet(ranges...).Ranges() {
			k.Blocks = appendBlocks(k.Blocks, r.Start, r.End)
		}
		all = append(all, k)
	}
	return all, only(all, relnode)
}

// Discover gives the targets named, or else all timelines of the engine.
func (l Library) Discover(named []Target, limit int) (all []Target, err error) {
	for _, id := range l.Engine.Tenants() {
		if len(named) > 0 {
			break
		}
		tn, err := l.Engine.Tenant(context.Background(), id)
		if err != nil {
			return nil, err
		}
		for _, i := range tn.Timelines() {
			all = append(all, Target{id, i.ID})
		}
	}
	return first(append(all, named...), limit)
}
