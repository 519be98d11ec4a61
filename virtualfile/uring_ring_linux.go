package virtualfile

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The kernel's interface: numbers from include/uapi/linux/io_uring.h.
const (
	setupCQSize    = 1 << 3
	setupClamp     = 1 << 4
	setupSubmitAll = 1 << 7
	setupNoSQArray = 1 << 16

	featSingleMmap = 1 << 0
	featNoDrop     = 1 << 1
	featExtArg     = 1 << 8
	featNeeded     = featSingleMmap | featNoDrop | featExtArg

	enterGetEvents = 1 << 0
	enterExtArg    = 1 << 3

	offRings = 0
	offSQEs  = 0x10000000
)

// Operations.
const (
	opNop         = 0
	opAsyncCancel = 14
	opRead        = 22
)

// sqe is a submission: what the kernel is asked to do.
type sqe struct {
	op       uint8
	flags    uint8
	ioprio   uint16
	fd       int32
	off      uint64
	addr     uint64
	len      uint32
	opFlags  uint32
	userData uint64
	_        [3]uint64
}

// cqe is a completion. res is a byte count, or an errno negated.
type cqe struct {
	userData uint64
	res      int32
	flags    uint32
}

// ringParams is struct io_uring_params, with its two tables of offsets.
type ringParams struct {
	sqEntries, cqEntries, flags, sqCPU, sqIdle, features, wq uint32
	_                                                        [3]uint32
	sq                                                       struct {
		head, tail, mask, entries, flags, dropped, array, _ uint32
		_                                                   uint64
	}
	cq struct {
		head, tail, mask, entries, overflow, cqes, flags, _ uint32
		_                                                   uint64
	}
}

// ring is one io_uring, without threads or locks of its own: prepare and publish belong to one goroutine at
// a time, wait and reap to one at a time, and the two may be different.
//
// Both queues lie in memory that is shared with the kernel. Each index has one writer. The side that fills
// entries publishes them by storing the tail with release order, the side that takes them frees them by
// storing the head with release order, and either loads the other's index with acquire order before it
// touches an entry. sync/atomic is sequentially consistent, which is at least as strong on every
// architecture, so plain loads and stores suffice for the entries themselves.
type ring struct {
	fd int

	sqHead, sqTail *atomic.Uint32
	sqMask         uint32
	sqes           []sqe
	tail           uint32 // of what was prepared; what lies behind *sqTail is not published

	cqHead, cqTail *atomic.Uint32
	cqMask         uint32
	cqes           []cqe

	queues, entries []byte // the two mappings
}

// getEventsArg is what enter passes with enterExtArg: how long to wait at most.
type getEventsArg struct {
	sigmask    uint64
	sigmaskLen uint32
	_          uint32
	timeout    *unix.Timespec
}

// errOldKernel says that io_uring lacks what is needed here.
var errOldKernel = errors.New("io_uring: the kernel is older than 5.11")

// newRing makes a ring for so many submissions at once and so many completions unreaped. Flags that the
// kernel does not know are left out: they only make it cheaper (no index table), or save a round
// (submissions after a faulty one are taken in the same call).
func newRing(entries, completions uint32) (*ring, error) {
	var p ringParams
	fd, errno := uintptr(0), unix.Errno(0)
	for _, f := range []uint32{setupSubmitAll | setupNoSQArray, setupSubmitAll, 0} {
		p = ringParams{flags: f | setupCQSize | setupClamp, cqEntries: completions}
		fd, _, errno = unix.Syscall(unix.SYS_IO_URING_SETUP, uintptr(entries), uintptr(unsafe.Pointer(&p)), 0)
		if !errors.Is(errno, unix.EINVAL) {
			break
		}
	}
	if errno != 0 {
		return nil, fmt.Errorf("io_uring_setup: %w", errno)
	}
	r := &ring{fd: int(fd)} // closed on exec by itself
	if p.features&featNeeded != featNeeded {
		return nil, errors.Join(errOldKernel, r.close())
	}
	if err := r.mapQueues(&p); err != nil {
		return nil, errors.Join(err, r.close())
	}
	return r, nil
}

func (r *ring) mapQueues(p *ringParams) (err error) {
	size := max(p.cq.cqes+p.cqEntries*uint32(unsafe.Sizeof(cqe{})), p.sq.array+p.sqEntries*4)
	const prot, flags = unix.PROT_READ | unix.PROT_WRITE, unix.MAP_SHARED | unix.MAP_POPULATE
	if r.queues, err = unix.Mmap(r.fd, offRings, int(size), prot, flags); err != nil {
		return fmt.Errorf("io_uring: mapping the queues: %w", err)
	}
	if r.entries, err = unix.Mmap(r.fd, offSQEs, int(p.sqEntries)*int(unsafe.Sizeof(sqe{})), prot, flags); err != nil {
		return fmt.Errorf("io_uring: mapping the submissions: %w", err)
	}
	r.sqHead, r.sqTail = r.word(p.sq.head), r.word(p.sq.tail)
	r.cqHead, r.cqTail = r.word(p.cq.head), r.word(p.cq.tail)
	r.sqMask, r.cqMask = p.sqEntries-1, p.cqEntries-1
	r.sqes = unsafe.Slice((*sqe)(unsafe.Pointer(&r.entries[0])), p.sqEntries)
	r.cqes = unsafe.Slice((*cqe)(unsafe.Pointer(&r.queues[p.cq.cqes])), p.cqEntries)
	if p.flags&setupNoSQArray == 0 {
		for i := range p.sqEntries { // entry i is always submission i
			r.word(p.sq.array + 4*i).Store(i)
		}
	}
	r.tail = r.sqTail.Load()
	return nil
}

// word is one of the shared indices.
func (r *ring) word(off uint32) *atomic.Uint32 {
	return (*atomic.Uint32)(unsafe.Pointer(&r.queues[off]))
}

// prepare gives a cleared submission to fill, or nil if the queue is full until the next submit.
func (r *ring) prepare() *sqe {
	if r.tail-r.sqHead.Load() > r.sqMask {
		return nil
	}
	s := &r.sqes[r.tail&r.sqMask]
	*s = sqe{}
	r.tail++
	return s
}

// publish lets the kernel see what was prepared, and counts what it has not taken yet.
func (r *ring) publish() uint32 {
	r.sqTail.Store(r.tail)
	return r.pending()
}

// pending counts what the kernel has not taken yet. It moves the count at the end of a call that submits.
func (r *ring) pending() uint32 { return r.tail - r.sqHead.Load() }

// takeBack withdraws what the kernel has not taken, and gives its userData. No submit or wait may succeed any
// more.
func (r *ring) takeBack() (ids []uint64) {
	head := r.sqHead.Load()
	for at := head; at != r.tail; at++ {
		ids = append(ids, r.sqes[at&r.sqMask].userData)
	}
	r.tail = head
	r.publish()
	return ids
}

// submit has the kernel take n published submissions. It may be called from several goroutines at once.
func (r *ring) submit(n uint32) error {
	_, _, errno := unix.Syscall6(unix.SYS_IO_URING_ENTER, uintptr(r.fd), uintptr(n), 0, 0, 0, 0)
	return enterError(errno)
}

// wait submits n and waits until there is a completion, for most at most. It may return earlier without any.
func (r *ring) wait(n uint32, most time.Duration) error {
	ts := unix.NsecToTimespec(int64(most))
	arg := getEventsArg{timeout: &ts}
	_, _, errno := unix.Syscall6(unix.SYS_IO_URING_ENTER, uintptr(r.fd), uintptr(n), 1, enterGetEvents|enterExtArg,
		uintptr(unsafe.Pointer(&arg)), unsafe.Sizeof(arg))
	return enterError(errno)
}

// enterError gives the errors that do not pass: not a signal, not the end of the wait, and not that the
// kernel is short of memory or keeps completions for a full queue, as then the same call helps later.
func enterError(errno unix.Errno) error {
	switch errno {
	case 0, unix.EINTR, unix.ETIME, unix.EAGAIN, unix.EBUSY, unix.ENOMEM:
		return nil
	}
	return os.NewSyscallError("io_uring_enter", errno)
}

// reap copies the completions that are there, oldest first, and frees their places.
func (r *ring) reap(to []cqe) int {
	head := r.cqHead.Load()
	n := min(int(r.cqTail.Load()-head), len(to))
	for i := range n {
		to[i] = r.cqes[(head+uint32(i))&r.cqMask]
	}
	r.cqHead.Store(head + uint32(n))
	return n
}

// close gives back the memory and the descriptor. Nothing may be in flight.
func (r *ring) close() error {
	var errs [3]error
	if r.queues != nil {
		errs[0] = unix.Munmap(r.queues)
	}
	if r.entries != nil {
		errs[1] = unix.Munmap(r.entries)
	}
	errs[2] = unix.Close(r.fd)
	return errors.Join(errs[:]...)
}
