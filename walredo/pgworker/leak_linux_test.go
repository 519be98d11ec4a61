package pgworker_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/walredo/pgworker"
	"github.com/stratapg/strata/walredo/pool"
	"github.com/stratapg/strata/walredo/walredotest/processes"
)

// children lists the processes, zombies too, that this one is the parent of.
func children(t *testing.T) (pids []int) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	require.NoError(t, err)
	for _, name := range stats {
		b, err := os.ReadFile(name)
		if err != nil {
			continue // it ended
		}
		rest := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
		if rest[1] == strconv.Itoa(os.Getpid()) {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name)))
			require.NoError(t, err)
			pids = append(pids, pid)
		}
	}
	return pids
}

// segmentsOf counts the System V shared memory segments that one of these processes made.
func segmentsOf(t *testing.T, pids map[int]bool) (n int) {
	b, err := os.ReadFile("/proc/sysvipc/shm")
	require.NoError(t, err)
	for _, line := range strings.Split(strings.TrimSpace(string(b)), "\n")[1:] {
		const creator = 4
		pid, err := strconv.Atoi(strings.Fields(line)[creator])
		require.NoError(t, err)
		if pids[pid] {
			n++
		}
	}
	return n
}

// The wall is up before the first answer: the kernel says so. That it holds each worker shows itself by a child that
// has to die of opening a file.
func TestSandbox(t *testing.T) {
	p := openPool(t, nil)
	require.NoError(t, p.Ping(t.Context(), kind))
	pids := children(t)
	require.Len(t, pids, 1)
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pids[0]))
	require.NoError(t, err)
	require.Regexp(t, regexp.MustCompile(`(?m)^Seccomp:\t2$`), string(status))
	require.Regexp(t, regexp.MustCompile(`(?m)^NoNewPrivs:\t1$`), string(status))
	require.NotRegexp(t, regexp.MustCompile(`(?m)^Uid:\t0\t`), string(status))
}

// Workers that are killed leave nothing: no process, no shared memory; and the next takes the same data directory. They are killed
// when they have started: before, a child may live in this process's memory (vfork), and what shared memory a server has made
// is removed by the next one in its data directory.
func TestNothingIsLeft(t *testing.T) {
	server := processes.PGServer(t, pg.V15)
	exe, err := os.Executable()
	require.NoError(t, err)
	const lanes = 2
	var starting sync.RWMutex // for who kills, none of the children is
	pids := map[int]bool{}
	var wg sync.WaitGroup
	rounds := testkit.Size(10, 40, 1000)
	for lane := range lanes {
		wg.Go(func() {
			for n := lane; n < rounds && !t.Failed(); n += lanes {
				starting.RLock()
				p, err := pool.New(pool.Options{Worker: pgworker.Worker(exe, server)})
				if err == nil {
					err = p.Ping(t.Context(), kind)
				}
				starting.RUnlock()
				if err != nil {
					t.Error(err)
					return
				}
				starting.Lock()
				for _, pid := range children(t) {
					pids[pid] = true
					if n%3 == 0 {
						_ = syscall.Kill(pid, syscall.SIGKILL)
					}
				}
				starting.Unlock()
				if err := p.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	require.Empty(t, children(t))
	require.GreaterOrEqual(t, len(pids), rounds/2)
	require.Zero(t, segmentsOf(t, pids))
	dirs, err := filepath.Glob(filepath.Join(server.Scratch, "pg15-*.lock"))
	require.NoError(t, err)
	require.LessOrEqual(t, len(dirs), lanes)
}
