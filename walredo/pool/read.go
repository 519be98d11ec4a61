package pool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/stratapg/strata/walredo/wire"
)

// reader is the state of whoever reads answers; process.mu.reading says that there is one. That is a caller who found
// nobody reading and reads for himself, handing out what is before his own answer, or else the process's goroutine.
type reader struct {
	wake  chan struct{}         // the goroutine takes over
	got   int                   // bytes that the first request has of its answer
	bufs  [][]byte              // where the next bytes go
	blind bool                  // nobody waited for an answer when the read began: bufs is spare
	spare [wire.AnswerSize]byte // takes what comes unasked
	n     int
	err   error
	until time.Time // how long who reads may wait, or zero
	read  func(fd uintptr) bool
	look  func(fd uintptr)
	whole []*call
}

// maxReadPages is the most answers that one read takes: as many as a large pipe holds.
const maxReadPages = 32

func (p *process) initReader() {
	p.r.wake = make(chan struct{}, 1)
	p.r.read = func(fd uintptr) bool {
		p.aim()
		p.r.n, p.r.err = readNow(int(fd), p.r.bufs)
		return !again(p.r.err)
	}
	p.r.look = func(fd uintptr) {
		p.r.bufs = append(p.r.bufs[:0], p.r.spare[:])
		p.r.n, p.r.err = readNow(int(fd), p.r.bufs)
	}
}

// lookForStrays ends the process if it said something since it was last listened to. It is called by the owner of
// r, before the only request is written.
func (p *process) lookForStrays() {
	if err := p.outRaw.Control(p.r.look); err == nil && p.r.err == nil && p.r.n > 0 {
		p.fail(fmt.Errorf("%w: %d bytes that nobody asked for", errNonsense, p.r.n), false)
	}
}

// readOnce waits for answers and hands them out. False says that the process is done for.
func (p *process) readOnce() bool {
	err := p.outRaw.Read(p.r.read)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		// Perhaps not ours, but that of a former reader's context, which came late.
		_ = p.out.SetReadDeadline(p.r.until)
		return true
	}
	if err == nil {
		err = p.r.err
	}
	if err == nil && p.r.n == 0 {
		err = io.EOF
	}
	if err != nil {
		p.fail(readError(err), true)
		return false
	}
	p.answers.Add(int64(p.r.n))
	if err := p.handOut(); err != nil {
		p.fail(err, false)
		return false
	}
	return true
}

// lead reads until c is answered, or until the deadline or the context's end, and has the goroutine go on if others
// wait. What else may end c is told by c.done as to anybody.
func (p *process) lead(ctx context.Context, c *call, deadline time.Time) {
	select {
	case <-p.leader: // at once, or as soon as the last leader has left
	case <-p.dead:
		return
	}
	defer func() { p.leader <- struct{}{} }()
	p.readUntil(deadline)
	if ctx.Done() != nil {
		stop := context.AfterFunc(ctx, func() { _ = p.out.SetReadDeadline(longAgo) })
		defer stop()
	}
	for len(c.done) == 0 {
		if !p.readOnce() {
			return
		}
		if ctx.Err() != nil || len(c.done) == 0 && !time.Now().Before(deadline) {
			break
		}
	}
	if p.stopReading() {
		return
	}
	p.r.wake <- struct{}{}
}

// readUntil says how long the owner of r may wait.
func (p *process) readUntil(t time.Time) {
	p.r.until = t
	_ = p.out.SetReadDeadline(t)
}

// longAgo as a deadline ends a wait at once.
var longAgo = time.Unix(1, 0)

// stopReading gives up r if nobody waits for an answer.
func (p *process) stopReading() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.popSkippedLocked()
	if p.mu.queue.len() > 0 {
		return false
	}
	p.mu.reading = false
	return true
}

// readAnswers is the goroutine that hands out answers where more than one is waited for.
func (p *process) readAnswers() {
	for {
		select {
		case <-p.dead:
			return
		case <-p.r.wake:
		}
		for p.readUntil(time.Time{}); ; {
			if !p.readOnce() {
				return
			}
			if p.stopReading() {
				break
			}
		}
	}
}

// readError leaves it to the process's end to say what happened.
func readError(err error) error {
	if errors.Is(err, io.EOF) {
		return errors.New("it closed its output")
	}
	return fmt.Errorf("reading from it: %w", err)
}

func writeError(err error) error { return fmt.Errorf("writing to it: %w", err) }

// aim points the next read at the pages of the requests that are to be answered next.
func (p *process) aim() {
	r := &p.r
	r.bufs = r.bufs[:0]
	p.mu.Lock()
	q := &p.mu.queue
	for i := q.first; i < q.written && len(r.bufs) < maxReadPages; i++ {
		if c := q.at(i); !c.skipped {
			r.bufs = append(r.bufs, c.page[:])
		}
	}
	p.mu.Unlock()
	r.blind = len(r.bufs) == 0
	if r.blind {
		r.bufs = append(r.bufs, r.spare[:])
	} else {
		r.bufs[0] = r.bufs[0][r.got:]
	}
}

// handOut gives the bytes that were read to those who asked, in order.
func (p *process) handOut() error {
	r := &p.r
	n := r.got + r.n
	r.whole = r.whole[:0]
	p.mu.Lock()
	p.popSkippedLocked()
	q := &p.mu.queue
	if r.blind {
		// The question may have been sent after the aim was taken.
		if q.first == q.written {
			p.mu.Unlock()
			return fmt.Errorf("%w: %d bytes that nobody asked for", errNonsense, r.n)
		}
		copy(q.at(q.first).page[:], r.spare[:r.n])
	}
	for n >= wire.AnswerSize {
		n -= wire.AnswerSize
		r.whole = append(r.whole, q.pop())
		p.popSkippedLocked()
	}
	r.got = n
	p.mu.Unlock()
	for _, c := range r.whole {
		p.load.Add(-1)
		c.finish(nil, false)
	}
	clear(r.whole)
	return nil
}
