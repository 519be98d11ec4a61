package pgworker

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Run makes this process the worker: it becomes the server. It returns only with an error. Stdin and stdout are
// those of the protocol.
func Run(o Options) error {
	if err := o.Validate(); err != nil {
		return fmt.Errorf("pgworker: %w", err)
	}
	s, err := o.Server.of(o.Version)
	if err != nil {
		return err
	}
	o.Server = s
	// What follows is about one thread's credentials, and the signal that ends it with its parent.
	runtime.LockOSThread()
	if err := os.MkdirAll(o.Scratch, 0o700); err != nil {
		return fmt.Errorf("pgworker: %w", err)
	}
	if err := o.stepDown(); err != nil {
		return fmt.Errorf("pgworker: %w", err)
	}
	data, err := o.dataDir()
	if err != nil {
		return fmt.Errorf("pgworker: %w", err)
	}
	if err := o.limit(); err != nil {
		return fmt.Errorf("pgworker: %w", err)
	}
	program := filepath.Join(o.Bin, "postgres")
	return fmt.Errorf("pgworker: starting %s: %w", program, unix.Exec(program, o.command(program, data), environment))
}

// environment is all that the server gets: what a locale or a time zone would be is read from files.
var environment = []string{"LC_ALL=C", "TZ=UTC", "PGTZ=UTC"}

// buffers is how many pages the server keeps: a record names up to 33 blocks, and maps go with them.
const buffers = 64

// command is the server's command line. What it makes outside of its data directory and would leave when it is killed is
// made inside of it.
func (o *Options) command(program, data string) []string {
	on := map[bool]string{false: "off", true: "on"}
	args := []string{program, "--single", "-D", data, "-F"}
	for _, setting := range []string{
		"session_preload_libraries=" + o.Extension,
		"strata_redo.report_failures=" + on[o.ReportFailures],
		"wal_log_hints=" + on[o.Checksums], // with data checksums, redo does the same
		"shared_buffers=" + strconv.Itoa(buffers),
		"dynamic_shared_memory_type=mmap",
		"huge_pages=off",
		"log_min_messages=fatal",
		"log_destination=stderr",
		"logging_collector=off",
		"max_connections=1",
		"max_worker_processes=0",
		"max_wal_senders=0",
		"wal_level=minimal",
		"jit=off",
		"track_counts=off",
	} {
		args = append(args, "-c", setting)
	}
	return append(args, "postgres")
}

// stepDown makes a root process one of Options.User, who gets the scratch folder.
func (o *Options) stepDown() error {
	if os.Geteuid() != 0 {
		return nil
	}
	u, err := user.Lookup(o.User)
	if err != nil {
		return fmt.Errorf("servers refuse root, and there is no other account to run as (--user): %w", err)
	}
	uid, err1 := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	if uid == 0 {
		return fmt.Errorf("servers refuse root, as whom %s would run them (--user)", o.User)
	}
	if err := os.Chown(o.Scratch, uid, gid); err != nil {
		return err
	}
	parent := os.Getppid()
	if err := errors.Join(syscall.Setgroups(nil), syscall.Setgid(gid), syscall.Setuid(uid)); err != nil {
		return fmt.Errorf("becoming %s: %w", o.User, err)
	}
	// Another account is another life for the kernel, which forgets who it should end with.
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("prctl: %w", err)
	}
	if os.Getppid() != parent {
		return errors.New("the parent is gone")
	}
	return nil
}

// limit bounds what the server may use. Cores and growth of files it forbids itself.
func (o *Options) limit() error {
	const mib = 1 << 20
	for _, x := range []struct {
		name     string
		resource int
		value    uint64
	}{
		{"RLIMIT_DATA", unix.RLIMIT_DATA, o.MemoryMiB * mib},
		{"RLIMIT_CPU", unix.RLIMIT_CPU, uint64(o.CPU / time.Second)},
		{"RLIMIT_CORE", unix.RLIMIT_CORE, 0},
	} {
		var now unix.Rlimit
		if err := unix.Getrlimit(x.resource, &now); err != nil {
			return fmt.Errorf("%s: %w", x.name, err)
		}
		v := min(x.value, now.Max)
		if err := unix.Setrlimit(x.resource, &unix.Rlimit{Cur: v, Max: v}); err != nil {
			return fmt.Errorf("%s to %d: %w", x.name, v, err)
		}
	}
	return nil
}

// copyFile copies a small file.
func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
