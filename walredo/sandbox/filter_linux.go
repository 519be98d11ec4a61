//go:build linux && (amd64 || arm64)

package sandbox

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// always are the system calls that reading, writing and Go's runtime need, whatever their arguments.
var always = []uint32{
	unix.SYS_READ, unix.SYS_WRITE, unix.SYS_READV, unix.SYS_WRITEV, unix.SYS_CLOSE,
	unix.SYS_EXIT, unix.SYS_EXIT_GROUP,
	unix.SYS_FUTEX, unix.SYS_SCHED_YIELD, unix.SYS_NANOSLEEP, unix.SYS_CLOCK_GETTIME, unix.SYS_CLOCK_NANOSLEEP,
	unix.SYS_BRK, unix.SYS_MUNMAP, unix.SYS_MADVISE, unix.SYS_MINCORE,
	unix.SYS_RT_SIGACTION, unix.SYS_RT_SIGPROCMASK, unix.SYS_RT_SIGRETURN, unix.SYS_SIGALTSTACK,
	unix.SYS_GETPID, unix.SYS_GETTID, unix.SYS_GETRANDOM, unix.SYS_SCHED_GETAFFINITY,
	unix.SYS_EPOLL_PWAIT, unix.SYS_EPOLL_CTL, unix.SYS_EPOLL_CREATE1, unix.SYS_EVENTFD2,
	unix.SYS_SET_ROBUST_LIST, unix.SYS_RSEQ, unix.SYS_RESTART_SYSCALL,
}

// Offsets in struct seccomp_data (linux/seccomp.h), of arguments by their lower half on little-endian machines.
const (
	offNr   = 0
	offArch = 4
	offArgs = 16
	argSize = 8
)

// The clone flags that mean a thread of this process, and those of a new namespace, which must not be there.
const (
	threadFlags = unix.CLONE_VM | unix.CLONE_THREAD | unix.CLONE_SIGHAND
	x32Bit      = 0x40000000
)

// program is a filter in the making.
type program []unix.SockFilter

func (p *program) op(code uint16, k uint32) { *p = append(*p, unix.SockFilter{Code: code, K: k}) }

func (p *program) jump(code uint16, k uint32, yes, no uint8) {
	*p = append(*p, unix.SockFilter{Code: code, Jt: yes, Jf: no, K: k})
}

const (
	load    = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
	equals  = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
	atLeast = unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K
	anyBit  = unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K
	masked  = unix.BPF_ALU | unix.BPF_AND | unix.BPF_K
	ret     = unix.BPF_RET | unix.BPF_K
)

func (p *program) kill()  { p.op(ret, unix.SECCOMP_RET_KILL_PROCESS) }
func (p *program) allow() { p.op(ret, unix.SECCOMP_RET_ALLOW) }

// only runs body for one system call, and kills where body does not allow. The number is loaded before.
func (p *program) only(nr uint32, body func(*program)) {
	var b program
	body(&b)
	b.kill()
	p.jump(equals, nr, 0, uint8(len(b)))
	*p = append(*p, b...)
}

// arg loads the lower half of an argument.
func (p *program) arg(n uint32) { p.op(load, offArgs+n*argSize) }

// allowIf allows if the bits of the loaded word under mask are exactly want.
func (p *program) allowIf(mask, want uint32) {
	p.op(masked, mask)
	p.jump(equals, want, 0, 1)
	p.allow()
}

// filter makes the program for a process of this number.
func filter(pid int) []unix.SockFilter {
	var p program
	p.op(load, offArch)
	p.jump(equals, auditArch, 1, 0)
	p.kill()
	p.op(load, offNr)
	p.jump(atLeast, x32Bit, 0, 1)
	p.kill()
	for _, nr := range always {
		p.jump(equals, nr, 0, 1)
		p.allow()
	}
	// Memory: never executable, never a file's.
	p.only(unix.SYS_MMAP, func(b *program) {
		b.arg(2)
		b.jump(anyBit, unix.PROT_EXEC, 0, 1)
		b.kill()
		b.arg(3)
		b.allowIf(unix.MAP_ANONYMOUS, unix.MAP_ANONYMOUS)
	})
	p.only(unix.SYS_MPROTECT, func(b *program) {
		b.arg(2)
		b.allowIf(unix.PROT_EXEC, 0)
	})
	// Threads, but no processes. The flags of clone3 lie in memory, where a filter cannot see them: libc falls back
	// to clone when it is not there.
	p.only(unix.SYS_CLONE, func(b *program) {
		b.arg(0)
		b.allowIf(threadFlags, threadFlags)
	})
	p.jump(equals, unix.SYS_CLONE3, 0, 1)
	p.op(ret, unix.SECCOMP_RET_ERRNO|uint32(unix.ENOSYS))
	// Signals to itself: how the runtime preempts, and how abort ends.
	p.only(unix.SYS_TGKILL, func(b *program) {
		b.arg(0)
		b.allowIf(^uint32(0), uint32(pid))
	})
	// The runtime names its memory.
	p.only(unix.SYS_PRCTL, func(b *program) {
		b.arg(0)
		b.allowIf(^uint32(0), unix.PR_SET_VMA)
	})
	// What asks about the three pipes.
	p.only(unix.SYS_FCNTL, func(b *program) {
		b.arg(1)
		b.allowIf(^uint32(0), unix.F_GETFL)
	})
	p.kill()
	return p
}

// seccomp puts the filter on all threads.
func seccomp() error {
	f := filter(unix.Getpid())
	prog := unix.SockFprog{Len: uint16(len(f)), Filter: &f[0]}
	r, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC,
		uintptr(unsafe.Pointer(&prog)))
	switch errno {
	case 0:
	case unix.ENOSYS, unix.EINVAL:
		return fmt.Errorf("%w: %w", ErrUnavailable, errno)
	default:
		return errno
	}
	if r != 0 {
		return unix.EBUSY // a thread has a filter of its own
	}
	return nil
}
