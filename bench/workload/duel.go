package workload

import (
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/stratapg/strata/page"
)

// How long rounds are.
const (
	// RoundReads is how many reads each caller makes in a round: its goroutine is to live long enough for its
	// start to count for nothing. A round of few callers has MinRound. Both last some 10 to 60 ms.
	RoundReads = 50
	MinRound   = 500
)

// Duel measures reads against bare ones of the same places, by as many callers: in short rounds, by turns, so
// that both meet the same weather.
type Duel struct {
	Keys         []page.Key
	Depth        int
	Ours, Theirs func(k page.Key) error

	rnd   *rand.Rand
	some  []page.Key
	turns int
}

// Side is what one side of a round took.
type Side struct{ Wall, CPU time.Duration }

// Round has each side read the same keys, and says how many they were.
func (d *Duel) Round() (ours, theirs Side, reads int, err error) {
	if d.rnd == nil {
		d.rnd, d.some = rand.New(rand.NewPCG(1, 2)), make([]page.Key, max(MinRound, RoundReads*d.Depth))
	}
	for i := range d.some {
		d.some[i] = d.Keys[d.rnd.IntN(len(d.Keys))]
	}
	var errs [2]error
	if d.turns++; d.turns%2 == 0 { // whoever comes second may gain from the first; so each is
		ours, errs[0] = d.side(d.Ours)
		theirs, errs[1] = d.side(d.Theirs)
	} else {
		theirs, errs[1] = d.side(d.Theirs)
		ours, errs[0] = d.side(d.Ours)
	}
	return ours, theirs, len(d.some), errors.Join(errs[:]...)
}

func (d *Duel) side(fn func(k page.Key) error) (s Side, err error) {
	begin, used := time.Now(), UsedCPU()
	errs := make([]error, d.Depth)
	var wg sync.WaitGroup
	for i := range d.Depth {
		wg.Go(func() {
			for j := i; j < len(d.some); j += d.Depth {
				if errs[i] = fn(d.some[j]); errs[i] != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	return Side{time.Since(begin), UsedCPU() - used}, errors.Join(errs...)
}
