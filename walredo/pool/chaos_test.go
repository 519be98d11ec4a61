package pool

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/testkit"
)

// misbehaviours are what a process may do in the chaos; the number says after how many requests.
var misbehaviours = []string{"well", "floods", "crumbles", "slow", "dies", "killed", "stops", "garbles", "zeros",
	"chatters", "answers-early", "refuses", "exits-on-failure", "leaves-child"}

// TestChaos gives requests to processes that die, stop, flood, crumble and lie, while others kill and stop them:
// each request ends in its right page or in an error that says what happened. When the chaos is over, all get
// their pages.
func TestChaos(t *testing.T) {
	all := jobs(t)
	rng := testkit.Rand(t, 0)
	var rngMu sync.Mutex
	draw := func(n int) int { rngMu.Lock(); defer rngMu.Unlock(); return rng.IntN(n) }
	var over atomic.Bool
	w := changing(func() (string, int) {
		if over.Load() {
			return "well", 0
		}
		return misbehaviours[draw(len(misbehaviours))], 1 + draw(8)
	})
	p := open(t, Options{
		Worker: w, Processes: 3, StallTimeout: 200 * time.Millisecond, LaunchTimeout: 5 * time.Second,
		MinBackoff: time.Millisecond, MaxBackoff: 10 * time.Millisecond, Policy: Policy{Attempts: 4, Timeout: 20 * time.Second},
	})
	stop := make(chan struct{})
	var killers sync.WaitGroup
	killers.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Duration(5+draw(20)) * time.Millisecond):
			}
			signal := []syscall.Signal{syscall.SIGKILL, syscall.SIGSTOP, syscall.SIGTERM}[draw(3)]
			hurt(p, draw(100), signal)
		}
	})
	var pages, failures atomic.Int64
	var wg sync.WaitGroup
	for g := range 16 {
		wg.Go(func() {
			for i := range testkit.Size(25, 100, 3000) {
				j := &all[(g+i)%len(all)]
				got, err := p.Redo(context.Background(), nil, j.req)
				switch {
				case err == nil && string(got) == string(j.want):
					pages.Add(1)
				case err == nil:
					t.Errorf("a wrong page for %s", j.name)
				case errors.Is(err, ErrProcess), errors.Is(err, ErrLaunch), errors.Is(err, ErrTimeout):
					failures.Add(1)
				default:
					t.Errorf("%s: %v", j.name, err)
				}
			}
		})
	}
	wg.Wait()
	close(stop)
	killers.Wait()
	m := p.Metrics()
	t.Logf("%d pages, %d failures; %+v", pages.Load(), failures.Load(), m)
	require.Positive(t, pages.Load())
	require.Positive(t, m.Crashes)
	require.LessOrEqual(t, m.Crashes+m.Stalls+m.Nonsense+m.Processes, m.Launches, "a process ends once")

	over.Store(true)
	hurtAll(p, syscall.SIGKILL)
	patient := p.With(Policy{Attempts: 20})
	for i := range 50 {
		all[i%len(all)].run(t, patient)
	}
	launches := p.Metrics().Launches
	for i := range 50 {
		all[i%len(all)].run(t, p.With(Policy{Attempts: 1}))
	}
	require.Equal(t, launches, p.Metrics().Launches, "no process is replaced any more")
}

// running gives the processes that may be given requests.
func running(p *Pool) (all []*process) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, g := range p.mu.groups {
		g.mu.Lock()
		all = append(all, g.mu.ready...)
		g.mu.Unlock()
	}
	return all
}

// hurt sends a signal to one process, if there is any.
func hurt(p *Pool, n int, s syscall.Signal) {
	if all := running(p); len(all) > 0 {
		signal(all[n%len(all)], s)
	}
}

func hurtAll(p *Pool, s syscall.Signal) {
	for _, q := range running(p) {
		signal(q, s)
	}
}

func signal(q *process, s syscall.Signal) {
	q.life.Lock()
	defer q.life.Unlock()
	if !q.life.reaped {
		_ = syscall.Kill(q.pid, s)
	}
}

// TestEachMisbehaviour shows for each kind of trouble alone that the one request at it is charged, and what the
// error says.
func TestEachMisbehaviour(t *testing.T) {
	all := jobs(t)
	for how, want := range map[string]string{
		"dies":          "I die now",
		"killed":        "signal: killed",
		"stops":         "answers nothing any more",
		"garbles":       "answered",
		"zeros":         "answered",
		"answers-early": "answered",
	} {
		t.Run(how, func(t *testing.T) {
			stall := time.Minute // a slow machine is no fault
			if how == "stops" {
				stall = 100 * time.Millisecond
			}
			p := open(t, Options{
				Worker: behaving(how, 1), StallTimeout: stall, Policy: Policy{Attempts: 2},
				MinBackoff: time.Millisecond, MaxBackoff: time.Millisecond,
			})
			_, err := p.Redo(context.Background(), nil, all[0].req)
			if how == "garbles" { // the ping's answer is the first
				require.Error(t, err)
				require.NotErrorIs(t, err, ErrTimeout)
				return
			}
			require.ErrorIs(t, err, ErrProcess)
			require.ErrorContains(t, err, want)
			require.EqualValues(t, 2, p.Metrics().Launches, "one for each attempt")
		})
	}
}

// TestStoppedProcess shows that callers behind a process that was stopped get their pages from another one.
func TestStoppedProcess(t *testing.T) {
	all := jobs(t)
	p := open(t, Options{Worker: behaving("well", 0), StallTimeout: 2 * time.Second})
	all[0].run(t, p)
	hurtAll(p, syscall.SIGSTOP)
	var wg sync.WaitGroup
	for g := range 30 {
		wg.Go(func() {
			j := &all[g%len(all)]
			got, err := p.Redo(context.Background(), nil, j.req)
			if err != nil || string(got) != string(j.want) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	m := p.Metrics()
	require.EqualValues(t, 1, m.Stalls)
	require.EqualValues(t, 2, m.Launches)
	require.EqualValues(t, 1, m.Retries, "one request was at fault, as far as we can know")
}
