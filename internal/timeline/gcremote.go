package timeline

import (
	"context"
	"sync/atomic"

	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
)

// remoteKept is what is known of how remote storage has the timeline: whoever attaches it from there finds the cutoff of its index.
type remoteKept struct {
	cutoff atomic.Uint64 // of an index that was uploaded and validated
	asking atomic.Bool
}

// surely reports whether an image layer of the present view is there whatever happens to the local disk: it is durable, and an
// index in remote storage, if there is one, names it.
func (t *Timeline) surely(image layer.Desc) bool {
	if t.env.Remote == nil {
		return true
	}
	_, there := t.log.Remote(image)
	return there
}

// surelyFrom is the oldest LSN of the timeline's own history that anybody can ever read again who holds nothing below the cutoff. With
// remote storage that is the cutoff in its index, which may be behind; where nothing is known of it, all of the history.
func (t *Timeline) surelyFrom() page.LSN {
	if t.env.Remote == nil {
		return t.begin()
	}
	there := page.LSN(t.remoteKept.cutoff.Load())
	if there < t.ownCutoff() {
		t.askRemote()
	}
	return min(t.begin(), max(there, t.from().initial))
}

// askRemote waits, beside all else, until remote storage has the present cutoff.
func (t *Timeline) askRemote() {
	q, r := t.uploads.get(), &t.remoteKept
	if q == nil || !r.asking.CompareAndSwap(false, true) {
		return
	}
	cutoff := t.kept.cutoff.Load() // its index was scheduled before it came into effect
	err := t.uploads.tasks.Go(func(ctx context.Context) {
		defer r.asking.Store(false)
		if q.Wait(ctx) == nil {
			r.cutoff.Store(cutoff)
		}
	})
	if err != nil {
		r.asking.Store(false) // it is closed
	}
}
