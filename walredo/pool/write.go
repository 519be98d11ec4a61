package pool

// writer is the state of whoever writes; process.mu.writing says that there is one.
type writer struct {
	wake chan struct{} // the goroutine takes over
	rest [][]byte      // what is to be written before all else
	bufs [][]byte      // what is being written

	try   func(fd uintptr) bool // one attempt, made once as a value
	wait  func(fd uintptr) bool // the same, but waits for room in the pipe
	n     int
	err   error
	owned []owned // requests whose memory is in rest
}

// owned is a request that the writer holds a reference to, as an answer may come before all of it is
// written, from a process that is out of its mind.
type owned struct {
	c    *call
	left int64 // bytes not written
}

// Limits of one write: as much as a large pipe takes, in no more pieces than the kernel does.
const (
	maxWrite       = 256 << 10
	maxWritePieces = 256
)

func (w *writer) init() {
	w.wake = make(chan struct{}, 1)
	w.try = func(fd uintptr) bool {
		w.n, w.err = writeNow(int(fd), w.bufs)
		return true
	}
	w.wait = func(fd uintptr) bool {
		w.n, w.err = writeNow(int(fd), w.bufs)
		return !again(w.err)
	}
}

// writeFirst is called by the owner of w with the one request begun. It never waits: what the pipe does not take
// is left to the goroutine.
func (p *process) writeFirst(c *call) {
	w := &p.w
	w.bufs = append(w.bufs[:0], c.chunks[:min(len(c.chunks), maxWritePieces)]...)
	w.n, w.err = 0, nil
	err := p.inRaw.Write(w.try)
	if err == nil && w.err != nil && !again(w.err) {
		err = w.err
	}
	if err != nil {
		// Who reads or waits for the process knows better what happened.
		p.fail(writeError(err), true)
		return
	}
	p.group.pool.metrics.bytes.Add(int64(w.n))
	w.rest = advance(append(w.rest[:0], c.chunks...), w.n)
	p.mu.Lock()
	if p.mu.cause != nil {
		p.mu.Unlock()
		return
	}
	if len(w.rest) == 0 && p.mu.queue.written == p.mu.queue.last {
		p.mu.writing = false
		p.mu.Unlock()
		return
	}
	if len(w.rest) > 0 {
		w.own(c, c.size-int64(w.n))
	}
	p.mu.Unlock()
	w.wake <- struct{}{}
}

// writeRest is the goroutine that writes what did not go at once.
func (p *process) writeRest() {
	for {
		select {
		case <-p.dead:
			return
		case <-p.w.wake:
		}
		for p.gather() {
			w := &p.w
			w.n, w.err = 0, nil
			err := p.inRaw.Write(w.wait)
			if err == nil {
				err = w.err
			}
			if err != nil {
				p.fail(writeError(err), true)
				return
			}
			p.group.pool.metrics.bytes.Add(int64(w.n))
			w.rest = advance(w.rest, w.n)
			w.disown(int64(w.n))
		}
	}
}

func (w *writer) own(c *call, left int64) {
	c.refs.Add(1)
	w.owned = append(w.owned, owned{c, left})
}

// disown lets go of the requests that the next n bytes finish.
func (w *writer) disown(n int64) {
	done := 0
	for ; done < len(w.owned) && n >= w.owned[done].left; done++ {
		n -= w.owned[done].left
		w.owned[done].c.release()
	}
	left := append(w.owned[:0], w.owned[done:]...)
	clear(w.owned[len(left):])
	w.owned = left
	if len(left) > 0 {
		left[0].left -= n
	}
}

// dropOwned lets go of all. The process is dead, so that nothing more comes to the writer.
func (p *process) dropOwned() {
	p.mu.Lock()
	all := p.w.owned
	p.w.owned = nil
	p.mu.Unlock()
	for _, o := range all {
		o.c.release()
	}
}

// gather collects what is to be written next. False says that there is nothing, and that w has no owner now.
func (p *process) gather() bool {
	w := &p.w
	size := 0
	for _, b := range w.rest {
		size += len(b)
	}
	p.mu.Lock()
	q := &p.mu.queue
	for size < maxWrite && len(w.rest) < maxWritePieces && q.written < q.last {
		c := q.at(q.written)
		q.written++
		if c.abandoned.Load() {
			c.skipped = true
			continue
		}
		w.rest = append(w.rest, c.chunks...)
		w.own(c, c.size)
		size += int(c.size)
	}
	p.popSkippedLocked()
	w.bufs = w.rest[:min(len(w.rest), maxWritePieces)]
	more := len(w.rest) > 0
	if !more {
		p.mu.writing = false // from here on w may be another's
	}
	p.mu.Unlock()
	return more
}

// popSkippedLocked drops requests at the head of the queue that were never sent, as nobody waits for them.
func (p *process) popSkippedLocked() {
	q := &p.mu.queue
	for q.first < q.written && q.at(q.first).skipped {
		c := q.pop()
		p.load.Add(-1)
		c.release()
	}
}

// advance drops the first n bytes.
func advance(bufs [][]byte, n int) [][]byte {
	done := 0
	for done < len(bufs) && n >= len(bufs[done]) {
		n -= len(bufs[done])
		done++
	}
	rest := append(bufs[:0], bufs[done:]...)
	clear(bufs[len(rest):])
	if len(rest) > 0 {
		rest[0] = rest[0][n:]
	}
	return rest
}
