package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"time"

	"github.com/stratapg/strata/internal/clock"
)

// RetryOptions say how often, and how patiently, a request is repeated. The zero value is good.
type RetryOptions struct {
	// Attempts is how often a request is made; default 10. Negative is without end.
	Attempts int
	// First is the longest pause after the first failure; each further one may be twice as long, up to Longest. A pause is
	// between half of that and all of it, by lot, so that those who failed together do not come back together. Default
	// 100 ms and 10 s.
	First, Longest time.Duration
	// OnRetry, if set, is told of each failure that is followed by another attempt.
	OnRetry func(op, key string, attempt int, pause time.Duration, err error)
	// Sleep waits; default by the clock. Tests set it.
	Sleep func(ctx context.Context, d time.Duration) error
	// Rand gives a number below n; default by chance. Tests set it.
	Rand func(n int64) int64
}

func (o RetryOptions) withDefaults() RetryOptions {
	if o.Attempts == 0 {
		o.Attempts = 10
	}
	if o.First == 0 {
		o.First = 100 * time.Millisecond
	}
	if o.Longest == 0 {
		o.Longest = 10 * time.Second
	}
	if o.Sleep == nil {
		o.Sleep = clock.Sleep
	}
	if o.Rand == nil {
		o.Rand = rand.Int64N
	}
	return o
}

// Retrying is a Storage that repeats what is Retryable.
//
// A repeated Put with IfAbsent may meet its own object, where the answer to the first attempt was lost; it gives
// ErrExists then. Who needs to know compares what is there. A Download whose connection breaks goes on where it
// broke, as long as the object is the same; else it is ErrUnavailable, and to be begun again.
type Retrying struct {
	inner Storage
	o     RetryOptions
}

var (
	_ Storage = (*Retrying)(nil)
	_ Bounded = (*Retrying)(nil)
)

// Retry repeats the requests of a storage.
func Retry(s Storage, o RetryOptions) *Retrying { return &Retrying{s, o.withDefaults()} }

// Turns asks what is repeated.
func (r *Retrying) Turns(k Kind) (Turns, bool) { return turnsOf(r.inner, k) }

// pause waits before another attempt, or says why there is none.
func (r *Retrying) pause(ctx context.Context, op, key string, attempt int, err error) error {
	if !Retryable(err) {
		return err
	}
	if r.o.Attempts > 0 && attempt >= r.o.Attempts {
		return fmt.Errorf("after %d attempts: %w", attempt, err)
	}
	longest := r.o.Longest
	if doublings := attempt - 1; doublings < 30 && r.o.First < longest>>doublings {
		longest = r.o.First << doublings
	}
	d := longest/2 + time.Duration(r.o.Rand(int64(longest/2)+1))
	if r.o.OnRetry != nil {
		r.o.OnRetry(op, key, attempt, d, err)
	}
	if waitErr := r.o.Sleep(ctx, d); waitErr != nil {
		return fmt.Errorf("%w, when an attempt had failed: %v", waitErr, err) // not %w: nobody is to try again
	}
	return nil
}

// do repeats a request.
func do[T any](ctx context.Context, r *Retrying, op, key string, request func() (T, error)) (T, error) {
	for attempt := 1; ; attempt++ {
		out, err := request()
		if err == nil {
			return out, nil
		}
		if err = r.pause(ctx, op, key, attempt, err); err != nil {
			return out, Wrap(op, key, err)
		}
	}
}

// Head is Storage's.
func (r *Retrying) Head(ctx context.Context, key string) (Object, error) {
	return do(ctx, r, "head", key, func() (Object, error) { return r.inner.Head(ctx, key) })
}

// Put is Storage's.
func (r *Retrying) Put(ctx context.Context, key string, body io.ReaderAt, size int64, o PutOptions) (Object, error) {
	return do(ctx, r, "put", key, func() (Object, error) { return r.inner.Put(ctx, key, body, size, o) })
}

// Copy is Storage's.
func (r *Retrying) Copy(ctx context.Context, from, to string) error {
	_, err := do(ctx, r, "copy", from, func() (struct{}, error) { return struct{}{}, r.inner.Copy(ctx, from, to) })
	return err
}

// Delete is Storage's. Only what is left is tried again.
func (r *Retrying) Delete(ctx context.Context, keys ...string) error {
	final := KeyErrors{}
	for attempt := 1; len(keys) > 0; attempt++ {
		err := r.inner.Delete(ctx, keys...)
		if err == nil {
			break
		}
		var failed KeyErrors
		if errors.As(err, &failed) {
			keys = keys[:0:0]
			for _, key := range sortedKeys(failed) {
				if Retryable(failed[key]) {
					keys = append(keys, key)
				} else {
					final[key] = failed[key]
				}
			}
			if len(keys) == 0 {
				break
			}
			err = failed[keys[0]]
		}
		if stop := r.pause(ctx, "delete", keys[0], attempt, err); stop != nil {
			for _, key := range keys {
				final[key] = stop
			}
			break
		}
	}
	if len(final) > 0 {
		return Wrap("delete", sortedKeys(final)[0], final)
	}
	return nil
}

// List is Storage's. After a failure it goes on behind the last entry given.
func (r *Retrying) List(ctx context.Context, prefix string, o ListOptions) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		skip := "" // a prefix already given
		for attempt := 1; ; attempt++ {
			var failure error
			for e, err := range r.inner.List(ctx, prefix, o) {
				if err != nil {
					failure = err
					break
				}
				if e.Prefix != "" && e.Prefix == skip {
					continue
				}
				if !yield(e, nil) {
					return
				}
				attempt = 1
				if e.Prefix == "" {
					o.After = e.Key
				} else {
					skip = e.Prefix
				}
			}
			if failure == nil {
				return
			}
			if err := r.pause(ctx, "list", prefix, attempt, failure); err != nil {
				yield(Entry{}, Wrap("list", prefix, err))
				return
			}
		}
	}
}

// Get is Storage's.
func (r *Retrying) Get(ctx context.Context, key string, o GetOptions) (*Download, error) {
	d, err := do(ctx, r, "get", key, func() (*Download, error) { return r.inner.Get(ctx, key, o) })
	if err != nil {
		return nil, err
	}
	out := *d
	out.Body = &resuming{ctx: ctx, r: r, d: d, at: d.Offset, end: d.Offset + d.Length}
	return &out, nil
}

// resuming goes on where a connection broke.
type resuming struct {
	ctx     context.Context
	r       *Retrying
	d       *Download
	at, end int64
	attempt int
	failed  error
}

func (b *resuming) Read(p []byte) (int, error) {
	for b.failed == nil {
		n, err := b.d.Body.Read(p)
		b.at += int64(n)
		if n > 0 {
			b.attempt = 0
		}
		if n > 0 || err == nil {
			return n, nil // an error comes again, or is overcome, with the next call
		}
		if errors.Is(err, io.EOF) {
			return 0, io.EOF
		}
		b.failed = b.resume(err)
	}
	return 0, b.failed
}

// resume opens the rest of the object after a failure.
func (b *resuming) resume(err error) error {
	key := b.d.Object.Key
	for {
		b.attempt++
		if err := b.r.pause(b.ctx, "get", key, b.attempt, err); err != nil {
			return Wrap("get", key, err)
		}
		if b.at == b.end {
			return io.EOF
		}
		var d *Download
		if d, err = b.r.inner.Get(b.ctx, key, GetOptions{Offset: b.at, Length: b.end - b.at}); err != nil {
			continue
		}
		if d.Object.ETag != b.d.Object.ETag {
			return Wrap("get", key, errors.Join(fmt.Errorf("%w: the object was replaced while it was read", ErrUnavailable), d.Body.Close()))
		}
		_ = b.d.Body.Close() // it has failed already
		b.d = d
		return nil
	}
}

func (b *resuming) Close() error { return b.d.Body.Close() }

// Close is Storage's.
func (r *Retrying) Close() error { return r.inner.Close() }
