package pool

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/walredo"
	"github.com/stratapg/strata/walredo/wire"
)

const (
	// firstChunk holds a request of an image and some records.
	firstChunk = 12 << 10
	// chunkSize is that of the further memory of large requests: what a pipe takes at once.
	chunkSize = 64 << 10
)

// call is a request on its way. The one who asks and the process that has it hold a reference each; the
// last one frees it. Only the process touches page until it says done, and only the one who asks after.
type call struct {
	pool *Pool

	chunks [][]byte // the request on the wire; chunks[0] stays with the call
	large  []*[chunkSize]byte
	size   int64
	page   [wire.AnswerSize]byte

	done  chan struct{} // gets one token when the process is through with the call
	timer *time.Timer   // of the one who asks

	refs      atomic.Int32
	abandoned atomic.Bool // nobody waits any more

	// Set before done.
	err     error // why there is no answer
	blamed  bool  // the process failed at this call
	skipped bool  // it was abandoned before it was sent; guarded by process.mu

	held int64 // bytes of the pool's budget
	slot bool  // one of the pool's MaxRequests
}

func (p *Pool) newCall() *call {
	c, _ := p.calls.Get().(*call)
	if c == nil {
		c = &call{done: make(chan struct{}, 1)}
		c.chunks = append(c.chunks, make([]byte, 0, firstChunk))
		c.timer = time.NewTimer(time.Hour)
		c.timer.Stop()
	}
	c.pool = p
	c.refs.Store(1)
	return c
}

// limit starts the clock of the one who asks.
func (c *call) limit(d time.Duration) (deadline time.Time) {
	c.timer.Reset(d)
	return time.Now().Add(d)
}

// release drops a reference.
func (c *call) release() {
	if c.refs.Add(-1) > 0 {
		return
	}
	p := c.pool
	for _, l := range c.large {
		p.chunks.Put(l)
	}
	p.share.Release(c.held)
	if c.slot {
		<-p.slots
	}
	select {
	case <-c.done:
	default:
	}
	c.timer.Stop()
	clear(c.large)
	c.large, c.chunks[0] = c.large[:0], c.chunks[0][:0]
	clear(c.chunks[1:])
	c.chunks = c.chunks[:1]
	c.size, c.held, c.slot = 0, 0, false
	c.pool = nil
	c.abandoned.Store(false)
	c.again()
	p.calls.Put(c)
}

// again makes the call fit for another process.
func (c *call) again() { c.err, c.blamed, c.skipped = nil, false, false }

// finish gives the call back to the one who asks.
func (c *call) finish(err error, blamed bool) {
	c.err, c.blamed = err, blamed
	c.done <- struct{}{}
	c.release()
}

// put appends bytes to the request. Nothing that is there already moves.
func (c *call) put(b []byte) {
	c.size += int64(len(b))
	for len(b) > 0 {
		last := len(c.chunks) - 1
		t := c.chunks[last]
		if len(t) == cap(t) {
			l, _ := c.pool.chunks.Get().(*[chunkSize]byte)
			if l == nil {
				l = new([chunkSize]byte)
				c.pool.metrics.chunks.Add(1)
			}
			c.large = append(c.large, l)
			c.chunks = append(c.chunks, l[:0])
			continue
		}
		n := min(len(b), cap(t)-len(t))
		c.chunks[last] = append(t, b[:n]...)
		b = b[n:]
	}
}

// work is what of a walredo.Request goes on the wire: no record before the last image counts.
type work struct {
	req     *walredo.Request
	rel     page.RelTag
	block   uint32
	base    []byte
	records []walredo.Record
	size    int64
}

// workOf finds out what to send, and refuses what processes cannot do.
func workOf(req *walredo.Request) (work, error) {
	w := work{req: req, base: req.Base, records: req.Records}
	var ok bool
	if w.rel, w.block, ok = req.Key.RelBlock(); !ok {
		return w, unsupported("%s is no block of a relation", req.Key.Describe())
	}
	for i := len(w.records) - 1; i >= 0; i-- {
		if w.records[i].Value.Kind == page.KindImage {
			w.base, w.records = w.records[i].Value.Bytes, w.records[i+1:]
			break
		}
	}
	var bytes int64
	for i := range w.records {
		v := &w.records[i].Value
		if v.Kind != page.KindPostgres {
			return w, unsupported("a redo process takes records of PostgreSQL alone, not kind %d", v.Kind)
		}
		if n := len(v.Bytes); n == 0 || n > wire.MaxRecord {
			return w, corrupt("a record of %d bytes", n)
		}
		bytes += int64(len(v.Bytes))
	}
	switch {
	case w.base != nil && len(w.base) != pg.BlockSize:
		return w, corrupt("image of %d bytes", len(w.base))
	case w.base == nil && len(w.records) == 0:
		return w, walredo.ErrNoBase
	}
	w.size = wire.RequestSize(w.base != nil, len(w.records), bytes)
	return w, nil
}

// encode puts the request into the call.
func (w *work) encode(c *call) {
	var head [wire.MaxHead]byte
	c.put(wire.AppendBegin(head[:0], w.rel, w.block))
	if w.base != nil {
		c.put(wire.AppendPushHead(head[:0], w.rel, w.block))
		c.put(w.base)
	}
	for i := range w.records {
		r := &w.records[i]
		c.put(wire.AppendApplyHead(head[:0], r.LSN, len(r.Value.Bytes)))
		c.put(r.Value.Bytes)
	}
	c.put(wire.AppendGet(head[:0], w.rel, w.block))
}

// pools of memory, shared by all kinds.
type pools struct {
	calls  sync.Pool // of *call
	chunks sync.Pool // of *[chunkSize]byte
}
