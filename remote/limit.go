package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
)

// LimitOptions bound what runs at once and how long it may take. The zero value is good.
type LimitOptions struct {
	// Lists, Heads, Puts, Gets, Deletes and Copies are how many requests of each kind run at once, so that none of them is kept waiting by
	// another kind's many. A List runs until its last entry was taken, a Get until its Body is closed. Default 100 Gets and 100 Puts, as
	// Neon's, and 32 of each other kind. Few make queues, many make stores throttle.
	Lists, Heads, Puts, Gets, Deletes, Copies int
	// Timeout is what a request may take once it runs; default 2 minutes. A Get has it for each Read of the Body, so
	// that slow but living downloads go on. A Put has it for each 64 MiB.
	Timeout time.Duration
	// SmallTimeout is that of Head, Delete and Copy and of each page of a List; default 30 seconds.
	SmallTimeout time.Duration
}

// Defaults of LimitOptions.
const (
	defaultTransfers = 100 // Gets, and Puts
	defaultSmall     = 32  // each other kind
)

func (o LimitOptions) withDefaults() LimitOptions {
	for _, n := range []*int{&o.Puts, &o.Gets} {
		if *n == 0 {
			*n = defaultTransfers
		}
	}
	for _, n := range []*int{&o.Lists, &o.Heads, &o.Deletes, &o.Copies} {
		if *n == 0 {
			*n = defaultSmall
		}
	}
	if o.Timeout == 0 {
		o.Timeout = 2 * time.Minute
	}
	if o.SmallTimeout == 0 {
		o.SmallTimeout = 30 * time.Second
	}
	return o
}

// putUnit is how many bytes of a Put have one Timeout.
const putUnit = 64 << 20

// Limited is a Storage with bounds. Who waits for his turn is served in the order of arrival.
type Limited struct {
	inner Storage
	o     LimitOptions
	turns [kinds]turns
}

var (
	_ Storage = (*Limited)(nil)
	_ Bounded = (*Limited)(nil)
)

// Limit bounds a storage.
func Limit(s Storage, o LimitOptions) *Limited {
	o = o.withDefaults()
	l := &Limited{inner: s, o: o}
	for k, n := range [kinds]int{KindList: o.Lists, KindHead: o.Heads, KindPut: o.Puts, KindGet: o.Gets, KindDelete: o.Deletes, KindCopy: o.Copies} {
		l.turns[k].limit, l.turns[k].free = int64(n), semaphore.NewWeighted(int64(n))
	}
	return l
}

// Turns gives how the requests of a kind get theirs.
func (l *Limited) Turns(k Kind) (Turns, bool) { return l.turns[k].now(), true }

// run does a request in its turn and in its time.
func run[T any](ctx context.Context, turn *turns, limit time.Duration, do func(context.Context) (T, error)) (out T, err error) {
	if err := turn.take(ctx); err != nil {
		return out, err
	}
	defer turn.give()
	inner, cancel := context.WithTimeoutCause(ctx, limit, ErrTimeout)
	defer cancel()
	out, err = do(inner)
	return out, timedOut(ctx, inner, limit, err)
}

// timedOut tells a limit of ours from the caller's.
func timedOut(ctx, inner context.Context, limit time.Duration, err error) error {
	if err != nil && ctx.Err() == nil && errors.Is(context.Cause(inner), ErrTimeout) {
		return fmt.Errorf("%w: over %s (%v)", ErrTimeout, limit, err) // not %w: it is no context's end to the caller
	}
	return err
}

// Head is Storage's.
func (l *Limited) Head(ctx context.Context, key string) (Object, error) {
	o, err := run(ctx, &l.turns[KindHead], l.o.SmallTimeout, func(ctx context.Context) (Object, error) { return l.inner.Head(ctx, key) })
	return o, Wrap("head", key, err)
}

// Put is Storage's.
func (l *Limited) Put(ctx context.Context, key string, body io.ReaderAt, size int64, o PutOptions) (Object, error) {
	limit := l.o.Timeout * time.Duration(1+max(0, size)/putUnit)
	out, err := run(ctx, &l.turns[KindPut], limit, func(ctx context.Context) (Object, error) { return l.inner.Put(ctx, key, body, size, o) })
	return out, Wrap("put", key, err)
}

// Delete is Storage's. Each thousand keys have their time.
func (l *Limited) Delete(ctx context.Context, keys ...string) error {
	const batch = 1000
	limit := l.o.SmallTimeout * time.Duration(1+len(keys)/batch)
	_, err := run(ctx, &l.turns[KindDelete], limit, func(ctx context.Context) (struct{}, error) { return struct{}{}, l.inner.Delete(ctx, keys...) })
	if len(keys) == 0 {
		return err
	}
	return Wrap("delete", keys[0], err)
}

// Copy is Storage's.
func (l *Limited) Copy(ctx context.Context, from, to string) error {
	_, err := run(ctx, &l.turns[KindCopy], l.o.Timeout, func(ctx context.Context) (struct{}, error) { return struct{}{}, l.inner.Copy(ctx, from, to) })
	return Wrap("copy", from, err)
}

// List is Storage's. The time runs anew with each entry taken, and not while the caller has one.
func (l *Limited) List(ctx context.Context, prefix string, o ListOptions) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		turn := &l.turns[KindList]
		if err := turn.take(ctx); err != nil {
			yield(Entry{}, Wrap("list", prefix, err))
			return
		}
		defer turn.give()
		inner, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		timer := time.AfterFunc(l.o.SmallTimeout, func() { cancel(ErrTimeout) })
		defer timer.Stop()
		for e, err := range l.inner.List(inner, prefix, o) {
			timer.Stop()
			if !yield(e, Wrap("list", prefix, timedOut(ctx, inner, l.o.SmallTimeout, err))) {
				return
			}
			timer.Reset(l.o.SmallTimeout)
		}
	}
}

// Get is Storage's.
func (l *Limited) Get(ctx context.Context, key string, o GetOptions) (*Download, error) {
	if err := l.turns[KindGet].take(ctx); err != nil {
		return nil, Wrap("get", key, err)
	}
	inner, cancel := context.WithCancelCause(ctx)
	b := &limitedBody{l: l, key: key, ctx: ctx, inner: inner, cancel: cancel}
	b.timer = time.AfterFunc(l.o.Timeout, func() { cancel(ErrTimeout) })
	d, err := l.inner.Get(inner, key, o)
	b.timer.Stop()
	if err != nil {
		err = timedOut(ctx, inner, l.o.Timeout, err)
		b.end()
		return nil, Wrap("get", key, err)
	}
	b.body = d.Body
	out := *d
	out.Body = b
	return &out, nil
}

// limitedBody gives its turn back when it is closed.
type limitedBody struct {
	l          *Limited
	key        string
	ctx, inner context.Context
	cancel     context.CancelCauseFunc
	timer      *time.Timer
	body       io.ReadCloser
	once       sync.Once
}

func (b *limitedBody) Read(p []byte) (int, error) {
	b.timer.Reset(b.l.o.Timeout)
	n, err := b.body.Read(p)
	b.timer.Stop()
	if err != nil && !errors.Is(err, io.EOF) {
		err = Wrap("get", b.key, timedOut(b.ctx, b.inner, b.l.o.Timeout, err))
	}
	return n, err
}

func (b *limitedBody) Close() error {
	err := b.body.Close()
	b.end()
	return err
}

func (b *limitedBody) end() {
	b.once.Do(func() {
		b.timer.Stop()
		b.cancel(nil)
		b.l.turns[KindGet].give()
	})
}

// Close is Storage's.
func (l *Limited) Close() error { return l.inner.Close() }
