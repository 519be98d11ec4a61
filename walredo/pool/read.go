package pool

import (
	"errors"
	"fmt"
	"io"

	"github.com/stratapg/strata/walredo/wire"
)

// reader is the state of the goroutine that reads answers.
type reader struct {
	got   int                   // bytes that the first request has of its answer
	bufs  [][]byte              // where the next bytes go
	blind bool                  // nobody waited for an answer when the read began: bufs is spare
	spare [wire.AnswerSize]byte // takes what comes unasked
	n     int
	err   error
	read  func(fd uintptr) bool
	whole []*call
}

// maxReadPages is the most answers that one read takes: as many as a large pipe holds.
const maxReadPages = 32

func (p *process) initReader() {
	p.r.read = func(fd uintptr) bool {
		p.aim()
		p.r.n, p.r.err = readNow(int(fd), p.r.bufs)
		return !again(p.r.err)
	}
}

// readAnswers is the goroutine that hands out answers.
func (p *process) readAnswers() {
	for {
		err := p.outRaw.Read(p.r.read)
		if err == nil {
			err = p.r.err
		}
		if err == nil && p.r.n == 0 {
			err = io.EOF
		}
		if err != nil {
			p.fail(readError(err), true)
			return
		}
		p.answers.Add(int64(p.r.n))
		if err := p.handOut(); err != nil {
			p.fail(err, false)
			return
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
