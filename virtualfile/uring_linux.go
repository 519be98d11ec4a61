package virtualfile

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/stratapg/strata/internal/tasks"
)

const (
	// uringDepth is how many transfers the kernel is given at most; the others queue here. Devices saturate
	// well below it, and it is what one ring maps for (16 KiB of submissions).
	uringDepth = 256
	// uringCompletions leaves room for the answers to cancellations beside those to transfers. Were it to
	// overflow all the same, the kernel keeps what does not fit until the next wait.
	uringCompletions = 4 * uringDepth
	// uringReap is how many completions are taken at once.
	uringReap = 64
	// callerLeads is how long a caller waits in the kernel at a time: until then it does not see that its
	// context ended. A device that takes longer has no use for the saved wake-up.
	callerLeads = 2 * time.Millisecond
	// followerWaits bounds the wait of the goroutine that follows, so that what the kernel had no memory for
	// is offered again.
	followerWaits = 100 * time.Millisecond
	// maxRetries is how often one transfer is given to the kernel anew after EINTR, EAGAIN or ECANCELED. Each
	// happens when a thread ends or the kernel is short of something; that often in a row, something is broken.
	maxRetries = 64
)

// uring is the engine that uses one io_uring for all reads. Writes go the way of stdEngine: those that make a
// file longer, which is what ours do, cannot be begun without waiting, so the kernel passes them to threads
// of its own. 512 KiB at a time with O_DIRECT: 1,730 MiB/s at 105 µs of CPU each with pwrite, 1,350 at 145
// through the ring; 16 KiB: 163 and 41 against 97 and 100; with the page cache 16 KiB cost twice the CPU.
//
// Somebody has to wait in the kernel for completions: the leader. Any caller finds one of three states:
//
//   - nobody leads: it leads itself. It gives the kernel its transfers and waits for completions in one
//     system call, like pread, and on the same thread: no other one has to be woken.
//   - somebody leads and is waiting in the kernel: the caller submits its transfers itself and parks, unless
//     another one is just submitting: that one takes them along.
//   - somebody leads and is busy with completions: the caller leaves its transfers in the queue and parks;
//     the leader takes all that have come together into its next call. It lets others run before that, so
//     under load one system call carries many reads.
//
// When the leader's own transfers have ended and others are under way, a goroutine of the engine takes over
// until nothing is. It is started for that and ends then: an idle engine has no goroutine. A caller leads
// for a short time only, and hands over then, so that its context ends its wait in any case.
//
// Reads of 9 KiB with O_DIRECT, thousands of reads/s and µs of CPU per read, of the whole process, on two
// cores; callers x reads per batch. Typical of two to five short runs, which scatter by 10 to 20 %:
//
//	                                          1x1      8x1     32x1     64x1     1x20
//	pread                                   20 32    43 21    43 21    41 21    19 36
//	a ring per caller, submit and wait      18 35    38 24    40 24    39 23    85  6.6
//	one ring, reaper on Go's netpoller      11 68    60 17    62 17    62 17    75  8.9
//	one ring, reaper blocked in the kernel   9 70    40 25    49 23    45 24    67  9.4
//	one ring, thread with DEFER_TASKRUN     11 67    43 19    92  9   138  6    77  7.6
//	one ring, callers lead in turn          20 34    59 17    92 10   135  8    90  6.1
//	one ring, a goroutine leads             14 46    62 12   100  9   135  8    86  6.6
//	bare loop, one thread, one ring         17 30    62 10    90  6.5  125  5    80  7
//
// So: the caller leads when alone, a goroutine under load. A thread of its own for DEFER_TASKRUN is a little
// cheaper at depth 64 but costs twice as much at depth 1. COOP_TASKRUN saves nothing measurable here, and
// would let a completion wait until the thread that submitted it, and since went on to compute, enters the
// kernel again. Registered buffers and files save 0.5 µs of a bare loop's 5: not worth a table of them.
// Waiting for an eighth of what is in flight instead of for one saves 2 µs at depth 32, and 10 % of the reads.
//
// Under load the leader submits and waits in two calls, and of all who submit only one is in the kernel at a
// time: as long as the leader's one call seemed to be a wait, others submitted beside it, spun at the ring's
// lock, and rang the device's bell for each read. At depth 64 that took reads from 110,000 to 140,000 a second
// and from 10 to 7.5 µs of CPU. Letting callers submit while the leader is busy with completions, or the
// leader look for completions before it waits, gained nothing.
//
// From the page cache a batch of 20 costs 1.3 µs of CPU a read, with pread 2; single reads cost the same.
//
// While others compute on all processors, reads go the way of stdEngine too: see crowd.
//
// Memory safety: an entry of slots owns the transfer, which owns its buffer and its file's descriptor, until
// the kernel has answered, whoever still waits for it. mu orders the goroutine that submits before the one
// that reaps, which the queues shared with the kernel do not do as far as Go can see.
type uring struct {
	ring  *ring
	std   *stdEngine // for writes, for files without descriptors, and should the ring fail
	log   *slog.Logger
	tasks *tasks.Group
	crowd crowd
	done  [uringReap]cqe // the leader's

	mu struct {
		sync.Mutex
		lead     leadership
		queue    []request // not given to the kernel yet, oldest first
		slots    [uringDepth]slot
		free     []uint16 // slots
		inFlight int      // slots in use
		submits  int      // calls that do nothing but submit
		serial   uint64
		broken   error // the kernel takes no more calls
	}
}

type leadership uint8

const (
	noLeader leadership = iota
	leaderBusy
	leaderWaits // in the kernel
)

// role is what is left for a caller to do.
type role uint8

const (
	mustWait role = iota
	mustLead
	refused // nothing was queued: the ring has failed
)

// slot is a transfer that the kernel has. The id comes back with the completion; it holds the slot's number
// and a serial number, so that a late cancellation does not meet the slot's next transfer.
type slot struct {
	request
	id        uint64
	abandoned bool
}

// request is a transfer, and how often it was given to the kernel in vain.
type request struct {
	x       *transfer
	retries int
}

const (
	slotBits = 16
	// noSlot is the id of what is not a transfer.
	noSlot = 1<<slotBits - 1
)

var _ engine = (*uring)(nil)

func newURing(log *slog.Logger) (*uring, error) {
	r, err := newRing(uringDepth, uringCompletions)
	if err != nil {
		return nil, err
	}
	u := &uring{ring: r, std: newStdEngine(), log: log, tasks: tasks.New()}
	u.crowd.born = time.Now()
	for i := range uringDepth {
		u.mu.free = append(u.mu.free, uint16(i))
	}
	return u, nil
}

func (*uring) kind() EngineKind { return EngineURing }

// close needs that nothing is in flight; then the goroutine that follows is at its end.
func (u *uring) close() error {
	u.tasks.Stop()
	return errors.Join(u.std.close(), u.ring.close())
}

func (u *uring) run(ctx context.Context, b *batch) error {
	for i := range b.xs {
		if x := &b.xs[i]; x.fd < 0 || x.write {
			return u.std.run(ctx, b)
		}
	}
	if u.crowd.now() {
		return u.std.run(ctx, b)
	}
	switch u.enqueue(b) {
	case mustLead:
		u.leadFor(ctx, b)
	case refused:
		return u.std.run(ctx, b)
	}
	err := b.wait(ctx)
	if err != nil {
		u.abandon(b, err)
	}
	return err
}
