package compaction

import (
	"errors"
	"fmt"
	"slices"

	"github.com/stratapg/strata/page"
)

// FoldThreshold is how many records of a key a read at a retained LSN or at the horizon of a Fold may find above the
// image it rests on: with one more there is an image at that LSN. It is Neon's figure.
const FoldThreshold = 5

// ErrIncomplete says that the history of a key begins with a record that needs something older.
var ErrIncomplete = errors.New("history is incomplete")

// Version is what retention sees of a value.
type Version struct {
	LSN page.LSN
	// Image says that it is an image, or that an image layer covers the key here and does not have it. How that is
	// written the caller knows: "removed" for a sparse key, nothing for another.
	Image bool
	// WillInit says that it is a record that needs nothing older.
	WillInit bool
}

// alone reports whether v needs nothing older.
func (v Version) alone() bool { return v.Image || v.WillInit }

// Action is what is to be done with versions that the caller holds.
type Action uint8

// Actions.
const (
	// Skip: the newest version, the one just added, is needed by nothing, and not held.
	Skip Action = iota
	// Forget: the oldest N are needed by nothing.
	Forget
	// Apply: the oldest N become part of the state, and are not written.
	Apply
	// Write: the oldest N are written as they are, and become part of the state.
	Write
	// PutImage: the state is written as an image at LSN.
	PutImage
)

// Step is one thing to do: N for versions, LSN for an image.
type Step struct {
	Do  Action
	N   int
	LSN page.LSN
}

// Retention decides, one key after the other, what of its history is kept, and where an image takes its place. It sees the
// versions once, in the order of LSNs, and no values; of two of one LSN the first counts, as layer.Merge gives them.
//
// The caller holds the versions that it has added, and does after each Add and at Finish the steps that these give, in
// order: each takes the oldest of those held away, or writes an image of the state. The state is what the versions
// applied and written so far make of the page: one that needs nothing older starts it anew, and at first it is what lies
// below. It may be kept as a list of records that are redone in batches. At most threshold+1 versions are held, however
// long the history is.
//
// # What is kept
//
// The points (the retained LSNs and the horizon) divide the history. Above the horizon all of it stays. Up to a point, what
// is hidden by a version that needs nothing older goes: no read sees the LSNs between. The rest stays as it is while a read at the point finds
// fewer records than the threshold above an image; otherwise an image at the point takes its place. Up to the lowest
// point there is always an image, unless facts lie below.
type Retention struct {
	spec       []page.LSN // ascending; the horizon is the last
	below      bool
	threshold  int
	maxRecords int

	points  []page.LSN // those of spec that count for this key
	next    int        // index of the point up to which versions come now; len(points): above the horizon
	held    []Version  // undecided, since the point before; only the first may need nothing older
	image   bool       // there will be an image at the point: what comes is applied
	records int        // that a read finds above the last image of what is decided
	known   bool       // the state is
	broken  page.LSN   // of the first record since the point before that found no state
	last    page.LSN
	some    bool
	steps   []Step
}

// NewRetention makes one for a Fold, or, where f is nil, for a Retile, which keeps all. threshold is FoldThreshold but in
// tests, and maxRecords that of the Job.
func NewRetention(f *FoldSpec, threshold, maxRecords int) *Retention {
	r := &Retention{below: true, threshold: max(threshold, 1), maxRecords: maxRecords}
	if f != nil {
		r.spec = append(slices.Clone(f.Retain), f.Horizon)
		r.below = f.Below
	}
	r.Reset(nil)
	return r
}

// Reset begins the next key. released are those of the retained LSNs at which nobody reads it any more (ReadPoint): what lies below
// them may be incomplete. The horizon is none of them, though a branch may have been made there: what follows rests on it.
func (r *Retention) Reset(released []page.LSN) {
	r.points = r.spec
	if len(released) > 0 && len(r.spec) > 0 {
		horizon := r.spec[len(r.spec)-1]
		r.points = slices.DeleteFunc(slices.Clone(r.spec), func(p page.LSN) bool { return p != horizon && slices.Contains(released, p) })
	}
	r.next, r.held, r.image, r.records, r.broken, r.last, r.some = 0, r.held[:0], false, 0, 0, 0, false
	r.known = r.below
}

// Above reports whether the state is needed no more: all that follows is written as it is.
func (r *Retention) Above() bool { return r.next == len(r.points) && r.maxRecords == 0 }

// Add takes the next version, which is then held, and gives what to do. The steps are valid until the next call.
func (r *Retention) Add(v Version) ([]Step, error) {
	r.steps = r.steps[:0]
	if r.some && v.LSN <= r.last {
		if v.LSN < r.last {
			return nil, fmt.Errorf("a version at %s comes after one at %s", v.LSN, r.last)
		}
		r.do(Skip, 1)
		return r.steps, nil
	}
	r.last, r.some = v.LSN, true
	for r.next < len(r.points) && v.LSN > r.points[r.next] {
		if err := r.close(); err != nil {
			return nil, err
		}
		r.next++
	}
	if v.alone() {
		r.known, r.broken = true, 0
	}
	switch {
	case !r.known && r.next == len(r.points):
		return nil, fmt.Errorf("record at %s: %w", v.LSN, ErrIncomplete)
	case !r.known:
		if r.broken == 0 {
			r.broken = v.LSN
		}
		r.do(Skip, 1)
	case r.next == len(r.points):
		r.write(v)
	default:
		r.gather(v)
	}
	return r.steps, nil
}

// gather takes a version at or below the next point.
func (r *Retention) gather(v Version) {
	if v.alone() {
		r.do(Forget, len(r.held))
		r.held, r.image, r.records = r.held[:0], false, 0
	}
	if r.next == 0 && !r.below {
		r.image = true
	}
	if r.image {
		r.do(Apply, 1)
		return
	}
	r.held = append(r.held, v)
	n := r.records + len(r.held)
	if r.held[0].Image {
		n--
	}
	if n >= r.threshold && !v.Image {
		r.do(Apply, len(r.held))
		r.held, r.image = r.held[:0], true
	}
}

// close decides what comes at a point.
func (r *Retention) close() error {
	if r.broken != 0 {
		return fmt.Errorf("record at %s, of which %s needs the outcome: %w", r.broken, r.points[r.next], ErrIncomplete)
	}
	if r.image {
		r.steps = append(r.steps, Step{Do: PutImage, LSN: r.points[r.next]})
		r.image, r.records = false, 0
	}
	for _, v := range r.held {
		r.write(v)
	}
	r.held = r.held[:0]
	return nil
}

// write keeps a version, or puts an image in its place where too many records precede it.
func (r *Retention) write(v Version) {
	switch {
	case v.Image:
		r.records = 0
	case v.WillInit:
		r.records = 1
	case r.maxRecords > 0 && r.records >= r.maxRecords:
		r.do(Apply, 1)
		r.steps = append(r.steps, Step{Do: PutImage, LSN: v.LSN})
		r.records = 0
		return
	default:
		r.records++
	}
	r.do(Write, 1)
}

func (r *Retention) do(a Action, n int) {
	if n == 0 {
		return
	}
	if k := len(r.steps); k > 0 && r.steps[k-1].Do == a {
		r.steps[k-1].N += n
		return
	}
	r.steps = append(r.steps, Step{Do: a, N: n})
}

// Finish gives what is to be done once the key has no more versions. None is held then.
func (r *Retention) Finish() ([]Step, error) {
	r.steps = r.steps[:0]
	if r.next == len(r.points) {
		return nil, nil
	}
	err := r.close()
	r.next = len(r.points)
	return r.steps, err
}
