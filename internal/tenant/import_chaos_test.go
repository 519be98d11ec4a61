package tenant

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/internal/timeline"
	"github.com/stratapg/strata/remote"
	"github.com/stratapg/strata/remote/faultstore"
	"github.com/stratapg/strata/remote/memstore"
	"github.com/stratapg/strata/virtualfile"
)

// importChaos is an import to which something happens again and again: the process dies, the store is closed, files
// cannot be written or read, the source fails; with remote storage also the tenant is detached, the disk is lost, objects
// cannot be written or read. Whoever comes after goes on.
type importChaos struct {
	testing.TB
	rnd    *rand.Rand
	c      *fakeCluster
	mem    *virtualfile.MemFS
	far    *memstore.Store // nil is none
	moved  bool            // the tenant is to be attached
	want   uint64
	rounds int
	moves  int
}

var errSource = errors.New("the source fails now and then")

// TestImportChaos: whatever happens meanwhile, nobody sees anything of an import before it is whole, and in the end it is what
// an undisturbed one is.
func TestImportChaos(t *testing.T) {
	noLeaks(t)
	rnd := testkit.Rand(t, 7)
	total, moves := 0, 0
	for range testkit.Size(2, 30, 1500) {
		records := 0
		if rnd.IntN(2) == 0 {
			records = 1 + rnd.IntN(60)
		}
		x := &importChaos{TB: t, rnd: rnd, mem: virtualfile.NewMem(), c: newFakeCluster(1+rnd.IntN(8), 1+rnd.IntN(40), records)}
		if rnd.IntN(2) == 0 {
			x.far = memstore.New()
		}
		x.want = x.c.undisturbed(t)
		for !x.round() {
			x.rounds++
			require.Less(t, x.rounds, 1000, "it never ends")
		}
		total, moves = total+x.rounds, moves+x.moves
	}
	t.Logf("%d openings of the store, %d times on another disk", total, moves)
	require.Positive(t, total)
}

// round opens the store, imports, and has something happen; it reports whether all is there.
func (x *importChaos) round() (done bool) {
	ctx := x.Context()
	ch := newChaos(x.rnd)
	s, tn, far := x.open(ch)
	if tl, err := tn.Timeline("imported"); err == nil {
		require.Equal(x, x.want, sum(x, tl))
		require.NoError(x, s.Close())
		return true
	} else if !errors.Is(err, ErrTimelineNotFound) {
		require.ErrorIs(x, err, ErrNotActive)
	}

	steps := x.c.jobs*x.c.keys + x.c.records
	at, fault := x.rnd.IntN(2*steps+1), x.rnd.IntN(6)
	if x.far != nil {
		fault = x.rnd.IntN(10)
	}
	detached := false
	seed := x.rnd.Uint64()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var mu sync.Mutex
	var crashed *virtualfile.MemFS
	var closing sync.WaitGroup
	step := 0
	x.c.before = func(ctx context.Context, _, _ int) error {
		mu.Lock()
		defer mu.Unlock()
		step++
		if step != at {
			return nil
		}
		switch fault {
		case 0:
			crashed = x.mem.CrashClone(seed)
			cancel()
		case 1:
			cancel()
		case 2:
			closing.Go(func() { _ = s.Close() }) // it ends the import, and is called again below
		case 3:
			return errSource
		case 6, 7:
			closing.Go(func() { detached = s.DetachTenant(x.Context(), tn.ShardID(), DetachOptions{}) == nil })
			<-ctx.Done()
			return ctx.Err()
		case 8:
			far.Set(&faultstore.Fault{Chance: 0.3, Effect: faultstore.Effect(seed % uint64(faultstore.Twice+1))})
		default:
			ch.arm(rand.New(rand.NewPCG(seed, 1)))
			step = at - 1 - int(seed%50) // and again
		}
		return nil
	}
	o := fastImport
	o.Resume, o.Jobs, o.Attempts, o.Checkpoint = x.rnd.IntN(8) > 0, 1+x.rnd.IntN(3), 1+x.rnd.IntN(2), 1+x.rnd.IntN(3)
	tl, _, err := x.c.importInto(ctx, tn, o)
	ch.disarm()
	far.Set()
	closing.Wait()
	switch {
	case err == nil && fault != 2 && !detached:
		require.Equal(x, x.want, sum(x, tl))
	case err == nil, errors.Is(err, errSource), errors.Is(err, context.Canceled), errors.Is(err, timeline.ErrClosed):
	case fault == 8 && errors.Is(err, remote.ErrUnavailable):
	default:
		ch.mayFail(x, err)
	}
	_ = s.Close() // with faults it may fail, which the next round judges
	if crashed != nil {
		x.mem = crashed
	} else if x.rnd.IntN(2) == 0 {
		x.mem = x.mem.CrashClone(seed + 1)
	}
	switch {
	case detached, fault == 9:
		if fault == 9 || x.rnd.IntN(2) == 0 {
			x.mem = virtualfile.NewMem()
		}
		x.moved = true
		x.moves++
	case err == nil && fault != 0 && fault != 2:
		x.thereAgain()
	}
	return false
}

// open opens the store, and attaches the tenant where it is not.
func (x *importChaos) open(ch *chaos) (*Store, *Tenant, *faultstore.Store) {
	if x.far == nil {
		s, tn := openLife(x, x.Context(), testOptions(ch.wrap(x.mem)))
		return s, tn, faultstore.New(memstore.New(), 0)
	}
	far := faultstore.New(x.far, x.rnd.Uint64())
	o := remoteOptions(ch.wrap(x.mem), far)
	hasten(&o)
	s, err := Open(x.Context(), o)
	require.NoError(x, err)
	if x.moved {
		_, _, err := s.Attach(x.Context(), AttachOptions{Tenant: remoteTenant})
		if !errors.Is(err, ErrTimelineNotFound) { // nothing had been told of it
			require.NoError(x, err)
		}
		x.moved = false
	}
	tn, err := s.Tenant(remoteTenant)
	require.NoError(x, err)
	return s, tn, far
}

// thereAgain looks that what was imported is there after a crash.
func (x *importChaos) thereAgain() {
	s, tn, _ := x.open(newChaos(x.rnd))
	tl, err := tn.Timeline("imported")
	require.NoError(x, err)
	require.Equal(x, x.want, sum(x, tl))
	require.NoError(x, s.Close())
}
