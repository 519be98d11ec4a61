package upload

import (
	"context"
	"io"
	"sync"
	"time"

	"github.com/stratapg/strata/internal/clock"
)

// Bandwidth bounds the bytes per second of all uploads that share it. Nil is no bound.
type Bandwidth struct {
	perSecond int64
	now       clock.Clock
	mu        sync.Mutex
	free      time.Time // when what was given out so far will have passed
}

// burst is what may pass at once after a rest, in time.
const burst = 100 * time.Millisecond

// NewBandwidth bounds uploads to so many bytes per second; 0 is no bound.
func NewBandwidth(perSecond int64, now clock.Clock) *Bandwidth {
	if perSecond <= 0 {
		return nil
	}
	return &Bandwidth{perSecond: perSecond, now: now}
}

// reserve gives out bytes and says how long to wait for them.
func (b *Bandwidth) reserve(n int64) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	if earliest := now.Add(-burst); b.free.Before(earliest) {
		b.free = earliest
	}
	b.free = b.free.Add(time.Duration(float64(n) / float64(b.perSecond) * float64(time.Second)))
	return b.free.Sub(now)
}

// pacedUnit is what is paid for at once.
const pacedUnit = 1 << 20

// paced is a body whose bytes are paid for, each once: drivers read parts twice, for a checksum first.
type paced struct {
	io.ReaderAt
	ctx  context.Context //nolint:containedctx // a body has the context of its Put
	b    *Bandwidth
	wait func(context.Context, time.Duration) error
	mu   sync.Mutex
	paid map[int64]bool
}

// pace gives a body under a bandwidth.
func (b *Bandwidth) pace(ctx context.Context, body io.ReaderAt) io.ReaderAt {
	if b == nil {
		return body
	}
	return &paced{ReaderAt: body, ctx: ctx, b: b, wait: clock.Sleep, paid: map[int64]bool{}}
}

// ReadAt waits until what is read has been paid for.
func (p *paced) ReadAt(buf []byte, off int64) (int, error) {
	var due int64
	p.mu.Lock()
	for unit := off / pacedUnit; unit*pacedUnit < off+int64(len(buf)); unit++ {
		if !p.paid[unit] {
			p.paid[unit] = true
			due += pacedUnit
		}
	}
	p.mu.Unlock()
	if due > 0 {
		if d := p.b.reserve(due); d > 0 {
			if err := p.wait(p.ctx, d); err != nil {
				return 0, err
			}
		}
	}
	return p.ReaderAt.ReadAt(buf, off)
}
