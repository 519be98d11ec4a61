package pool

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/walredo"
	"github.com/stratapg/strata/walredo/native"
	"github.com/stratapg/strata/walredo/walredotest"
)

// open makes a pool and closes it after the test, when nothing of it may be left.
func open(t testing.TB, o Options) *Pool {
	t.Helper()
	p, err := New(o)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, p.Close())
		m := p.Metrics()
		require.Zero(t, m.Processes, "processes after Close")
		require.Zero(t, m.InFlight, "requests that hold a slot after Close")
		require.Zero(t, m.HeldBytes, "memory held after Close")
	})
	return p
}

// job is a request and its page.
type job struct {
	name string
	req  *walredo.Request
	want []byte
}

func jobs(t testing.TB) []job {
	t.Helper()
	var all []job
	r := native.New()
	requests := walredotest.Requests(t)
	for _, name := range []string{"short", "medium"} {
		req := requests[name]
		want, err := r.Redo(context.Background(), nil, req)
		require.NoError(t, err)
		all = append(all, job{name, req, want})
	}
	// An image in the midst of the records, as a read across an image layer gives it.
	imaged := *all[0].req
	imaged.Records = append([]walredo.Record{{LSN: 1, Value: page.Value{Kind: page.KindImage, Bytes: make([]byte, pg.BlockSize)}}}, imaged.Records...)
	want, err := r.Redo(context.Background(), nil, &imaged)
	require.NoError(t, err)
	return append(all, job{"imaged", &imaged, want})
}

func (j *job) run(t testing.TB, r walredo.Redoer) {
	t.Helper()
	got, err := r.Redo(context.Background(), []byte("x"), j.req)
	require.NoError(t, err, j.name)
	require.Equal(t, append([]byte("x"), j.want...), got, j.name)
}

func TestRedo(t *testing.T) {
	all := jobs(t)
	for _, how := range []string{"well", "exits-on-failure", "crumbles", "floods", "leaves-child", "deserts-child"} {
		t.Run(how, func(t *testing.T) {
			p := open(t, Options{Worker: behaving(how, 0), Processes: 2})
			for range 3 {
				for i := range all {
					all[i].run(t, p)
				}
			}
			require.NoError(t, p.Ping(context.Background(), testKind))
			m := p.Metrics()
			require.EqualValues(t, 3*len(all), m.Pages)
			require.EqualValues(t, 1, m.Processes, "one caller needs one process")
			require.EqualValues(t, 1, m.Launches)
			require.Zero(t, m.Retries+m.Moved+m.Failed)
		})
	}
}

func TestManyCallers(t *testing.T) {
	all := jobs(t)
	p := open(t, Options{Worker: behaving("well", 0), Processes: 3, MaxRequests: 40, MaxBytes: 300_000})
	var wg sync.WaitGroup
	for g := range 64 {
		wg.Go(func() {
			for i := range 30 {
				j := &all[(g+i)%len(all)]
				got, err := p.Redo(context.Background(), nil, j.req)
				if err != nil || string(got) != string(j.want) {
					t.Errorf("%s: %v", j.name, err)
					return
				}
			}
		})
	}
	wg.Wait()
	m := p.Metrics()
	require.EqualValues(t, 3, m.Processes, "busy processes get company")
	require.EqualValues(t, 3, m.Launches)
	require.Positive(t, m.Waits, "40 requests or 300 kB at a time")
	require.Less(t, m.Chunks, int64(200), "memory of requests is used again")
}

// TestPerTenant has the requests of two tenants, which share a process unless the pool is told not to.
func TestPerTenant(t *testing.T) {
	for _, own := range []bool{false, true} {
		p := open(t, Options{Worker: behaving("well", 0), PerTenant: own})
		for i, j := range jobs(t) {
			req := *j.req
			req.Tenant = page.TenantID{byte(i % 2)}
			j.req = &req
			j.run(t, p)
		}
		want := 1
		if own {
			want = 2
		}
		require.EqualValues(t, want, p.Metrics().Processes)
	}
}

// TestReadersTakeTurns has few callers, so that one often finds nobody reading at the moment at which the last reader
// goes: none of them may be left without an answer, which would show as a process that is replaced. Some go away just as
// their answers come.
func TestReadersTakeTurns(t *testing.T) {
	for _, callers := range []int{2, 3} {
		p := open(t, Options{Worker: behaving("well", 0), StallTimeout: 20 * time.Second, Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
		require.NoError(t, p.Ping(context.Background(), testKind))
		var wg sync.WaitGroup
		for caller := range callers {
			wg.Go(func() {
				for i := range testkit.Size(2000, 10_000, 1_000_000) {
					ctx, cancel := context.Background(), context.CancelFunc(func() {})
					if caller == 0 && i%4 == 0 {
						ctx, cancel = context.WithTimeout(ctx, time.Duration(i%64)*time.Microsecond)
					}
					err := p.Ping(ctx, testKind)
					cancel()
					if err != nil && !errors.Is(err, context.DeadlineExceeded) {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		m := p.Metrics()
		require.EqualValues(t, 1, m.Launches)
		require.Zero(t, m.Stalls+m.Retries+m.Moved)
	}
}

// TestSingleFlight shows that those who come first together wait for one launch.
func TestSingleFlight(t *testing.T) {
	all := jobs(t)
	p := open(t, Options{Worker: behaving("well", 0)})
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if _, err := p.Redo(context.Background(), nil, all[0].req); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, 1, p.Metrics().Launches)
}

// TestKinds shows that no process gets requests of another version.
func TestKinds(t *testing.T) {
	var seen sync.Map
	w := behaving("well", 0)
	command := w.Command
	w.Command = func(k walredo.Kind) (Command, error) {
		if _, again := seen.LoadOrStore(k, true); again {
			t.Errorf("a second process of %s", k)
		}
		return command(k)
	}
	p := open(t, Options{Worker: w})
	for _, v := range []pg.Version{pg.V14, pg.V15, pg.V14, pg.V16} {
		require.NoError(t, p.Ping(context.Background(), walredo.Kind{Version: v}))
	}
	require.EqualValues(t, 3, p.Metrics().Launches)
}

func TestLargeRequest(t *testing.T) {
	all := jobs(t)
	req := *all[0].req
	req.Records = nil
	last := all[0].req.Records[len(all[0].req.Records)-1]
	req.Records = append(req.Records, all[0].req.Records...)
	const many = 2_000_000 / 188 * 10 // of 188 bytes: more pieces than one system call takes
	for range many {                  // the page has them already, so that they change nothing
		req.Records = append(req.Records, last)
	}
	p := open(t, Options{Worker: behaving("well", 0), MaxBytes: 1 << 20})
	for range 2 {
		got, err := p.Redo(context.Background(), nil, &req)
		require.NoError(t, err)
		require.Equal(t, all[0].want, got)
	}
	m := p.Metrics()
	require.Greater(t, m.Bytes, int64(20<<20))
	small := open(t, Options{Worker: behaving("well", 0), MaxRequest: 1 << 20})
	_, err := small.Redo(context.Background(), nil, &req)
	require.ErrorIs(t, err, ErrTooLarge)
	require.Zero(t, small.Metrics().Launches)
}

func TestRefusals(t *testing.T) {
	all := jobs(t)
	p := open(t, Options{Worker: behaving("well", 0)})
	for name, c := range map[string]struct {
		change func(*walredo.Request)
		is     error
	}{
		"no relation":   {func(r *walredo.Request) { r.Key = page.ControlFileKey }, walredo.ErrUnsupported},
		"pseudo-record": {func(r *walredo.Request) { r.Records[1].Value.Kind = page.KindClearVM }, walredo.ErrUnsupported},
		"no records":    {func(r *walredo.Request) { r.Records = nil }, walredo.ErrNoBase},
		"empty record":  {func(r *walredo.Request) { r.Records[1].Value.Bytes = nil }, walredo.ErrCorrupt},
		"short image":   {func(r *walredo.Request) { r.Base = make([]byte, 100) }, walredo.ErrCorrupt},
	} {
		req := *all[0].req
		req.Records = append([]walredo.Record{}, req.Records...)
		c.change(&req)
		_, err := p.Redo(context.Background(), nil, &req)
		require.ErrorIs(t, err, c.is, name)
		var e *walredo.Error
		require.ErrorAs(t, err, &e)
	}
	require.Zero(t, p.Metrics().Launches)

	// What the worker refuses comes back as it was, and costs nobody his process.
	req := *all[0].req
	req.Records = req.Records[1:]
	for range 3 {
		_, err := p.Redo(context.Background(), nil, &req)
		require.ErrorIs(t, err, walredo.ErrNoBase)
		var e *walredo.Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, req.Records[0].LSN, e.LSN)
	}
	all[0].run(t, p)
	require.EqualValues(t, 1, p.Metrics().Launches)
}

// TestFailureOfNeonsKind shows what becomes of a request that kills each process it meets, and that the others
// beside it get their pages.
func TestFailureOfNeonsKind(t *testing.T) {
	all := jobs(t)
	p := open(t, Options{Worker: behaving("exits-on-failure", 0), Policy: Policy{Attempts: 2}})
	poison := *all[0].req
	poison.Records = poison.Records[1:]
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 10 {
				if g == 0 && i%5 == 0 {
					_, err := p.Redo(context.Background(), nil, &poison)
					if !errors.Is(err, ErrProcess) {
						t.Errorf("poison: %v", err)
					}
					for _, part := range []string{"no image to apply", "exit status 1", "process "} {
						require.ErrorContains(t, err, part)
					}
					continue
				}
				got, err := p.Redo(context.Background(), nil, all[1].req)
				if err != nil || string(got) != string(all[1].want) {
					t.Errorf("a request beside the poison: %v", err)
				}
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, 2, p.Metrics().Failed)
}

func TestWorkerThatCannotStart(t *testing.T) {
	all := jobs(t)
	start := time.Unix(1000, 0)
	now := start
	var mu sync.Mutex
	clock := func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	for name, c := range map[string]struct {
		w    Worker
		want string
	}{
		"missing":  {Worker{Command: func(walredo.Kind) (Command, error) { return Command{Path: "/no/such/program"}, nil }}, "/no/such/program"},
		"refuses":  {behaving("refuses", 0), "no data directory"},
		"echoes":   {behaving("echoes", 0), "did not answer a ping"},
		"mute":     {behaving("mute", 0), "did not answer a ping"},
		"killed":   {Worker{Command: func(walredo.Kind) (Command, error) { return Command{Path: "/bin/true"}, nil }}, "it ended"},
		"no kinds": {Worker{Command: func(k walredo.Kind) (Command, error) { return Command{}, unsupported("version %d", k.Version) }}, "version 14"},
	} {
		t.Run(name, func(t *testing.T) {
			launch := time.Minute // a slow machine is no fault
			if name == "mute" || name == "echoes" {
				launch = 300 * time.Millisecond
			}
			p := open(t, Options{
				Worker: c.w, LaunchTimeout: launch, Clock: clock, Policy: Policy{Attempts: 1},
				MinBackoff: time.Second, MaxBackoff: 3 * time.Second,
			})
			launches := func(want int64) {
				t.Helper()
				_, err := p.Redo(context.Background(), nil, all[0].req)
				require.ErrorIs(t, err, ErrLaunch)
				require.ErrorContains(t, err, c.want)
				require.Equal(t, want, p.Metrics().LaunchFailures)
			}
			for failures, pause := range []time.Duration{time.Second, 2 * time.Second, 3 * time.Second, 3 * time.Second} {
				launches(int64(failures + 1))
				launches(int64(failures + 1)) // during the pause
				mu.Lock()
				now = now.Add(pause)
				mu.Unlock()
			}
		})
	}
}

// TestCallerGivesUp shows that who goes away leaves the others their process and their order.
func TestCallerGivesUp(t *testing.T) {
	all := jobs(t)
	p := open(t, Options{Worker: behaving("slow", 3)})
	require.NoError(t, p.Ping(context.Background(), testKind))
	var wg sync.WaitGroup
	for g := range 10 {
		wg.Go(func() {
			for i := range 10 {
				j := &all[(g+i)%len(all)]
				if g%2 == 0 {
					ctx, cancel := context.WithTimeout(context.Background(), time.Duration(i)*time.Millisecond)
					got, err := p.Redo(ctx, nil, j.req)
					cancel()
					if err == nil && string(got) != string(j.want) {
						t.Error("a wrong page")
					} else if err != nil && !errors.Is(err, context.DeadlineExceeded) {
						t.Error(err)
					}
					continue
				}
				got, err := p.Redo(context.Background(), nil, j.req)
				if err != nil || string(got) != string(j.want) {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	m := p.Metrics()
	require.EqualValues(t, 1, m.Launches)
	require.Positive(t, m.Cancelled)
	_, err := p.With(Policy{Timeout: time.Nanosecond}).Redo(context.Background(), nil, all[0].req)
	require.ErrorIs(t, err, ErrTimeout)
	all[0].run(t, p)
	require.EqualValues(t, 1, p.Metrics().Launches)
}

func TestIdleProcessEnds(t *testing.T) {
	all := jobs(t)
	p := open(t, Options{Worker: behaving("well", 0), IdleTimeout: 50 * time.Millisecond})
	for n := range int64(3) {
		all[0].run(t, p)
		require.Eventually(t, func() bool { return p.Metrics().Processes == 0 }, 30*time.Second, time.Millisecond)
		require.Equal(t, n+1, p.Metrics().Idle)
	}
}

func TestClose(t *testing.T) {
	all := jobs(t)
	p := open(t, Options{Worker: behaving("slow", 20), Policy: Policy{Attempts: 1}})
	all[0].run(t, p)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			for {
				if _, err := p.Redo(context.Background(), nil, all[0].req); err != nil {
					if !errors.Is(err, ErrClosed) {
						t.Error(err)
					}
					return
				}
			}
		})
	}
	require.Eventually(t, func() bool { return p.Metrics().InFlight > 10 }, 30*time.Second, time.Millisecond)
	require.NoError(t, p.Close())
	require.NoError(t, p.Close())
	wg.Wait()
	require.ErrorIs(t, p.Ping(context.Background(), testKind), ErrClosed)
}

func TestOptions(t *testing.T) {
	_, err := New(Options{Processes: -1, MaxBackoff: 1, MinBackoff: 2})
	for _, part := range []string{"Worker.Command is nil", "Processes is -1", "MaxBackoff"} {
		require.ErrorContains(t, err, part)
	}
	var used Options
	_ = used.withDefaults()
	require.Zero(t, used.Processes, "the caller's options stay as they are")
}
