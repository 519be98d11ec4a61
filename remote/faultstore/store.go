package faultstore

import (
	"context"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"sync"

	"github.com/stratapg/strata/remote"
)

// Op is a kind of request.
type Op uint8

// The kinds.
const (
	Any Op = iota
	List
	Head
	Put
	Get
	Delete
	Copy
)

// String names the kind as errors do.
func (o Op) String() string {
	return [...]string{"any", "list", "head", "put", "get", "delete", "copy"}[o]
}

// Effect is what happens to a request that is hit.
type Effect uint8

// The effects. Those that make no sense for a kind are Fail.
const (
	// Fail does nothing but give the error.
	Fail Effect = iota
	// LostReply does the request and gives the error all the same.
	LostReply
	// Twice does the request two times.
	Twice
	// Truncate lets a download's body fail halfway, and ends a listing after half of its entries with the error.
	Truncate
	// Shuffle gives a listing out of order.
	Shuffle
	// Wait does nothing but run Before.
	Wait
)

// Fault is one rule. The first that hits a request decides.
type Fault struct {
	Op  Op                    // Any for every kind
	Key func(key string) bool // of keys and prefixes; nil for every
	// Nth counts matching requests from 1: that one is hit, and with Sticky all that follow. 0 hits none, and only
	// counts, unless Chance is set.
	Nth    int
	Sticky bool
	// Chance hits a matching request with this probability.
	Chance float64
	Effect Effect
	// Err is what comes back, wrapped; nil is remote.ErrUnavailable.
	Err error
	// Before, if set, runs before a request that is hit. It may wait for the context.
	Before func(ctx context.Context)

	seen, hits int
}

// Store is a Storage with faults.
type Store struct {
	inner remote.Storage
	mu    struct {
		sync.Mutex
		rnd    *rand.Rand
		faults []*Fault
	}
}

var _ remote.Storage = (*Store)(nil)

// New puts faults in front of a storage. seed decides all that is by chance.
func New(inner remote.Storage, seed uint64, faults ...*Fault) *Store {
	s := &Store{inner: inner}
	s.mu.rnd = rand.New(rand.NewPCG(seed, 0))
	s.mu.faults = faults
	return s
}

// Set replaces the rules.
func (s *Store) Set(faults ...*Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.faults = faults
}

// Seen gives how many requests matched a rule of the store, and Hits how many it hit.
func (s *Store) Seen(f *Fault) (seen, hits int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return f.seen, f.hits
}

// hit finds what happens to a request.
func (s *Store) hit(ctx context.Context, op Op, key string) (Effect, error) {
	f := s.choose(op, key)
	if f == nil {
		return Wait, nil
	}
	if f.Before != nil {
		f.Before(ctx)
	}
	err := f.Err
	if err == nil {
		err = remote.ErrUnavailable
	}
	return f.Effect, remote.Wrap(op.String(), key, fmt.Errorf("%w (injected)", err))
}

func (s *Store) choose(op Op, key string) (found *Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.mu.faults {
		if f.Op != Any && f.Op != op || f.Key != nil && !f.Key(key) {
			continue
		}
		f.seen++
		hit := f.Nth > 0 && (f.seen == f.Nth || f.Sticky && f.seen > f.Nth) || f.Chance > 0 && s.mu.rnd.Float64() < f.Chance
		if hit && found == nil {
			f.hits++
			found = f
		}
	}
	return found
}

// request does a request that gives one answer.
func request[T any](ctx context.Context, s *Store, op Op, key string, do func() (T, error)) (out T, err error) {
	switch effect, fault := s.hit(ctx, op, key); effect {
	case Wait:
		return do()
	case LostReply:
		if _, err := do(); err != nil {
			return out, err
		}
		return out, fault
	case Twice:
		if out, err = do(); err != nil {
			return out, err
		}
		return do()
	default:
		return out, fault
	}
}

// Head is Storage's.
func (s *Store) Head(ctx context.Context, key string) (remote.Object, error) {
	return request(ctx, s, Head, key, func() (remote.Object, error) { return s.inner.Head(ctx, key) })
}

// Put is Storage's.
func (s *Store) Put(ctx context.Context, key string, body io.ReaderAt, size int64, o remote.PutOptions) (remote.Object, error) {
	return request(ctx, s, Put, key, func() (remote.Object, error) { return s.inner.Put(ctx, key, body, size, o) })
}

// Delete is Storage's. Each key is a request of its own, so that some may fail and others not.
func (s *Store) Delete(ctx context.Context, keys ...string) error {
	failed := remote.KeyErrors{}
	for _, key := range keys {
		_, err := request(ctx, s, Delete, key, func() (struct{}, error) { return struct{}{}, s.inner.Delete(ctx, key) })
		if err != nil {
			failed[key] = err
		}
	}
	if len(failed) > 0 {
		return remote.Wrap("delete", keys[0], failed)
	}
	return nil
}

// Copy is Storage's.
func (s *Store) Copy(ctx context.Context, from, to string) error {
	_, err := request(ctx, s, Copy, from, func() (struct{}, error) { return struct{}{}, s.inner.Copy(ctx, from, to) })
	return err
}

// Get is Storage's.
func (s *Store) Get(ctx context.Context, key string, o remote.GetOptions) (*remote.Download, error) {
	effect, fault := s.hit(ctx, Get, key)
	if effect != Wait && effect != Truncate && effect != Twice {
		return nil, fault
	}
	d, err := s.inner.Get(ctx, key, o)
	if err != nil || effect != Truncate {
		return d, err
	}
	cut := *d
	cut.Body = &cutBody{d.Body, d.Length / 2, fault}
	return &cut, nil
}

// cutBody fails after some bytes.
type cutBody struct {
	io.ReadCloser
	left int64
	err  error
}

func (b *cutBody) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, b.err
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

// List is Storage's.
func (s *Store) List(ctx context.Context, prefix string, o remote.ListOptions) iter.Seq2[remote.Entry, error] {
	return func(yield func(remote.Entry, error) bool) {
		effect, fault := s.hit(ctx, List, prefix)
		if effect == Fail || effect == LostReply {
			yield(remote.Entry{}, fault)
			return
		}
		var all []remote.Entry
		for e, err := range s.inner.List(ctx, prefix, o) {
			if err != nil {
				yield(remote.Entry{}, err)
				return
			}
			all = append(all, e)
		}
		switch effect {
		case Truncate:
			all = all[:len(all)/2]
		case Shuffle:
			s.mu.Lock()
			s.mu.rnd.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
			s.mu.Unlock()
		}
		for _, e := range all {
			if !yield(e, nil) {
				return
			}
		}
		if effect == Truncate {
			yield(remote.Entry{}, fault)
		}
	}
}

// Close is Storage's.
func (s *Store) Close() error { return s.inner.Close() }
