package plannertest

import (
	"fmt"
	"maps"
	"slices"

	"github.com/stratapg/strata/page"
)

// readLayers reads as the engine does: from the newest fact down to the first that needs nothing older, which may be an
// image layer without the key.
func (w *World) readLayers(k page.Key, at page.LSN) (State, error) {
	var facts []fact
	var floor page.LSN
	base, rests := w.inherited(k), w.ancestor != 0
	for _, f := range w.files {
		if f.Image && f.Keys.Contains(k) && f.LSNs.Start <= at && f.LSNs.Start >= floor {
			floor, base, rests = f.LSNs.Start, 0, true
			if own := f.of(k); len(own) > 0 {
				base = own[0].state
			}
		}
	}
	collect := func(from []fact) {
		for _, x := range from {
			if x.key == k && x.lsn > floor && x.lsn <= at {
				facts = append(facts, x)
			}
		}
	}
	for _, f := range w.files {
		if !f.Image {
			collect(f.of(k))
		}
	}
	collect(w.mem)
	slices.SortFunc(facts, func(a, b fact) int {
		if c := compareFacts(&a, &b); c != 0 || a.image == b.image {
			return c
		} else if a.image {
			return -1
		}
		return 1
	})
	state := base
	for i := range facts {
		f := &facts[i]
		if i > 0 && facts[i-1].lsn == f.lsn {
			continue
		}
		if f.image || f.willInit {
			rests = true
		}
		state = f.after(state)
	}
	if len(facts) > 0 && !rests {
		return 0, fmt.Errorf("history of key %s up to %s begins with a record at %s", k, at, facts[0].lsn)
	}
	// A record that needs nothing older hides broken ones before it; after only looks at what it needs.
	return state, nil
}

// inherited is what the ancestor has of a key.
func (w *World) inherited(k page.Key) State {
	if t := w.truths[k]; t != nil && w.ancestor != 0 {
		return t.at(w.ancestor)
	}
	return 0
}

// checkKey reads a key at every LSN where it may be read, and compares with the truth.
func (w *World) checkKey(k page.Key) error {
	t := w.truths[k]
	at := map[page.LSN]bool{w.cutoff: true, w.last: true, w.durable: true}
	for _, lsn := range t.lsns {
		if lsn > w.cutoff {
			at[lsn] = true
			at[max(lsn-1, w.cutoff)] = true
		}
	}
	for lsn, released := range w.retain {
		if !released.Contains(k) {
			at[lsn] = true
		}
	}
	for _, f := range w.files {
		if f.Image && f.LSNs.Start >= w.cutoff {
			at[f.LSNs.Start] = true
		}
	}
	for _, lsn := range slices.Sorted(maps.Keys(at)) {
		if t.gone != 0 && lsn >= t.gone {
			continue
		}
		got, err := w.readLayers(k, lsn)
		if err != nil {
			return err
		}
		if want := t.at(lsn); got != want {
			return fmt.Errorf("key %s at %s reads as %x, and was %x", k, lsn, uint64(got), uint64(want))
		}
	}
	return nil
}

// Check reads every key at every LSN at which reads are served, and compares with what was written.
func (w *World) Check() error {
	for _, k := range w.keys() {
		if err := w.checkKey(k); err != nil {
			return err
		}
	}
	return w.checkShape()
}

func (w *World) keys() []page.Key {
	return slices.SortedFunc(maps.Keys(w.truths), page.Key.Compare)
}

// checkShape reports deltas that hold the same place. Reads would be right, but not Neon's, which ask one of them.
func (w *World) checkShape() error {
	ids := w.IDs()
	for i, a := range ids {
		for _, b := range ids[:i] {
			if fa, fb := w.files[a], w.files[b]; !a.Image && !b.Image && fa.Rect().Overlaps(fb.Rect()) {
				rest := fa.Rest()
				if !rest.Subtract(rest.Subtract(fb.Rest())).Empty() {
					return fmt.Errorf("layers %s and %s overlap", a, b)
				}
			}
		}
	}
	return nil
}
