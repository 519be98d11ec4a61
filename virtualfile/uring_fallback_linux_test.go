package virtualfile

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/stratapg/strata/internal/testkit"
)

// TestEngineSwitchedOff shows who is told when io_uring is forbidden, and that reads and writes go on.
func TestEngineSwitchedOff(t *testing.T) {
	t.Setenv(uringSwitch, "off")
	for _, c := range []struct {
		asked EngineKind
		warns bool
	}{{EngineDefault, false}, {EngineURing, true}, {EngineStd, false}} {
		var said bytes.Buffer
		var told []error
		d := newDisk(t, NewOS(), DiskOptions{Engine: c.asked, Logger: slog.New(slog.NewTextHandler(&said, nil)),
			Fallback: func(err error) { told = append(told, err) }})
		if c.asked == EngineStd {
			require.Empty(t, told)
		} else {
			require.Len(t, told, 1)
			require.ErrorIs(t, told[0], errURingOff)
		}
		require.Equal(t, EngineStd, d.Metrics().Engine)
		require.Equal(t, c.warns, bytes.Contains(said.Bytes(), []byte("level=WARN")), said.String())
		if c.warns {
			require.Contains(t, said.String(), uringSwitch)
		}
		h := writeFile(t, d, filepath.Join(t.TempDir(), "a"), 1, 8192)
		require.Equal(t, marked(1, 0, 8192), read(t, h, 0, 8192))
		require.NoError(t, h.Close())
	}
}

// sandboxed is the variable by which a test finds that it runs in a process of its own, and in which sandbox.
const sandboxed = "STRATA_TEST_SANDBOX"

// TestEngineForbidden runs in processes to which the kernel really forbids io_uring: from the start, in its
// second step only, and while reads are under way.
func TestEngineForbidden(t *testing.T) {
	if how := os.Getenv(sandboxed); how != "" {
		inSandbox(t, how)
		return
	}
	_, _ = uringDisk(t, NewOS(), DiskOptions{}) // skips where there is nothing to forbid
	for _, how := range []string{"setup", "enter", "later"} {
		t.Run(how, func(t *testing.T) {
			exe, err := os.Executable()
			require.NoError(t, err)
			cmd := exec.CommandContext(t.Context(), exe, "-test.run=^TestEngineForbidden$", "-test.v")
			cmd.Env = append(os.Environ(), sandboxed+"="+how)
			out, err := cmd.CombinedOutput()
			if bytes.Contains(out, []byte(noSandbox)) {
				testkit.Skip(t, noSandbox)
			}
			require.NoError(t, err, "%s", out)
			require.Contains(t, string(out), "--- PASS: TestEngineForbidden")
		})
	}
}

// noSandbox is said where the kernel has no filters.
const noSandbox = "system calls cannot be forbidden here"

func inSandbox(t *testing.T, how string) {
	var said bytes.Buffer
	o := DiskOptions{Engine: EngineURing, Logger: slog.New(slog.NewTextHandler(&said, nil))}
	switch how {
	case "setup":
		forbid(t, unix.SYS_IO_URING_SETUP)
	case "enter":
		forbid(t, unix.SYS_IO_URING_ENTER)
	}
	d := newDisk(t, NewOS(), o)
	h := writeFile(t, d, filepath.Join(t.TempDir(), "a"), 1, 1<<20)
	defer func() { require.NoError(t, h.Close()) }()
	if how == "later" {
		require.Equal(t, EngineURing, d.Metrics().Engine)
		forbid(t, unix.SYS_IO_URING_ENTER)
	} else {
		require.Equal(t, EngineStd, d.Metrics().Engine)
	}
	reads := make([]Read, 300)
	for range 3 {
		for i := range reads {
			reads[i] = Read{File: h, Off: int64(i%256) * 4096, Buf: d.Buffers().Get(4096), Len: 4096}
		}
		require.NoError(t, d.ReadMulti(context.Background(), reads))
		for _, r := range reads {
			require.NoError(t, r.Err)
			require.Equal(t, marked(1, int(r.Off), 4096), r.Buf.Bytes()[:r.N])
			r.Buf.Release()
		}
	}
	require.Contains(t, said.String(), "level=WARN")
	require.Contains(t, said.String(), "operation not permitted")
}

// forbid has the kernel answer EPERM to a system call, to all threads of this process, for good.
func forbid(t *testing.T, call uint32) {
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // the call's number
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: call, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
	if err == nil {
		_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC,
			uintptr(unsafe.Pointer(&prog)))
		runtime.KeepAlive(filter)
		if errno == 0 {
			return
		}
	}
	t.Fatal(noSandbox)
}
