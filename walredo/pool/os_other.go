//go:build !linux

package pool

import (
	"errors"
	"syscall"
)

// attributes put the child into a process group of its own. That it dies with us is left to its input's end.
func attributes(u *User) *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Setpgid: true}
	if u != nil {
		a.Credential = &syscall.Credential{Uid: u.UID, Gid: u.GID}
	}
	return a
}

func killGroup(pid int) { _ = syscall.Kill(-pid, syscall.SIGKILL) }

// await returns when the process has ended.
func (p *process) await() {
	p.state, _ = p.os.Wait()
	p.life.Lock()
	defer p.life.Unlock()
	p.life.reaped = true
	killGroup(p.pid)
}

func widen(syscall.RawConn) {}

func again(err error) bool { return errors.Is(err, syscall.EAGAIN) }

func writeNow(fd int, bufs [][]byte) (int, error) {
	n, err := syscall.Write(fd, bufs[0])
	return max(n, 0), err
}

func readNow(fd int, bufs [][]byte) (int, error) {
	n, err := syscall.Read(fd, bufs[0])
	return max(n, 0), err
}
