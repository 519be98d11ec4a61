package mock

import (
	"fmt"
	"slices"

	"github.com/stratapg/strata/page"
)

// references counts, for each record, the live layers that have it or an image in its place.
type references struct{ n []uint16 }

func newReferences(hint int) *references { return &references{make([]uint16, hint)} }

func (r *references) add(es []entry) {
	for _, e := range es {
		rec := e.record()
		for int(rec) >= len(r.n) {
			r.n = append(r.n, make([]uint16, max(1<<16, len(r.n)/4))...)
		}
		r.n[rec]++
	}
}

// has reports whether a live layer has a record.
func (r *references) has(rec uint32) bool { return int(rec) < len(r.n) && r.n[rec] > 0 }

// LostError says that what a read needs is in no layer any more, or is not found there.
type LostError struct {
	Key    page.Key
	LSN    page.LSN // of the read
	Reason string
}

func (e *LostError) Error() string {
	return fmt.Sprintf("a read of key %s at %s: %s", e.Key, e.LSN, e.Reason)
}

// lost takes the references of removed layers back and reports a record that some read needs and no layer has any more. It
// looks at what was removed only.
func (t *Timeline) lost(gone []*Layer) error {
	for _, l := range gone {
		for _, e := range l.entries {
			t.refs.n[e.record()]--
		}
	}
	for _, l := range gone {
		if l.Image {
			if err := t.lostImage(l); err != nil {
				return err
			}
			continue
		}
		if t.hiddenWhole(l) {
			continue
		}
		for i := 0; i < len(l.entries); {
			n := i + 1
			for n < len(l.entries) && l.entries[n].key() == l.entries[i].key() {
				n++
			}
			if err := t.lostOf(l.entries[i:n]); err != nil {
				return err
			}
			i = n
		}
	}
	return nil
}

// lostOf checks the removed entries of one key.
func (t *Timeline) lostOf(es []entry) error {
	for i := 0; i < len(es); i++ {
		rec := es[i].record()
		if t.refs.has(rec) {
			continue
		}
		at, read := t.firstRead(es[i].key(), t.log.lsn(rec))
		if !read {
			continue
		}
		got := t.Read(es[i].key(), at)
		hidden := got.floor(t.log)
		if !got.found || hidden < t.log.lsn(rec) {
			return &LostError{t.space.Key(es[i].key()), at, fmt.Sprintf("record %d at %s is in no layer any more", rec, t.log.lsn(rec))}
		}
		// What a read there does not reach, it hides of the key's other records too.
		for i+1 < len(es) && t.log.lsn(es[i+1].record()) <= min(hidden, at) {
			i++
		}
	}
	return nil
}

// floor is the LSN below which a read has looked at nothing.
func (r *Read) floor(l *Log) page.LSN {
	if r.base == 0 && r.oldest != none {
		return l.lsn(r.oldest)
	}
	return r.base
}

// lostImage checks a removed image layer by its keys at both ends and some between: the newest image below the first read that could
// have used it must not be older, or nothing may lie between.
func (t *Timeline) lostImage(l *Layer) error {
	const tries = 64
	step := max((l.span.hi-l.span.lo)/tries, 1)
	for k := l.span.lo; k < l.span.hi; k += step {
		at, read := t.firstRead(k, l.LSNs.Start)
		if !read || !t.Exists(k, l.LSNs.Start) {
			continue
		}
		if err := t.CheckRead(k, at, t.Read(k, at)); err != nil {
			return err
		}
	}
	return nil
}

// firstRead gives the lowest LSN from x on at which a key is read.
func (t *Timeline) firstRead(key uint32, x page.LSN) (page.LSN, bool) {
	r := &t.space.regions[t.space.regionOf(key)]
	for i, _ := t.retained(x); i < len(t.retain) && t.retain[i].LSN < t.cutoff; i++ {
		if at := t.retain[i].LSN; !t.releasedAt(i, key) && t.existsIn(r, key, at) {
			return at, true
		}
	}
	at := max(x, t.cutoff)
	if t.Exists(key, at) {
		return at, true
	}
	// It may have come back since.
	return t.log.end, t.Exists(key, t.log.end)
}

// hiddenWhole reports whether image layers hide all of a delta from all reads.
func (t *Timeline) hiddenWhole(l *Layer) bool {
	lowest := max(t.cutoff, l.LSNs.Start)
	for _, p := range t.retain {
		if p.LSN >= l.LSNs.Start {
			lowest = min(lowest, p.LSN)
			break
		}
	}
	if lowest < l.Last() {
		return false
	}
	left := []span{l.span}
	for _, c := range t.live {
		if !c.Image || c.LSNs.Start < l.Last() || c.LSNs.Start > lowest {
			continue
		}
		for _, a := range t.answered(c) {
			left = without(left, a)
		}
		if len(left) == 0 {
			return true
		}
	}
	return false
}

// answered gives the keys for which reads ask a layer: those that have not moved from it.
func (t *Timeline) answered(l *Layer) []span {
	left := []span{l.span}
	for _, m := range l.Moved {
		left = without(left, t.space.span(m))
	}
	return left
}

// without takes the keys of c from others.
func without(from []span, c span) []span {
	var rest []span
	for _, s := range from {
		if c.hi <= s.lo || s.hi <= c.lo {
			rest = append(rest, s)
			continue
		}
		if s.lo < c.lo {
			rest = append(rest, span{s.lo, c.lo})
		}
		if c.hi < s.hi {
			rest = append(rest, span{c.hi, s.hi})
		}
	}
	return rest
}

// maxTruth is how many records of a key are followed to check a read.
const maxTruth = 1 << 8

// CheckRead reports a read that did not find what was written.
func (t *Timeline) CheckRead(key uint32, at page.LSN, r Read) error {
	fail := func(format string, args ...any) error {
		return &LostError{t.space.Key(key), at, fmt.Sprintf(format, args...)}
	}
	rec, steps := t.last[key], 0
	for ; rec != none && t.log.lsn(rec) > at; rec = t.log.prev[rec] {
		if steps++; steps > maxTruth {
			return nil
		}
	}
	if rec == none {
		if r.Records > 0 {
			return fail("%d records found where none were written", r.Records)
		}
		return nil
	}
	if !r.found {
		return fail("it finds %d records and nothing under them", r.Records)
	}
	if r.base >= t.log.lsn(rec) {
		if r.Records > 0 {
			return fail("%d records found above an image of the newest", r.Records)
		}
		return nil
	}
	if r.newest != rec {
		return fail("the newest record is %d, it finds %d", rec, r.newest)
	}
	for n := 1; n < r.Records; n++ {
		if n > maxTruth {
			return nil
		}
		if rec = t.log.prev[rec]; rec == none {
			return fail("%d records found, more than were written", r.Records)
		}
	}
	before := t.log.prev[rec]
	if before == none || t.log.inits.has(rec) {
		before = none
	}
	if rec != r.oldest || before != none && t.log.lsn(before) > r.base {
		return fail("of the records down to %s, %d are found, and not all", r.base, r.Records)
	}
	return nil
}

// CheckOverlap reports two deltas that overlap where neither has moved, while no job is under way.
func (t *Timeline) CheckOverlap() error {
	deltas := slices.DeleteFunc(slices.Clone(t.live), func(l *Layer) bool { return l.Image })
	slices.SortFunc(deltas, func(a, b *Layer) int { return a.Keys.Start.Compare(b.Keys.Start) })
	for i, a := range deltas {
		for _, b := range deltas[i+1:] {
			if !b.Keys.Start.Less(a.Keys.End) {
				break
			}
			if a.LSNs.Overlaps(b.LSNs) && slices.ContainsFunc(a.Rest().Ranges(), b.Rest().Overlaps) {
				return fmt.Errorf("layers %s and %s overlap", a.ID, b.ID)
			}
		}
	}
	return nil
}
