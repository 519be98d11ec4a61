package mock

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/stratapg/strata/page"
)

// CheckAll checks every record against every read point: those that some read needs must be in a live layer or in memory. It also
// counts all references anew, and tries reads of keys all over at the lowest and the highest read point.
func (t *Timeline) CheckAll() error {
	if t.refs == nil {
		return nil
	}
	if err := t.recount(); err != nil {
		return err
	}
	if t.everythingIsThere() {
		return t.tryReads()
	}
	hides := t.imagesByKey()
	inDeltas := t.imageEntries()
	for key := range t.space.end {
		if t.last[key] == none {
			continue
		}
		if err := t.checkKey(key, hides, inDeltas); err != nil {
			return err
		}
	}
	return t.tryReads()
}

// everythingIsThere reports whether each record is in a live layer or in memory, so that none can be missed.
func (t *Timeline) everythingIsThere() bool {
	n := min(int(t.memFirst), len(t.refs.n))
	return n == int(t.memFirst) && !slices.Contains(t.refs.n[:n], 0)
}

// recount compares the references kept step by step with those of the live layers.
func (t *Timeline) recount() error {
	fresh := newReferences(len(t.refs.n))
	for _, l := range t.live {
		fresh.add(l.entries)
	}
	for i, n := range fresh.n {
		if i < len(t.refs.n) && t.refs.n[i] != n {
			return fmt.Errorf("record %d is in %d live layers, %d were counted", i, n, t.refs.n[i])
		}
	}
	return nil
}

// hiding is a stretch of keys and the LSNs of the image layers over it, ascending.
type hiding struct {
	span
	lsns []page.LSN
}

// imagesByKey cuts the keys at the bounds of all image layers.
func (t *Timeline) imagesByKey() []hiding {
	bounds := []uint32{0, t.space.end}
	for _, l := range t.live {
		if l.Image {
			for _, s := range t.answered(l) {
				bounds = append(bounds, s.lo, s.hi)
			}
		}
	}
	slices.Sort(bounds)
	bounds = slices.Compact(bounds)
	out := make([]hiding, len(bounds)-1)
	for i := range out {
		out[i].span = span{bounds[i], bounds[i+1]}
	}
	for _, l := range t.live {
		if !l.Image {
			continue
		}
		for _, s := range t.answered(l) {
			i, _ := slices.BinarySearch(bounds, s.lo)
			for ; i < len(out) && out[i].hi <= s.hi; i++ {
				out[i].lsns = append(out[i].lsns, l.LSNs.Start)
			}
		}
	}
	for i := range out {
		slices.Sort(out[i].lsns)
	}
	return out
}

// imageEntries gives the images that stand in deltas, sorted.
func (t *Timeline) imageEntries() []entry {
	var out []entry
	if !t.imagesInDeltas {
		return nil
	}
	for _, l := range t.live {
		for _, e := range l.entries {
			if e.image() {
				out = append(out, e)
			}
		}
	}
	slices.Sort(out)
	return out
}

// checkKey goes down through the records of a key with the LSN of the fact above that hides what is below it.
func (t *Timeline) checkKey(key uint32, hides []hiding, inDeltas []entry) error {
	h, _ := slices.BinarySearchFunc(hides, key, func(h hiding, k uint32) int {
		switch {
		case h.hi <= k:
			return -1
		case h.lo > k:
			return 1
		}
		return 0
	})
	images := hides[h].lsns
	hidden, lowest := page.MaxLSN, t.lowestRead()
	for rec := t.last[key]; rec != none; rec = t.log.prev[rec] {
		x := t.log.lsn(rec)
		for n := len(images); n > 0 && images[n-1] >= x; n-- {
			hidden = images[n-1]
			images = images[:n-1]
		}
		lo := below(inDeltas, key, rec)
		if lo < len(inDeltas) && inDeltas[lo].key() == key {
			hidden = min(hidden, t.log.lsn(inDeltas[lo].record()))
		}
		if hidden <= lowest {
			return nil // from every read, with all that is older
		}
		there := rec >= t.memFirst || t.refs.has(rec)
		if !there {
			if at, read := t.firstRead(key, x); read && at < hidden {
				return &LostError{t.space.Key(key), at, fmt.Sprintf("record %d at %s is in no layer", rec, x)}
			}
		}
		if there && t.log.inits.has(rec) {
			hidden = x
		}
	}
	return nil
}

// lowestRead gives the lowest LSN that is read.
func (t *Timeline) lowestRead() page.LSN {
	if len(t.retain) > 0 {
		return min(t.cutoff, t.retain[0].LSN)
	}
	return t.cutoff
}

// tryReads reads some keys at the lowest and the highest read point.
func (t *Timeline) tryReads() error {
	const tries = 2000
	points := []page.LSN{t.cutoff, t.log.end}
	if n := len(t.retain); n > 0 {
		points = append(points, t.retain[0].LSN, t.retain[n/2].LSN, t.retain[n-1].LSN)
	}
	over := t.sweep()
	step := max(t.space.end/tries, 1)
	for key := uint32(0); key < t.space.end; key += step {
		among := over.at(key)
		for _, at := range points {
			if t.Exists(key, at) {
				if err := t.CheckRead(key, at, t.readAmong(among, key, at)); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// sweep goes through the keys, ascending, with the layers over each.
type sweep struct {
	ahead []indexed // in the order of their first keys
	over  []indexed
}

func (t *Timeline) sweep() *sweep {
	t.reindex()
	s := &sweep{ahead: slices.Clone(t.index)}
	slices.SortFunc(s.ahead, func(a, b indexed) int {
		return cmp.Or(cmp.Compare(a.lo, b.lo), cmp.Compare(a.layer.place, b.layer.place))
	})
	return s
}

// at gives the layers over a key that is not below the one asked for before.
func (s *sweep) at(key uint32) []indexed {
	s.over = slices.DeleteFunc(s.over, func(x indexed) bool { return x.hi <= key })
	for len(s.ahead) > 0 && s.ahead[0].lo <= key {
		if s.ahead[0].hi > key {
			s.over = append(s.over, s.ahead[0])
		}
		s.ahead = s.ahead[1:]
	}
	return s.over
}
