package pool

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/stratapg/strata/walredo"
)

// children lists the processes, zombies too, that this one is the parent of.
func children(t testing.TB) (pids []int) {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	require.NoError(t, err)
	for _, name := range stats {
		b, err := os.ReadFile(name)
		if err != nil {
			continue // it ended
		}
		// pid (comm) state ppid …, and comm may hold anything
		rest := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
		if rest[1] == strconv.Itoa(os.Getpid()) {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name)))
			require.NoError(t, err)
			pids = append(pids, pid)
		}
	}
	return pids
}

func descriptors(t testing.TB) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return len(all)
}

// TestNothingIsLeft launches, kills and cancels a thousand times, and looks for processes, zombies, descriptors and
// goroutines afterwards.
func TestNothingIsLeft(t *testing.T) {
	all := jobs(t)
	// Whatever the runtime opens for itself is open after one round.
	round(t, all, 0)
	before, goroutines := descriptors(t), goleak.IgnoreCurrent()
	const rounds, lanes = 1000, 4
	var wg sync.WaitGroup
	for lane := range lanes {
		wg.Go(func() {
			for n := lane; n < rounds && !t.Failed(); n += lanes {
				round(t, all, n)
			}
		})
	}
	wg.Wait()
	require.Empty(t, children(t))
	require.Equal(t, before, descriptors(t))
	goleak.VerifyNone(t, goroutines)
}

// round is the life of a pool with at least one launch.
func round(t *testing.T, all []job, n int) {
	sleeper := Worker{Command: func(walredo.Kind) (Command, error) { return Command{Path: "/bin/sleep", Args: []string{"1000"}}, nil }}
	o := Options{Policy: Policy{Attempts: 1}, LaunchTimeout: 20 * time.Second}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	switch n % 8 {
	case 0: // a process that works, killed from outside
		o.Worker = behaving("well", 0)
	case 1: // a program that ends at once
		o.Worker = Worker{Command: func(walredo.Kind) (Command, error) { return Command{Path: "/bin/true"}, nil }}
	case 2: // no program
		o.Worker = Worker{Command: func(walredo.Kind) (Command, error) { return Command{Path: "/no/such/program"}, nil }}
	case 3: // a launch that ends by its timeout
		o.Worker, o.LaunchTimeout = sleeper, time.Millisecond
	case 4: // a launch that the pool's end interrupts
		o.Worker = sleeper
	case 5: // a caller that goes away during the launch
		o.Worker = sleeper
		time.AfterFunc(time.Millisecond, cancel)
	case 6: // more than one program
		o.Worker = Worker{Command: func(walredo.Kind) (Command, error) {
			return Command{Path: "/bin/sh", Args: []string{"-c", "sleep 1000 & sleep 1000 & exit 1"}}, nil
		}}
	case 7: // a process that dies at a request
		o.Worker = Worker{Command: func(walredo.Kind) (Command, error) {
			return Command{Path: "/bin/sh", Args: []string{"-c", "head -c 5 >/dev/null; head -c 8192 /dev/zero; head -c 100 >/dev/null; echo no >&2; kill -9 $$"}}, nil
		}}
	}
	p, err := New(o)
	if err != nil {
		t.Error(err)
		return
	}
	if n%8 == 4 {
		time.AfterFunc(time.Duration(n%3)*time.Millisecond, func() { _ = p.Close() })
	}
	got, err := p.Redo(ctx, nil, all[0].req)
	if (err == nil) != (n%8 == 0) || err == nil && string(got) != string(all[0].want) {
		t.Errorf("round %d: %v", n, err)
	}
	hurtAll(p, syscall.SIGKILL)
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if m := p.Metrics(); m.Processes+m.InFlight+m.HeldBytes != 0 {
		t.Errorf("round %d: %+v", n, m)
	}
}

// TestParentDies shows that the kernel ends the workers of a process that is killed itself, or that a panic of any of its
// goroutines ends.
func TestParentDies(t *testing.T) {
	for _, how := range []string{"killed", "panics"} {
		t.Run(how, func(t *testing.T) { parentDies(t, how) })
	}
}

func parentDies(t *testing.T, how string) {
	exe, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(exe, "-test.run=^TestActAsParent$", "-test.v")
	cmd.Env = append(os.Environ(), parentEnv+"="+how)
	var said bytes.Buffer
	cmd.Stderr = &said
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	var pid int
	for pid == 0 {
		line := make([]byte, 4096)
		n, err := out.Read(line)
		require.NoError(t, err)
		if _, rest, ok := strings.Cut(string(line[:n]), "worker is "); ok {
			_, err := fmt.Sscan(rest, &pid)
			require.NoError(t, err)
		}
	}
	require.NoError(t, syscall.Kill(pid, 0), "the worker lives")
	if how == "killed" {
		require.NoError(t, cmd.Process.Kill())
	}
	require.NoError(t, in.Close()) // and panics
	_ = cmd.Wait()
	require.Equal(t, how == "panics", strings.Contains(said.String(), parentPanic), said.String())
	// The worker was stopped: it cannot have seen the end of its input.
	require.Eventually(t, func() bool {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		return err != nil || strings.Contains(string(b), ") Z ")
	}, 30*time.Second, time.Millisecond)
}

const (
	parentEnv   = "STRATA_POOL_TEST_PARENT"
	parentPanic = "a goroutine of the parent breaks"
)

// TestActAsParent is the process that TestParentDies ends.
func TestActAsParent(t *testing.T) {
	how := os.Getenv(parentEnv)
	if how == "" {
		return
	}
	p := open(t, Options{Worker: behaving("well", 0)})
	require.NoError(t, p.Ping(context.Background(), testKind))
	hurtAll(p, syscall.SIGSTOP)
	go func() { // with a request under way
		_ = p.Ping(context.Background(), testKind)
	}()
	fmt.Printf("worker is %d\n", running(p)[0].pid)
	_, _ = io.ReadAll(os.Stdin)
	if how == "panics" {
		go panic(parentPanic)
	}
	select {}
}
