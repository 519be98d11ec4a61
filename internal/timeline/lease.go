package timeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/stratapg/strata/page"
)

// maxHeld bounds the LSNs of one timeline that leases and running work hold at the same time: each is one more
// state that collection has to keep.
const maxHeld = 10_000

// ErrTooManyLeases says that a timeline holds as many LSNs as it may.
var ErrTooManyLeases = errors.New("too many LSNs are leased")

// held is one LSN that stays readable below the cutoff, because of a lease, of work that runs, or both. It lives in
// memory: after a restart nobody is known to have held anything (Config.LeaseGrace).
type held struct {
	lsn page.LSN
	// top is the highest LSN that means the same state: no record ends above the held LSN up to there.
	top   page.LSN
	until time.Time // of the lease, zero if there is none
	works int       // that need it
}

func (h *held) live(now time.Time) bool { return h.works > 0 || now.Before(h.until) }

// Lease is an LSN that stays readable for a while.
type Lease struct {
	// LSN is the state that was leased: the end of the last whole record at or before what was asked for.
	LSN page.LSN
	// Until is when it may be collected, unless it is leased again.
	Until time.Time
}

// Lease keeps lsn readable until length from now, whatever is collected. Leasing again extends it, and never
// makes it shorter. What has been collected, or is about to be, cannot be leased. Leases do not survive the end of the
// process; after a start nothing is collected for so long that they can be renewed (Config.LeaseGrace).
func (t *Timeline) Lease(ctx context.Context, lsn page.LSN, length time.Duration) (Lease, error) {
	if length <= 0 {
		return Lease{}, fmt.Errorf("timeline %s: a lease of %s: want more than 0", t.meta.Name, length)
	}
	state, release, err := t.Hold(ctx, lsn)
	if err != nil {
		return Lease{}, fmt.Errorf("lease: %w", err)
	}
	defer release()
	k := &t.home(state).kept
	k.mu.Lock()
	defer k.mu.Unlock()
	i, _ := k.findLocked(state) // it is there: it is held
	h := k.mu.held[i]
	if until := t.env.Clock().Add(length); until.After(h.until) {
		h.until = until
	}
	return Lease{LSN: state, Until: h.until}, nil
}

// Hold keeps the state that lsn means readable while something runs that reads it more than once, and gives its LSN.
// release must be called, and may be called again.
func (t *Timeline) Hold(ctx context.Context, lsn page.LSN) (state page.LSN, release func(), err error) {
	if state, err = t.ResolveLSN(ctx, lsn); err != nil {
		return 0, nil, err
	}
	release, err = t.home(state).holdState(state, lsn)
	return state, release, err
}

// holdState holds a state of the timeline's own history that is not planned to be collected, or is held already. top
// is an LSN that means it.
func (t *Timeline) holdState(lsn, top page.LSN) (release func(), err error) {
	k := &t.kept
	now := t.env.Clock()
	k.mu.Lock()
	defer k.mu.Unlock()
	i, there := k.findLocked(lsn)
	if there && !k.mu.held[i].live(now) {
		k.mu.held, there = slices.Delete(k.mu.held, i, i+1), false
	}
	if planned := max(k.mu.planned, t.from().initial); !there && lsn < planned {
		return nil, fmt.Errorf("%w: LSN %s of timeline %s: what lies below %s is collected; ask for that LSN or a later one",
			ErrBeforeHistory, lsn, t.meta.Name, planned)
	}
	if !there {
		if k.dropExpiredLocked(now); len(k.mu.held) >= maxHeld {
			return nil, fmt.Errorf("%w: timeline %s holds %d; wait for some to end, or lease fewer", ErrTooManyLeases, t.meta.Name, maxHeld)
		}
		i, _ = k.findLocked(lsn)
		k.mu.held = slices.Insert(k.mu.held, i, &held{lsn: lsn})
	}
	h := k.mu.held[i]
	h.top = max(h.top, top)
	h.works++
	return sync.OnceFunc(func() { k.release(h) }), nil
}

// release ends one work.
func (k *kept) release(h *held) {
	k.mu.Lock()
	defer k.mu.Unlock()
	h.works--
	if i, there := k.findLocked(h.lsn); there && h.works == 0 && h.until.IsZero() {
		k.mu.held = slices.Delete(k.mu.held, i, i+1)
	}
}

// findLocked gives the place of an LSN among those held, or where it would be.
func (k *kept) findLocked(lsn page.LSN) (int, bool) {
	return slices.BinarySearchFunc(k.mu.held, lsn, func(h *held, lsn page.LSN) int { return cmp.Compare(h.lsn, lsn) })
}

// holds reports whether somebody holds the state that lsn means.
func (t *Timeline) holds(lsn page.LSN) bool {
	k := &t.kept
	k.mu.Lock()
	defer k.mu.Unlock()
	i, there := k.findLocked(lsn)
	if !there {
		i--
	}
	return i >= 0 && lsn <= k.mu.held[i].top && k.mu.held[i].live(t.env.Clock())
}

// dropExpiredLocked forgets what nobody holds any more. What was forgotten cannot be read again, so collection goes by
// the same list as reads do.
func (k *kept) dropExpiredLocked(now time.Time) {
	k.mu.held = slices.DeleteFunc(k.mu.held, func(h *held) bool { return !h.live(now) })
}

// heldLSNs forgets what nobody holds any more, and gives the rest in ascending order.
func (t *Timeline) heldLSNs() []page.LSN {
	k := &t.kept
	k.mu.Lock()
	defer k.mu.Unlock()
	k.dropExpiredLocked(t.env.Clock())
	out := make([]page.LSN, len(k.mu.held))
	for i, h := range k.mu.held {
		out[i] = h.lsn
	}
	return out
}

// Leased gives the number of LSNs that are held now.
func (t *Timeline) Leased() int { return len(t.heldLSNs()) }
