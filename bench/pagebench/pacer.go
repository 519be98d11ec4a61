package pagebench

import (
	"context"
	"sync/atomic"
	"time"
)

// pacer says when requests begin: as soon as there is room, or every so often.
type pacer struct {
	period time.Duration // 0: as soon as there is room
	open   bool
	due    time.Time // the next request's
}

func newPacer(rate float64, open bool) *pacer {
	p := &pacer{open: open, due: time.Now()}
	if rate > 0 {
		p.period = time.Duration(float64(time.Second) / rate)
	}
	return p
}

// next waits for a request's time and for room, and gives the time from which its latency counts. missed counts times that
// passed without room, in a loop that is not open.
func (p *pacer) next(ctx context.Context, slots <-chan struct{}, missed *atomic.Int64) (begun time.Time, err error) {
	if p.period > 0 {
		if err := sleepUntil(ctx, p.due); err != nil {
			return begun, err
		}
	}
	begun = p.due
	select {
	case <-slots:
	case <-ctx.Done():
		return begun, ctx.Err()
	}
	switch now := time.Now(); {
	case p.period == 0:
		begun = now
	case p.open:
		p.due = p.due.Add(p.period)
	default:
		begun = now
		late := now.Sub(p.due) / p.period
		missed.Add(int64(late))
		p.due = p.due.Add((late + 1) * p.period)
	}
	return begun, nil
}

func sleepUntil(ctx context.Context, at time.Time) error {
	d := time.Until(at)
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
