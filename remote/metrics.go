package remote

import (
	"context"
	"errors"
	"io"
	"iter"
	"sync"
	"sync/atomic"
	"time"
)

// Kind is that of a request, for metrics.
type Kind uint8

// The kinds.
const (
	KindList Kind = iota
	KindHead
	KindPut
	KindGet
	KindDelete
	KindCopy
	kinds
)

// String names the kind as errors do.
func (k Kind) String() string {
	return [...]string{"list", "head", "put", "get", "delete", "copy"}[k]
}

// Kinds lists all.
func Kinds() []Kind { return []Kind{KindList, KindHead, KindPut, KindGet, KindDelete, KindCopy} }

// Requests tell of all requests of one kind.
type Requests struct {
	// Done went well, and so did those that found nothing, or found it unchanged; Failed and Cancelled did not. Running are on their way, a
	// Get until its Body is closed.
	Done, Failed, Cancelled, Running int64
	// Bytes were sent or received; Keys is how many objects were listed or deleted.
	Bytes, Keys int64
	// Time is what all of them took together.
	Time time.Duration
}

// Measured is a Storage that counts.
type Measured struct {
	inner Storage
	now   func() time.Time
	kinds [kinds]requests
}

type requests struct{ done, failed, cancelled, running, bytes, keys, nanos atomic.Int64 }

var (
	_ Storage = (*Measured)(nil)
	_ Bounded = (*Measured)(nil)
)

// Measure counts the requests of a storage; now tells the time.
func Measure(s Storage, now func() time.Time) *Measured { return &Measured{inner: s, now: now} }

// Requests gives what is known of a kind.
func (m *Measured) Requests(k Kind) Requests {
	r := &m.kinds[k]
	return Requests{r.done.Load(), r.failed.Load(), r.cancelled.Load(), r.running.Load(), r.bytes.Load(), r.keys.Load(), time.Duration(r.nanos.Load())}
}

// Turns asks what is measured.
func (m *Measured) Turns(k Kind) (Turns, bool) { return turnsOf(m.inner, k) }

// begin counts a request, and gives the function that is called at its end.
func (m *Measured) begin(k Kind) func(bytes, keys int64, err error) {
	r, start := &m.kinds[k], m.now()
	r.running.Add(1)
	return func(bytes, keys int64, err error) {
		r.running.Add(-1)
		r.nanos.Add(int64(m.now().Sub(start)))
		r.bytes.Add(bytes)
		r.keys.Add(keys)
		switch {
		case err == nil, errors.Is(err, ErrNotFound), errors.Is(err, ErrUnmodified), errors.Is(err, ErrExists):
			r.done.Add(1)
		case errors.Is(err, context.Canceled):
			r.cancelled.Add(1)
		default:
			r.failed.Add(1)
		}
	}
}

// Head is Storage's.
func (m *Measured) Head(ctx context.Context, key string) (Object, error) {
	end := m.begin(KindHead)
	o, err := m.inner.Head(ctx, key)
	end(0, 0, err)
	return o, err
}

// Put is Storage's.
func (m *Measured) Put(ctx context.Context, key string, body io.ReaderAt, size int64, o PutOptions) (Object, error) {
	end := m.begin(KindPut)
	out, err := m.inner.Put(ctx, key, body, size, o)
	if err != nil {
		size = 0
	}
	end(size, 0, err)
	return out, err
}

// Delete is Storage's.
func (m *Measured) Delete(ctx context.Context, keys ...string) error {
	end := m.begin(KindDelete)
	err := m.inner.Delete(ctx, keys...)
	n := len(keys)
	var left KeyErrors
	if errors.As(err, &left) {
		n -= len(left)
	} else if err != nil {
		n = 0
	}
	end(0, int64(n), err)
	return err
}

// Copy is Storage's.
func (m *Measured) Copy(ctx context.Context, from, to string) error {
	end := m.begin(KindCopy)
	err := m.inner.Copy(ctx, from, to)
	end(0, 0, err)
	return err
}

// List is Storage's. A listing is one request here, of however many pages.
func (m *Measured) List(ctx context.Context, prefix string, o ListOptions) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		end := m.begin(KindList)
		var n int64
		var failure error
		defer func() { end(0, n, failure) }()
		for e, err := range m.inner.List(ctx, prefix, o) {
			if err == nil {
				n++
			}
			failure = err
			if !yield(e, err) {
				return
			}
		}
	}
}

// Get is Storage's.
func (m *Measured) Get(ctx context.Context, key string, o GetOptions) (*Download, error) {
	end := m.begin(KindGet)
	d, err := m.inner.Get(ctx, key, o)
	if err != nil {
		end(0, 0, err)
		return nil, err
	}
	out := *d
	out.Body = &measuredBody{ReadCloser: d.Body, end: end}
	return &out, nil
}

// measuredBody counts what is read of an object.
type measuredBody struct {
	io.ReadCloser
	end  func(bytes, keys int64, err error)
	once sync.Once
	n    int64
	err  error
}

func (b *measuredBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.n += int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		b.err = err
	}
	return n, err
}

func (b *measuredBody) Close() error {
	err := b.ReadCloser.Close()
	b.once.Do(func() { b.end(b.n, 0, b.err) })
	return err
}

// Close is Storage's.
func (m *Measured) Close() error { return m.inner.Close() }
