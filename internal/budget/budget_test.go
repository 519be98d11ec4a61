package budget

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newShare(t testing.TB, limit int64) *Share {
	t.Helper()
	s, err := New(limit).Share("test", limit)
	require.NoError(t, err)
	return s
}

func TestSharesDoNotExceedTheTotal(t *testing.T) {
	b := New(100)
	cache, err := b.Share("cache", 60)
	require.NoError(t, err)
	_, err = b.Share("reads", 41)
	require.EqualError(t, err, `budget: share "reads" of 41 bytes; it must be 1 to 40, as the total is 100 and other shares have 60`)
	for _, bytes := range []int64{0, -1, math.MinInt64, math.MaxInt64} {
		_, err = b.Share("reads", bytes)
		require.Error(t, err)
	}
	_, err = b.Share("cache", 10)
	require.Error(t, err, "the name is taken")
	_, err = b.Share("reads", 40)
	require.NoError(t, err)
	require.Zero(t, b.Free())
	require.Error(t, cache.Resize(61))
	require.Error(t, cache.Resize(0))
	require.NoError(t, cache.Resize(20))
	require.EqualValues(t, 40, b.Free())
	require.Equal(t, []Stats{{Name: "cache", Limit: 20}, {Name: "reads", Limit: 40}}, b.Stats())
}

func TestNilShareGrantsAll(t *testing.T) {
	var s *Share
	require.NoError(t, s.Acquire(t.Context(), math.MaxInt64))
	require.True(t, s.TryAcquire(math.MaxInt64))
	s.Release(1)
	require.Zero(t, s.Used())
	require.EqualValues(t, Unlimited, s.Limit())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, s.Acquire(ctx, 1), context.Canceled)
}

// TestLargePassesAlone shows that more than the limit waits until nothing is taken, and keeps all others out.
func TestLargePassesAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShare(t, 100)
		require.True(t, s.TryAcquire(1))
		require.False(t, s.TryAcquire(math.MaxInt64))
		var in atomic.Bool
		go func() {
			if s.Acquire(context.Background(), math.MaxInt64) == nil {
				in.Store(true)
			}
		}()
		synctest.Wait()
		require.False(t, in.Load())
		s.Release(1)
		synctest.Wait()
		require.True(t, in.Load())
		require.False(t, s.TryAcquire(1))
		s.Release(math.MaxInt64)
		require.True(t, s.TryAcquire(100))
		s.Release(100)
		require.EqualValues(t, math.MaxInt64, s.High())
	})
}

// TestLargeIsNotStarved shows that whoever wants much is not overtaken by a stream of those who want little.
func TestLargeIsNotStarved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShare(t, 10)
		require.True(t, s.TryAcquire(5))
		var order []string
		var mu sync.Mutex
		take := func(name string, n int64) {
			go func() {
				if err := s.Acquire(context.Background(), n); err == nil {
					mu.Lock()
					defer mu.Unlock()
					order = append(order, name)
				}
			}()
			synctest.Wait()
		}
		take("large", 10)
		take("small", 1) // there would be room for it
		require.False(t, s.TryAcquire(1), "the try form does not overtake either")
		require.Empty(t, order)
		s.Release(5)
		synctest.Wait()
		require.Equal(t, []string{"large"}, order)
		s.Release(10)
		synctest.Wait()
		require.Equal(t, []string{"large", "small"}, order)
		s.Release(1)
		require.Equal(t, Stats{Name: "test", Limit: 10, High: 10, Waits: 2}, s.Stats())
	})
}

// TestCancelledMakesRoom shows that a waiter who gives up takes nothing, and lets those behind it pass.
func TestCancelledMakesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShare(t, 10)
		require.True(t, s.TryAcquire(5))
		ctx, cancel := context.WithCancel(context.Background())
		var large, small error
		done := make(chan string, 2)
		go func() { large = s.Acquire(ctx, 10); done <- "large" }()
		synctest.Wait()
		go func() { small = s.Acquire(context.Background(), 5); done <- "small" }()
		synctest.Wait()
		require.Equal(t, 2, s.Stats().Waiting)
		cancel()
		synctest.Wait()
		require.Len(t, done, 2)
		require.ErrorIs(t, large, context.Canceled)
		require.ErrorContains(t, large, `10 bytes of share "test"`)
		require.NoError(t, small)
		require.EqualValues(t, 10, s.Used())
		require.ErrorIs(t, s.Acquire(ctx, 0), context.Canceled)
	})
}

// TestGrantedAndCancelledAtOnce shows that bytes granted to one who gave up at that moment are not lost.
func TestGrantedAndCancelledAtOnce(t *testing.T) {
	s := newShare(t, 10)
	for range 2000 {
		require.True(t, s.TryAcquire(10))
		ctx, cancel := context.WithCancel(context.Background())
		got := make(chan error)
		go func() { got <- s.Acquire(ctx, 3) }()
		for s.Stats().Waiting == 0 {
		}
		go cancel()
		s.Release(10)
		if <-got == nil {
			s.Release(3)
		}
		require.Zero(t, s.Used())
	}
}

func TestMisreleaseIsCaught(t *testing.T) {
	for _, n := range []int64{6, -1} {
		s := newShare(t, 10)
		require.True(t, s.TryAcquire(5))
		if strict {
			require.Panics(t, func() { s.Release(n) })
		} else {
			s.Release(n)
		}
		require.Equal(t, Stats{Name: "test", Limit: 10, High: 5, Misreleases: 1}, s.Stats())
		require.True(t, s.TryAcquire(10), "the share goes on from zero")
	}
}

func TestNegativeIsRefused(t *testing.T) {
	s := newShare(t, 10)
	require.Error(t, s.Acquire(t.Context(), -1))
	require.False(t, s.TryAcquire(-1))
	require.NoError(t, s.Acquire(t.Context(), 0))
}

// TestResizeLetsWaitersIn shows both directions of Resize.
func TestResizeLetsWaitersIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := New(100).Share("test", 10)
		require.NoError(t, err)
		require.True(t, s.TryAcquire(8))
		var in atomic.Bool
		go func() { in.Store(s.Acquire(context.Background(), 8) == nil) }()
		synctest.Wait()
		require.False(t, in.Load())
		require.NoError(t, s.Resize(16))
		synctest.Wait()
		require.True(t, in.Load())
		require.NoError(t, s.Resize(4))
		require.False(t, s.TryAcquire(1))
		s.Release(12)
		require.False(t, s.TryAcquire(1))
		s.Release(4)
		require.True(t, s.TryAcquire(4))
	})
}

// TestModel runs random acquisitions, releases, cancellations and resizings beside a queue in plain Go.
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		synctest.Test(t, func(*testing.T) { runModel(rt) })
	})
}

type modelWaiter struct {
	id     int
	n      int64
	cancel context.CancelFunc
}

type model struct {
	limit, used, high int64
	held              map[int]int64
	queue             []modelWaiter
}

func (m *model) grant() {
	for len(m.queue) > 0 && (m.used == 0 || m.used+m.queue[0].n <= m.limit) {
		w := m.queue[0]
		m.queue = m.queue[1:]
		m.held[w.id] = w.n
		m.used += w.n
		m.high = max(m.high, m.used)
	}
}

func runModel(rt *rapid.T) {
	const total = 100
	s, err := New(total).Share("test", 50)
	require.NoError(rt, err)
	m := &model{limit: 50, held: map[int]int64{}}
	var mu sync.Mutex
	got := map[int]error{} // what Acquire said, of those held and those cancelled
	set := func(id int, err error) {
		mu.Lock()
		defer mu.Unlock()
		got[id] = err
	}
	acquire := func(id int, n int64) {
		ctx, cancel := context.WithCancel(context.Background())
		m.queue = append(m.queue, modelWaiter{id, n, cancel})
		m.grant()
		go func() { set(id, s.Acquire(ctx, n)) }()
	}
	cancelled := map[int]bool{}
	steps := rapid.IntRange(1, 60).Draw(rt, "steps")
	for id := range steps {
		switch op := rapid.IntRange(0, 9).Draw(rt, "op"); {
		case op < 4:
			acquire(id, rapid.Int64Range(0, 70).Draw(rt, "n"))
		case op < 5:
			n := rapid.Int64Range(0, 70).Draw(rt, "try")
			want := len(m.queue) == 0 && (m.used == 0 || m.used+n <= m.limit)
			require.Equal(rt, want, s.TryAcquire(n))
			if want {
				m.queue = []modelWaiter{{id: id, n: n, cancel: func() {}}}
				m.grant()
				set(id, nil)
			}
		case op < 8 && len(m.held) > 0:
			for at := range steps { // the first that is held; the order of a map is not for rapid
				if n, ok := m.held[at]; ok {
					s.Release(n)
					m.used -= n
					delete(m.held, at)
					mu.Lock()
					delete(got, at)
					mu.Unlock()
					break
				}
			}
			m.grant()
		case op < 9 && len(m.queue) > 0:
			at := rapid.IntRange(0, len(m.queue)-1).Draw(rt, "cancel")
			m.queue[at].cancel()
			cancelled[m.queue[at].id] = true
			m.queue = append(m.queue[:at:at], m.queue[at+1:]...)
			m.grant()
		default:
			m.limit = rapid.Int64Range(1, total).Draw(rt, "limit")
			require.NoError(rt, s.Resize(m.limit))
			m.grant()
		}
		synctest.Wait()
		require.Equal(rt, Stats{Name: "test", Limit: m.limit, Used: m.used, High: m.high, Waiting: len(m.queue),
			Waits: s.Stats().Waits}, s.Stats())
		mu.Lock()
		for id := range m.held {
			err, ok := got[id]
			require.True(rt, ok, "%d should have its bytes", id)
			require.NoError(rt, err)
		}
		for id := range cancelled {
			require.ErrorIs(rt, got[id], context.Canceled)
		}
		require.Len(rt, got, len(m.held)+len(cancelled))
		mu.Unlock()
	}
	for _, w := range m.queue {
		w.cancel()
	}
	synctest.Wait()
}

// TestConcurrent shows that the limit holds and all comes back when many take and give at random.
func TestConcurrent(t *testing.T) {
	const limit = 1000
	s := newShare(t, limit)
	var held atomic.Int64
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(i), 1))
			for range 500 {
				n := rng.Int64N(limit) + 1
				ctx, cancel := context.WithCancel(context.Background())
				if rng.IntN(4) == 0 {
					go cancel()
				}
				if err := s.Acquire(ctx, n); err == nil {
					if sum := held.Add(n); sum > limit {
						t.Errorf("%d bytes held of %d", sum, limit)
					}
					held.Add(-n)
					s.Release(n)
				}
				cancel()
			}
		})
	}
	wg.Wait()
	require.Zero(t, s.Used())
	require.Zero(t, s.Stats().Waiting)
	require.LessOrEqual(t, s.High(), int64(limit))
}

func BenchmarkAcquire(b *testing.B) {
	s := newShare(b, 1<<30)
	for _, g := range []int{1, 2} {
		b.Run(fmt.Sprintf("goroutines=%d", g), func(b *testing.B) {
			b.ReportAllocs()
			var wg sync.WaitGroup
			for range g {
				wg.Go(func() {
					for range b.N / g {
						if s.TryAcquire(8192) {
							s.Release(8192)
						}
					}
				})
			}
			wg.Wait()
		})
	}
}
