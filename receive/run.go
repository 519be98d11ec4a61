package receive

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"time"

	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/ingest"
	"github.com/stratapg/strata/internal/clock"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg/control"
	"github.com/stratapg/strata/pg/wal"
)

// receiver is one call of Run.
type receiver struct {
	o        Options
	ingester *ingest.Ingester
	tli      uint32 // PostgreSQL's timeline at the store's last record
	pos      positions
	records  int64
	bytes    int64
	// histories are those of PostgreSQL's timelines after firstTLI, by their number.
	histories map[uint32][]byte
	firstTLI  uint32 // tli when Run began
	slotSeen  bool   // the slot is there
	met       bool   // the server has answered once

	lastProgress time.Time
	lastFlush    time.Time
}

// Run follows the server until Options.Until is reached or ctx is cancelled, which is the ordinary way to
// end it: both give no error. Either way what was received is put into the store and made durable, and the
// slot is told so, as far as the server can still be reached.
func Run(ctx context.Context, o Options) (Result, error) {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return Result{}, fmt.Errorf("receive: %w", err)
	}
	r := &receiver{o: o, lastFlush: time.Now(), histories: make(map[uint32][]byte)}
	err := r.run(ctx)
	res := Result{LSN: o.Store.LastRecordLSN(), Records: r.records, Bytes: r.bytes}
	if err != nil {
		return res, fmt.Errorf("receive from slot %s at %s: %w", o.Slot, res.LSN, err)
	}
	return res, nil
}

func (r *receiver) run(ctx context.Context) error {
	last := r.o.Store.LastRecordLSN()
	r.pos.received(last)
	if r.reached(last) {
		return nil
	}
	if err := r.findTimeline(ctx, last); err != nil {
		return err
	}
	r.firstTLI = r.tli
	if err := r.newIngester(ctx); err != nil {
		return err
	}
	err := r.follow(ctx)
	if ferr := r.finish(ctx); err == nil {
		err = ferr
	}
	r.report(time.Now(), true)
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	return err
}

// newIngester starts at the store's last record. One that failed must not be used again: what it had
// gathered and not committed is received again.
func (r *receiver) newIngester(ctx context.Context) (err error) {
	r.ingester, err = ingest.NewIngester(ctx, r.o.Store, ingest.Options{
		Version: r.o.Version, Flavour: r.o.Flavour, SegSize: r.o.SegSize, SystemID: r.o.SystemID, Shutdown: r.o.Shutdown, Origin: r.o.Origin,
		History: func(tli uint32) ([]byte, error) {
			if h, ok := r.histories[tli]; ok {
				return h, nil
			}
			return nil, fmt.Errorf("history of timeline %d: %w", tli, fs.ErrNotExist)
		}})
	return err
}

// findTimeline settles on which of PostgreSQL's timelines the store's last record is.
func (r *receiver) findTimeline(ctx context.Context, last page.LSN) error {
	if r.tli = r.o.PGTimeline; r.tli != 0 {
		return nil
	}
	b, err := datadir.At(r.o.Store, last, r.o.Version).CheckPoint(ctx)
	if err != nil {
		return err
	}
	cp, err := control.ParseCheckPoint(b)
	if err != nil {
		return err
	}
	r.tli = cp.Timeline()
	return nil
}

// reached reports whether no record is wanted beyond last.
func (r *receiver) reached(last page.LSN) bool { return r.o.Until != 0 && last >= r.o.Until }

// follow connects and, while that can help, connects again.
func (r *receiver) follow(ctx context.Context) error {
	for failures := 0; ; {
		before := r.o.Store.LastRecordLSN()
		err := r.session(ctx)
		after := r.o.Store.LastRecordLSN()
		var next *timelineEnded
		switch {
		case err == nil || ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &next):
			r.o.Logger.Info("the server's timeline ended", "timeline", r.tli, "next", next.next, "at", next.at.String())
			if next.next <= r.tli {
				return fmt.Errorf("%w, which is not above %d", next, r.tli)
			}
			r.tli = next.next
			if err := r.newIngester(ctx); err != nil {
				return err
			}
			continue
		case !retriable(err) || !r.met && unreachable(err):
			return err
		}
		if after > before {
			failures = 0
		}
		if failures++; r.o.MaxRetries > 0 && failures > r.o.MaxRetries {
			return fmt.Errorf("gave up after %d connections without a record: %w", failures, err)
		}
		pause := r.pause(failures)
		r.o.Logger.Warn("connection to the server lost", "error", err, "retry_in", pause)
		if err := r.newIngester(ctx); err != nil {
			return err
		}
		if err := clock.Sleep(ctx, pause); err != nil {
			return err
		}
	}
}

// maxDoublings keeps the shift below from running over; the pause is bounded anyway.
const maxDoublings = 20

// pause doubles with each failure up to RetryMax, give or take half, so that many followers of one server
// do not come back at once.
func (r *receiver) pause(failures int) time.Duration {
	d := min(r.o.RetryMin<<min(failures-1, maxDoublings), r.o.RetryMax)
	if d <= 0 {
		return 0
	}
	return d/2 + rand.N(d)
}

// finishTime bounds how long Run stays after ctx was cancelled, to make durable what was received.
const finishTime = time.Minute

// finish makes durable what was put. It does so also after a cancel: the work is done, and not to keep it
// would have the server send it again.
func (r *receiver) finish(ctx context.Context) error {
	if r.o.Store.DiskConsistentLSN() >= r.o.Store.LastRecordLSN() {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishTime)
	defer cancel()
	if err := r.o.Store.Flush(ctx); err != nil {
		return fmt.Errorf("make received WAL durable: %w", err)
	}
	return nil
}

// progressInterval is the least time between two calls of Progress.
const progressInterval = time.Second

func (r *receiver) report(now time.Time, always bool) {
	if r.o.Progress == nil || !always && now.Sub(r.lastProgress) < progressInterval {
		return
	}
	r.lastProgress = now
	r.o.Progress(Progress{LSN: r.o.Store.LastRecordLSN(), Durable: r.o.Store.DiskConsistentLSN(),
		ServerEnd: r.pos.serverEnd(), Records: r.records, Bytes: r.bytes})
}

// apply ingests what chunks carry until they end, Until is reached, or something is wrong, and makes it
// durable when flush asks for it. It returns true where Until is reached.
func (r *receiver) apply(ctx context.Context, chunks <-chan chunk, flush <-chan struct{}) (bool, error) {
	d, err := wal.NewDecoder(wal.DecoderOptions{Version: r.o.Version, Start: r.o.Store.LastRecordLSN(),
		Prev: r.o.Store.PrevRecordLSN(), SegSize: r.o.SegSize, SystemID: r.o.SystemID, Timeline: r.tli})
	if err != nil {
		return false, err
	}
	timer := time.NewTicker(progressInterval)
	defer timer.Stop()
	asked := false
	for {
		if asked && len(chunks) == 0 { // after what was received before
			asked = false
			if err := r.finish(ctx); err != nil {
				return false, err
			}
		}
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-flush:
			asked = true
		case now := <-timer.C:
			if err := r.flushIfDue(ctx, now); err != nil {
				return false, err
			}
			r.report(now, false)
		case c, ok := <-chunks:
			if !ok {
				return false, nil
			}
			r.bytes += int64(len(c.data))
			d.Feed(c.data)
			done, err := r.ingestAll(ctx, d)
			if cerr := r.ingester.Commit(ctx); err == nil {
				err = cerr
			}
			if err != nil || done || r.reached(c.end()) {
				return err == nil, err
			}
		}
	}
}

// ingestAll ingests every whole record that the decoder has.
func (r *receiver) ingestAll(ctx context.Context, d *wal.Decoder) (done bool, err error) {
	var rec wal.Record
	for {
		ok, err := d.Next(&rec)
		if err != nil || !ok {
			return false, err
		}
		if r.o.Until != 0 && rec.End > r.o.Until {
			return true, nil
		}
		if err := r.ingester.Record(ctx, &rec); err != nil {
			return false, err
		}
		r.records++
		if r.reached(rec.End) {
			return true, nil
		}
	}
}

// flushIfDue asks the store to make durable what came in since the last time.
func (r *receiver) flushIfDue(ctx context.Context, now time.Time) error {
	if r.o.FlushInterval < 0 || now.Sub(r.lastFlush) < r.o.FlushInterval {
		return nil
	}
	r.lastFlush = now
	if r.o.Store.DiskConsistentLSN() >= r.o.Store.LastRecordLSN() {
		return nil
	}
	return r.o.Store.Flush(ctx)
}
