package workload

import (
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/stratapg/strata/page"
)

// readCallers is how many reads of an open loop can be under way.
const readCallers = 256

// OpenLoop begins reads of random keys at a rate, until stop is closed or so many have begun, if that is not 0. It gives how long
// each took from the moment at which it was due, sorted: a read that begins late because others are late counts with all its delay.
func OpenLoop(rate, reads int, keys []page.Key, read func(k page.Key) error, stop <-chan struct{}) (all []time.Duration, err error) {
	type due struct {
		at time.Time
		k  page.Key
	}
	work := make(chan due, readCallers)
	var mu sync.Mutex
	var callers sync.WaitGroup
	for range readCallers {
		callers.Go(func() {
			var took []time.Duration
			var failed error
			for d := range work {
				if e := read(d.k); e != nil {
					failed = e
				}
				took = append(took, time.Since(d.at))
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, took...)
			if failed != nil {
				err = failed
			}
		})
	}
	r := rand.New(rand.NewPCG(1, 2))
	gap := time.Second / time.Duration(rate)
	for n, at, going := 0, time.Now(), true; going && (reads == 0 || n < reads); n, at = n+1, at.Add(gap) {
		SleepUntil(at)
		select {
		case <-stop:
			going = false
		case work <- due{at, keys[r.IntN(len(keys))]}:
		}
	}
	close(work)
	callers.Wait()
	slices.Sort(all)
	return all, err
}

// Quantile gives one of sorted times.
func Quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}
