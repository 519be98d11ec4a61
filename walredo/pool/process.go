package pool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/stratapg/strata/pg/bufpage"
	"github.com/stratapg/strata/walredo/wire"
)

// process is one worker and what is on its way to and from it.
type process struct {
	group *group
	os    *os.Process
	pid   int

	in, out, errs *os.File // our ends
	inRaw, outRaw syscall.RawConn
	stderr        stderr

	load    atomic.Int32 // requests given to it and not done; grows under group.mu alone
	answers atomic.Int64 // bytes of answers read

	// dead is closed when no more is expected of it; gone when the process was waited for.
	dead, gone chan struct{}
	state      *os.ProcessState // set before gone
	life       struct {
		sync.Mutex
		reaped bool // the pid may be somebody else's
	}
	wg sync.WaitGroup // what reads, writes and waits

	w writer
	r reader

	// leader holds one token: whoever reads on behalf of his own request has taken it.
	leader chan struct{}

	mu struct {
		sync.Mutex
		cause error // why it is dead
		blame bool  // on the request it is at
		queue ring  // requests not answered

		writing bool // somebody writes, or will: the owner of w
		reading bool // somebody reads, or will: the owner of r
	}
	ended sync.Once
}

// String names the process in messages.
func (p *process) String() string { return fmt.Sprintf("process %d (%s)", p.pid, p.group.kind) }

// send gives c to the process. Not taken says that the process is dead. Leads says that the caller has to call lead, as
// nobody reads; it is never said to one who cannot.
func (p *process) send(c *call, canLead bool) (taken, leads bool) {
	p.mu.Lock()
	if p.mu.cause != nil {
		p.mu.Unlock()
		p.load.Add(-1)
		return false, false
	}
	c.refs.Add(1)
	p.mu.queue.push(c)
	wake := false
	if !p.mu.reading {
		p.mu.reading = true
		leads, wake = canLead, !canLead
	}
	write := !p.mu.writing
	if write {
		p.mu.writing = true
		p.mu.queue.written++
	}
	p.mu.Unlock()
	if leads && write { // another writer may have written c by now
		p.lookForStrays()
	}
	if write {
		p.writeFirst(c)
	}
	if wake {
		p.r.wake <- struct{}{}
	}
	return true, leads
}

// fail ends the process. With blame, the request that it is at is charged for it.
func (p *process) fail(cause error, blame bool) {
	select {
	case <-p.group.pool.tasks.Done():
		cause, blame = ErrClosed, false
	default:
	}
	p.mu.Lock()
	first := p.mu.cause == nil
	if first {
		p.mu.cause, p.mu.blame = cause, blame
		close(p.dead)
	}
	p.mu.Unlock()
	if first {
		p.group.remove(p, false)
		p.kill()
	}
}

// kill kills the process and its group, unless it was waited for already.
func (p *process) kill() {
	p.life.Lock()
	defer p.life.Unlock()
	if !p.life.reaped {
		killGroup(p.pid)
		_ = p.os.Kill()
	}
}

// reap waits for the process and kills what is left of its group.
func (p *process) reap() {
	p.await()
	close(p.gone)
	p.fail(errors.New("it ended"), true)
}

// end leaves nothing of the process: not itself, no descriptor, no goroutine, and no request without an
// answer. It may be called twice.
func (p *process) end() {
	p.ended.Do(func() {
		p.fail(ErrClosed, false)
		<-p.gone
		_, _ = p.in.Close(), p.out.Close()
		<-p.leader // and is not given back; the closed pipe ends who reads for himself
		p.stderr.expire(p.errs)
		p.wg.Wait()
		_ = p.errs.Close()
		p.group.pool.metrics.processes.Add(-1)
		p.dropOwned()
		p.giveBack()
	})
}

// giveBack ends all requests that were not answered. Nothing reads or writes any more.
func (p *process) giveBack() {
	p.mu.Lock()
	queue, cause, blame := p.mu.queue, p.mu.cause, p.mu.blame
	p.mu.queue = ring{}
	p.mu.Unlock()
	p.countEnd(cause)
	err := cause
	if !errors.Is(cause, ErrClosed) {
		err = p.describe(cause)
	}
	for queue.len() > 0 {
		begun := queue.first < queue.written
		c := queue.pop()
		p.load.Add(-1)
		c.finish(err, blame && begun)
		blame = false
	}
}

func (p *process) countEnd(cause error) {
	m := &p.group.pool.metrics
	switch {
	case errors.Is(cause, ErrClosed), errors.Is(cause, errIdle):
		return
	case errors.Is(cause, errStalled):
		m.stalls.Add(1)
	case errors.Is(cause, errNonsense):
		m.nonsense.Add(1)
	case p.state != nil && !p.state.Success():
		m.crashes.Add(1)
	}
	p.group.pool.o.Logger.Warn("redo process ended", "pid", p.pid, "kind", p.group.kind.String(), "error", p.describe(cause))
}

// describe puts to a cause what the process said and how it ended. The process must be gone.
func (p *process) describe(cause error) error {
	err := fmt.Errorf("%w: %s: %w", ErrProcess, p, cause)
	if p.state != nil {
		err = fmt.Errorf("%w (%s)", err, p.state)
	}
	if s := p.stderr.tail(); s != "" {
		err = fmt.Errorf("%w; it wrote: %q", err, s)
	}
	return err
}

var (
	errStalled  = errors.New("it answers nothing any more")
	errNonsense = errors.New("it answered nonsense")
	errIdle     = errors.New("nobody needs it")
)

// hello waits for the answer to a ping.
func (p *process) hello(ctx context.Context) error {
	c := p.group.pool.newCall()
	defer c.release()
	c.put(wire.AppendPing(nil))
	p.load.Add(1)
	if taken, _ := p.send(c, false); !taken {
		return errors.New("it ended at once")
	}
	c.timer.Reset(p.group.pool.o.LaunchTimeout)
	select {
	case <-c.done:
		if !bufpage.Page(c.page[:]).IsZero() {
			return errors.New("its answer to a ping is not zeros: it does not speak the redo protocol")
		}
		return nil
	case <-p.dead:
		c.abandoned.Store(true)
		return errors.New("it ended before it answered a ping")
	case <-c.timer.C:
		c.abandoned.Store(true)
		return fmt.Errorf("it did not answer a ping within %v", p.group.pool.o.LaunchTimeout)
	case <-ctx.Done():
		c.abandoned.Store(true)
		return ErrClosed
	}
}

// looks is how often a process is looked at within the shorter of its timeouts: a stall is found at most a
// quarter late.
const looks = 4

// supervise looks after the process until it is dead.
func (p *process) supervise(ctx context.Context) {
	o := &p.group.pool.o
	tick := time.NewTicker(max(time.Millisecond, min(o.StallTimeout, o.IdleTimeout)/looks))
	defer tick.Stop()
	moved := o.Clock() // when it last made progress or had nothing to do
	used := moved      // when it last had something to do
	for answers := int64(0); ; {
		select {
		case <-p.dead:
			return
		case <-ctx.Done():
			p.fail(ErrClosed, false)
			return
		case <-tick.C:
		}
		now, n, busy := o.Clock(), p.answers.Load(), p.load.Load() > 0
		if n != answers || busy {
			used = now
		}
		if n != answers || !busy {
			moved = now
		}
		answers = n
		if now.Sub(moved) >= o.StallTimeout {
			p.fail(fmt.Errorf("%w: nothing in %v", errStalled, o.StallTimeout), true)
			return
		}
		if now.Sub(used) >= o.IdleTimeout && p.group.remove(p, true) {
			p.group.pool.metrics.idle.Add(1)
			p.fail(errIdle, false)
			return
		}
	}
}
