package virtualfile

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// probeWaits and probeRounds bound the wait for an answer that is there at once where io_uring works.
	probeWaits  = 100 * time.Millisecond
	probeRounds = 50
)

var (
	errURingOff = errors.New("io_uring is switched off by " + uringSwitch)
	// errNoAnswer says that a ring was made, but does not work.
	errNoAnswer = errors.New("io_uring: no answer, or a wrong one")
)

// openURing makes the engine if io_uring does what is needed of it here.
func openURing(log *slog.Logger) (engine, error) {
	if uringOff() {
		return nil, errURingOff
	}
	u, err := newURing(log)
	if err != nil {
		return nil, err
	}
	if err := u.ring.probe(); err != nil {
		return nil, errors.Join(err, u.close())
	}
	return u, nil
}

// probe does nothing, and reads from a pipe: kernels and filters may allow a ring and refuse its operations.
func (r *ring) probe() (err error) {
	if n, err := r.try(sqe{op: opNop}); n != 0 || err != nil {
		return fmt.Errorf("%w: %d to nothing asked (%v)", errNoAnswer, n, err)
	}
	out, in, err := os.Pipe()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close(), in.Close()) }()
	const said = 0x5a
	if _, err := in.Write([]byte{said}); err != nil {
		return err
	}
	raw, err := out.SyscallConn()
	if err != nil {
		return err
	}
	b, err := unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return err
	}
	var n int32
	if e := raw.Control(func(fd uintptr) {
		n, err = r.try(sqe{op: opRead, fd: int32(fd), addr: uint64(uintptr(unsafe.Pointer(&b[0]))), len: 1})
	}); e != nil {
		return e
	}
	if err == nil && (n != 1 || b[0] != said) {
		err = fmt.Errorf("%w: %d to a read", errNoAnswer, n)
	}
	if err == nil { // else the kernel may still write there
		err = unix.Munmap(b)
	}
	return err
}

// try submits one operation on an idle ring and waits for its result.
func (r *ring) try(what sqe) (int32, error) {
	e := r.prepare()
	*e = what
	n := r.publish()
	var done [1]cqe
	for range probeRounds {
		if err := r.wait(n, probeWaits); err != nil {
			return 0, err
		}
		if r.reap(done[:]) == 1 {
			if res := done[0].res; res < 0 {
				return 0, os.NewSyscallError("io_uring", unix.Errno(-res))
			}
			return done[0].res, nil
		}
		n = r.publish()
	}
	return 0, errNoAnswer
}
