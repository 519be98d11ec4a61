package pool

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// attributes put the child into a process group of its own and let it die with us.
func attributes(u *User) *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if u != nil {
		a.Credential = &syscall.Credential{Uid: u.UID, Gid: u.GID}
	}
	return a
}

// killGroup kills all processes of a child's group. The child must not have been waited for.
func killGroup(pid int) { _ = unix.Kill(-pid, unix.SIGKILL) }

// await returns when the process has ended. Its group is killed while the zombie still keeps the number from
// others.
func (p *process) await() {
	for unix.Waitid(unix.P_PID, p.pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
	}
	p.life.Lock()
	defer p.life.Unlock()
	killGroup(p.pid)
	p.state, _ = p.os.Wait()
	p.life.reaped = true
}

// pipeSize is what we ask for; a pipe of the default size holds eight pages.
const pipeSize = 256 << 10

// widen makes a pipe larger. The kernel may refuse, which costs speed alone.
func widen(c syscall.RawConn) {
	_ = c.Control(func(fd uintptr) { _, _ = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, pipeSize) })
}

// again says that the call would have had to wait.
func again(err error) bool { return errors.Is(err, unix.EAGAIN) }

// writeNow writes what goes without waiting.
func writeNow(fd int, bufs [][]byte) (n int, err error) {
	for {
		if len(bufs) == 1 {
			n, err = unix.Write(fd, bufs[0])
		} else {
			n, err = unix.Writev(fd, bufs)
		}
		if err != unix.EINTR {
			return max(n, 0), err
		}
	}
}

// readNow reads what there is without waiting.
func readNow(fd int, bufs [][]byte) (n int, err error) {
	for {
		if len(bufs) == 1 {
			n, err = unix.Read(fd, bufs[0])
		} else {
			n, err = unix.Readv(fd, bufs)
		}
		if err != unix.EINTR {
			return max(n, 0), err
		}
	}
}
