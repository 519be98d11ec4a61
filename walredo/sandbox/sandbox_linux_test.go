package sandbox

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/walredo"
	"github.com/stratapg/strata/walredo/native"
	"github.com/stratapg/strata/walredo/wire"
	"github.com/stratapg/strata/walredo/worker"
)

// inside makes this test binary enter the sandbox and do what the next argument says.
const inside = "inside-the-sandbox-for-tests"

func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == inside {
		if err := Cleanse(); err != nil {
			fmt.Println(err)
			os.Exit(2)
		}
		more := uint64(1 << 30) // threads that the runtime may still start have stacks of 8 MiB
		if os.Args[2] == "memory" {
			more = 128 << 20 // little enough to be used up
		}
		state, err := Enter(Limits{Processors: 2, Memory: dataSize() + more})
		if err != nil {
			fmt.Println(err)
			os.Exit(2)
		}
		fmt.Fprintf(os.Stderr, "landlock: %s\n", state.Landlock)
		do := deeds[os.Args[2]]
		fmt.Fprintln(os.Stderr, "result:", do())
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// dataSize gives the private memory that this process has mapped already, which is a lot under the race
// detector.
func dataSize() uint64 {
	status, err := os.ReadFile("/proc/self/status")
	_, rest, _ := strings.Cut(string(status), "VmData:")
	var kib uint64
	if _, serr := fmt.Sscan(rest, &kib); err != nil || serr != nil {
		panic("no VmData in /proc/self/status")
	}
	return kib << 10
}

// deeds are what a worker might be made to do.
var deeds = map[string]func() error{
	"open":          func() error { _, err := os.Open("/etc/passwd"); return err },
	"create":        func() error { return os.WriteFile("/tmp/strata-sandbox-test", nil, 0o600) },
	"open-raw":      func() error { _, err := unix.Open("/dev/null", unix.O_RDONLY, 0); return err },
	"socket":        func() error { _, err := net.Dial("tcp", "127.0.0.1:1"); return err },
	"socket-raw":    func() error { _, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0); return err },
	"fork":          func() error { _, _, e := syscall.RawSyscall(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0); return e },
	"exec":          func() error { return unix.Exec("/bin/true", []string{"true"}, nil) },
	"start":         func() error { return exec.Command("/bin/true").Start() },
	"kill-parent":   func() error { return unix.Kill(1, 0) },
	"signal-parent": func() error { return unix.Tgkill(1, 1, 0) },
	"ptrace":        func() error { return unix.PtraceAttach(1) },
	"executable": func() error {
		_, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_EXEC, unix.MAP_ANON|unix.MAP_PRIVATE)
		return err
	},
	"make-executable": func() error {
		b, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
		if err != nil {
			return err
		}
		return unix.Mprotect(b, unix.PROT_READ|unix.PROT_EXEC)
	},
	"map-file":    func() error { _, err := unix.Mmap(0, 0, 4096, unix.PROT_READ, unix.MAP_PRIVATE); return err },
	"more-core":   func() error { return unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{Cur: 0, Max: 0}) },
	"other-prctl": func() error { return unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0) },
	"other-thread": func() error {
		done := make(chan error)
		go func() { _, err := os.Open("/etc/passwd"); done <- err }()
		return <-done
	},
	"memory": func() error {
		debug.SetGCPercent(-1)
		var all [][]byte
		for range 64 {
			b := make([]byte, 16<<20)
			for i := 0; i < len(b); i += 4096 {
				b[i] = 1
			}
			all = append(all, b)
		}
		return fmt.Errorf("%d blocks of 16 MiB", len(all))
	},
	"work": work,
	"serve": func() error {
		return worker.Serve(context.Background(), os.Stdin, os.Stdout, worker.Options{
			Kind: walredo.Kind{Version: pg.V14, Flavour: pg.Neon}, Redoer: native.New(),
		})
	},
}

// work is what Go's runtime does in a busy program: threads, collections, growing stacks, timers.
func work() error {
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			for range 20 {
				_ = bytes.Repeat([]byte{1}, 1<<20)
				runtime.Gosched()
			}
		})
	}
	for range 20 {
		wg.Go(func() { runtime.LockOSThread(); runtime.GC() })
	}
	wg.Wait()
	debug.FreeOSMemory()
	return nil
}

func run(t *testing.T, deed string, stdin io.Reader) (stdout, stderr string, state *os.ProcessState) {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(exe, inside, deed)
	cmd.Env = []string{}
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &out, &errs
	_ = cmd.Run()
	return out.String(), errs.String(), cmd.ProcessState
}

// TestForbidden shows that each thing that a worker has no use for ends the process at once.
func TestForbidden(t *testing.T) {
	for deed := range deeds {
		if deed == "work" || deed == "serve" || deed == "memory" {
			continue
		}
		t.Run(deed, func(t *testing.T) {
			out, errs, state := run(t, deed, nil)
			status := state.Sys().(syscall.WaitStatus)
			require.True(t, status.Signaled(), "%s%s", out, errs)
			require.Equal(t, unix.SIGSYS, status.Signal(), "%s%s", out, errs)
			require.False(t, status.CoreDump())
			require.NotContains(t, errs, "result:")
		})
	}
}

func TestMemoryLimit(t *testing.T) {
	_, errs, state := run(t, "memory", nil)
	require.False(t, state.Success())
	require.NotContains(t, errs, "result:")
	require.Regexp(t, "out of memory|failed to allocate", errs)
}

func TestAllowed(t *testing.T) {
	_, errs, state := run(t, "work", nil)
	require.True(t, state.Success(), errs)
	require.Contains(t, errs, "result: <nil>")
	t.Log(strings.SplitN(errs, "\n", 2)[0])

	out, errs, state := run(t, "serve", bytes.NewReader(bytes.Repeat(wire.AppendPing(nil), 1000)))
	require.True(t, state.Success(), errs)
	require.Len(t, out, 1000*wire.AnswerSize)
}
