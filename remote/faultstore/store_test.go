package faultstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/remote"
	"github.com/stratapg/strata/remote/memstore"
	"github.com/stratapg/strata/remote/remotetest"
)

// TestSuite: without faults the store passes the suite, and so do its wrappers.
func TestSuite(t *testing.T) {
	remotetest.Run(t, func(*testing.T) remote.Storage { return New(memstore.New(), 1) }, remotetest.Options{Large: 5 << 20})
	t.Run("wrapped", func(t *testing.T) {
		remotetest.Run(t, func(*testing.T) remote.Storage {
			return remote.Retry(remote.Limit(memstore.New(), remote.LimitOptions{Lists: 2, Heads: 2, Puts: 3, Gets: 4, Deletes: 1, Copies: 1}), remote.RetryOptions{})
		}, remotetest.Options{Large: 5 << 20})
	})
}

// noSleep repeats at once.
func noSleep() remote.RetryOptions {
	return remote.RetryOptions{Attempts: -1, Sleep: func(ctx context.Context, _ time.Duration) error { return ctx.Err() }}
}

// TestRetryUnderFaults: with every kind of fault by chance, lost replies and broken bodies among them, a patient caller sees a
// sound store.
func TestRetryUnderFaults(t *testing.T) {
	for seed := range uint64(20) {
		faulty := New(memstore.New(), seed,
			&Fault{Chance: 0.1, Effect: LostReply}, &Fault{Op: Get, Chance: 0.3, Effect: Truncate}, &Fault{Op: List, Chance: 0.3, Effect: Truncate},
			&Fault{Chance: 0.1, Err: remote.ErrThrottled}, &Fault{Chance: 0.1, Effect: Twice})
		s := remote.Retry(faulty, noSleep())
		want := map[string]string{}
		for i := range 50 {
			key, data := fmt.Sprintf("a/%d/%d", i%3, i), strings.Repeat(fmt.Sprint(i), 1000)
			_, err := s.Put(t.Context(), key, strings.NewReader(data), int64(len(data)), remote.PutOptions{})
			require.NoError(t, err)
			want[key] = data
		}
		require.NoError(t, s.Delete(t.Context(), "a/0/0", "a/1/1", "a/2/2"))
		for _, k := range []string{"a/0/0", "a/1/1", "a/2/2"} {
			delete(want, k)
		}
		got := map[string]string{}
		for e, err := range s.List(t.Context(), "a/", remote.ListOptions{}) {
			require.NoError(t, err)
			require.NotContains(t, got, e.Key, "no entry comes twice")
			d, err := s.Get(t.Context(), e.Key, remote.GetOptions{Offset: 100})
			require.NoError(t, err)
			b, err := io.ReadAll(d.Body)
			require.NoError(t, err)
			require.NoError(t, d.Body.Close())
			got[e.Key] = want[e.Key][:100] + string(b)
		}
		require.Equal(t, want, got)
		var prefixes []string
		for e, err := range s.List(t.Context(), "a/", remote.ListOptions{Delimited: true}) {
			require.NoError(t, err)
			prefixes = append(prefixes, e.Prefix)
		}
		require.Equal(t, []string{"a/0/", "a/1/", "a/2/"}, prefixes)
	}
}

// TestRetryEnds: attempts are counted, what cannot get better is not repeated, and a cancelled caller is let go.
func TestRetryEnds(t *testing.T) {
	fault := &Fault{Op: Head, Nth: 1, Sticky: true}
	inner := New(memstore.New(), 1, fault)
	o := noSleep()
	o.Attempts = 4
	_, err := remote.Retry(inner, o).Head(t.Context(), "k")
	require.ErrorIs(t, err, remote.ErrUnavailable)
	require.ErrorContains(t, err, "after 4 attempts")
	seen, _ := inner.Seen(fault)
	require.Equal(t, 4, seen)

	fault = &Fault{Op: Head}
	inner.Set(fault)
	_, err = remote.Retry(inner, o).Head(t.Context(), "k")
	require.ErrorIs(t, err, remote.ErrNotFound)
	seen, _ = inner.Seen(fault)
	require.Equal(t, 1, seen)

	inner.Set(&Fault{Op: Head, Nth: 1, Sticky: true})
	ctx, cancel := context.WithCancel(t.Context())
	o.Attempts, o.OnRetry = -1, func(_, _ string, attempt int, _ time.Duration, _ error) {
		if attempt == 7 {
			cancel()
		}
	}
	_, err = remote.Retry(inner, o).Head(ctx, "k")
	require.ErrorIs(t, err, context.Canceled)
	require.False(t, remote.Retryable(err))
}

// TestPausesGrow: pauses double up to the longest, and half of each is by lot.
func TestPausesGrow(t *testing.T) {
	var pauses []time.Duration
	o := remote.RetryOptions{Attempts: 9, Rand: func(n int64) int64 { return n - 1 },
		Sleep: func(_ context.Context, d time.Duration) error { pauses = append(pauses, d); return nil }}
	_, err := remote.Retry(New(memstore.New(), 1, &Fault{Nth: 1, Sticky: true}), o).Head(t.Context(), "k")
	require.Error(t, err)
	ms := time.Millisecond
	require.Equal(t, []time.Duration{100 * ms, 200 * ms, 400 * ms, 800 * ms, 1600 * ms, 3200 * ms, 6400 * ms, 10_000 * ms}, pauses)
}

// TestReplacedDownload: a body never continues with another object's bytes.
func TestReplacedDownload(t *testing.T) {
	mem := memstore.New()
	put := func(data string) {
		_, err := mem.Put(t.Context(), "k", strings.NewReader(data), int64(len(data)), remote.PutOptions{})
		require.NoError(t, err)
	}
	put("the first version")
	s := remote.Retry(New(mem, 1, &Fault{Op: Get, Nth: 1, Effect: Truncate}), noSleep())
	d, err := s.Get(t.Context(), "k", remote.GetOptions{})
	require.NoError(t, err)
	put("another version, which is longer")
	_, err = io.ReadAll(d.Body)
	require.ErrorIs(t, err, remote.ErrUnavailable)
	require.ErrorContains(t, err, "replaced")
	require.NoError(t, d.Body.Close())
}

// TestLimits: no more run at once than may, and a request that hangs ends with ErrTimeout, its turn given back.
func TestLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		running, most := 0, 0
		hang := &Fault{Op: Head, Nth: 1, Sticky: true, Effect: Fail, Err: context.Canceled, Before: func(ctx context.Context) {
			running++
			most = max(most, running)
			<-ctx.Done()
			running--
		}}
		s := remote.Limit(New(memstore.New(), 1, hang), remote.LimitOptions{Heads: 1, SmallTimeout: time.Second})
		const callers = 5
		errs := make(chan error, callers)
		for range callers {
			go func() {
				_, err := s.Head(t.Context(), "k")
				errs <- err
			}()
		}
		for range callers {
			err := <-errs
			require.ErrorIs(t, err, remote.ErrTimeout)
			require.True(t, remote.Retryable(err), "our own limit is no end of the caller's: %v", err)
		}
		require.Equal(t, 1, most)

		ctx, cancel := context.WithCancel(t.Context())
		go func() { time.Sleep(time.Millisecond); cancel() }()
		_, err := s.Head(ctx, "k")
		require.True(t, errors.Is(err, context.Canceled) && !remote.Retryable(err))
	})
}

// TestOpenBodiesCount: a download has its turn until its body is closed, and nobody but a download waits for that.
func TestOpenBodiesCount(t *testing.T) {
	s := remote.Limit(memstore.New(), remote.LimitOptions{Gets: 1})
	_, err := s.Put(t.Context(), "k", strings.NewReader("data"), 4, remote.PutOptions{})
	require.NoError(t, err)
	d, err := s.Get(t.Context(), "k", remote.GetOptions{})
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, err = s.Get(ctx, "k", remote.GetOptions{})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	_, err = s.Head(t.Context(), "k")
	require.NoError(t, err)
	require.NoError(t, d.Body.Close())
	require.NoError(t, d.Body.Close(), "twice is once")
	d, err = s.Get(t.Context(), "k", remote.GetOptions{})
	require.NoError(t, err)
	require.NoError(t, d.Body.Close())
}

// requests are one of each kind.
var requests = map[remote.Kind]func(ctx context.Context, s remote.Storage) error{
	remote.KindList: func(ctx context.Context, s remote.Storage) (err error) {
		for _, err = range s.List(ctx, "", remote.ListOptions{}) {
		}
		return err
	},
	remote.KindHead: func(ctx context.Context, s remote.Storage) error {
		_, err := s.Head(ctx, "k")
		return err
	},
	remote.KindPut: func(ctx context.Context, s remote.Storage) error {
		_, err := s.Put(ctx, "p", strings.NewReader("data"), 4, remote.PutOptions{})
		return err
	},
	remote.KindGet: func(ctx context.Context, s remote.Storage) error {
		d, err := s.Get(ctx, "k", remote.GetOptions{})
		if err != nil {
			return err
		}
		return d.Body.Close()
	},
	remote.KindDelete: func(ctx context.Context, s remote.Storage) error { return s.Delete(ctx, "gone") },
	remote.KindCopy:   func(ctx context.Context, s remote.Storage) error { return s.Copy(ctx, "k", "c") },
}

// TestEachKindHasItsLimit: of each kind of request as many run at once as may, the others wait, and those of another kind do not; the
// numbers say so, through whatever wraps it.
func TestEachKindHasItsLimit(t *testing.T) {
	limits := remote.LimitOptions{Lists: 1, Heads: 2, Puts: 3, Gets: 4, Deletes: 5, Copies: 6}
	for i, kind := range remote.Kinds() {
		t.Run(kind.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, limit := t.Context(), int64(i+1)
				mem := memstore.New()
				_, err := mem.Put(ctx, "k", strings.NewReader("data"), 4, remote.PutOptions{})
				require.NoError(t, err)
				open := make(chan struct{})
				hold := &Fault{Op: Op(kind) + List, Nth: 1, Sticky: true, Effect: Wait, Before: func(context.Context) { <-open }}
				s := remote.Measure(remote.Retry(remote.Limit(New(mem, 1, hold), limits), remote.RetryOptions{}), time.Now)
				const more = 3
				errs := make(chan error)
				for range limit + more {
					go func() { errs <- requests[kind](ctx, s) }()
				}
				synctest.Wait()
				turns, ok := s.Turns(kind)
				require.True(t, ok)
				require.Equal(t, remote.Turns{Limit: limit, Running: limit, Waiting: more}, turns)
				for other, request := range requests {
					if other != kind {
						require.NoError(t, request(ctx, s), "%s beside %s", other, kind)
					}
				}
				time.Sleep(time.Second)
				close(open)
				for range limit + more {
					require.NoError(t, <-errs)
				}
				turns, _ = s.Turns(kind)
				require.Equal(t, remote.Turns{Limit: limit, Waits: more, Waited: more * time.Second}, turns)
			})
		})
	}
	_, ok := remote.Measure(memstore.New(), time.Now).Turns(remote.KindGet)
	require.False(t, ok)
}
