package sizemodel

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/stratapg/strata/page"
)

// Timeline is what the model has to know of one.
type Timeline struct {
	Name string
	// Ancestor is its place among the timelines, -1 for none, and Start where it begins.
	Ancestor   int
	Start, End page.LSN
	// Cutoff is from where on every state is kept.
	Cutoff page.LSN
	// Leases are states below that somebody holds.
	Leases []page.LSN
}

// Kind says what a point of a timeline is.
type Kind uint8

// Kinds, in the order in which they follow each other at one LSN.
const (
	Start Kind = iota
	Branching
	Cutoff
	Leased
	LeaseStart
	LeaseEnd
	End
)

var kindNames = [...]string{"start", "branch", "cutoff", "lease", "lease start", "lease end", "end"}

// String gives the kind in words.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Point is a segment and what it is.
type Point struct {
	Segment
	Timeline int
	Kind     Kind
}

// Model is the history of a tenant as points.
type Model struct{ Points []Point }

// pointKey finds the point that a branch hangs on.
type pointKey struct {
	timeline int
	lsn      page.LSN
}

// New makes a model. Sizes are not known yet: see Wants.
func New(timelines []Timeline) (*Model, error) {
	children := make([][]page.LSN, len(timelines))
	order := make([]int, 0, len(timelines)) // ancestors first
	for i, t := range timelines {
		if t.Ancestor < -1 || t.Ancestor >= len(timelines) || t.End < t.Start {
			return nil, fmt.Errorf("size model: timeline %s has ancestor %d, begins at %s and ends at %s", t.Name, t.Ancestor, t.Start, t.End)
		}
		if t.Ancestor >= 0 {
			children[t.Ancestor] = append(children[t.Ancestor], t.Start)
		}
		order = append(order, i)
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(depth(timelines, a), depth(timelines, b)) })
	m, at := &Model{}, map[pointKey]int{}
	for _, i := range order {
		if depth(timelines, i) > len(timelines) {
			return nil, fmt.Errorf("size model: timeline %s is its own ancestor", timelines[i].Name)
		}
		if err := m.add(timelines, i, children[i], at); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// depth counts the ancestors of a timeline, and gives more than there are timelines where they go in a circle.
func depth(timelines []Timeline, i int) (n int) {
	for ; timelines[i].Ancestor >= 0 && n <= len(timelines); i = timelines[i].Ancestor {
		n++
	}
	return n
}

// add appends the points of one timeline.
func (m *Model) add(timelines []Timeline, i int, children []page.LSN, at map[pointKey]int) error {
	t := &timelines[i]
	last := -1
	if t.Ancestor >= 0 {
		p, ok := at[pointKey{t.Ancestor, t.Start}]
		if !ok {
			return fmt.Errorf("size model: timeline %s branched at %s, where its ancestor has no point", t.Name, t.Start)
		}
		last = p
	}
	put := func(parent int, kind Kind, lsn page.LSN, needed bool) int {
		m.Points = append(m.Points, Point{Segment{Parent: parent, LSN: lsn, Needed: needed}, i, kind})
		return len(m.Points) - 1
	}
	last = put(last, Start, t.Start, t.Cutoff <= t.Start)
	at[pointKey{i, t.Start}] = last
	for _, p := range t.between(children) {
		last = put(last, p.Kind, p.LSN, p.LSN > t.Cutoff)
		at[pointKey{i, p.LSN}] = last
		if p.Kind == Leased {
			put(put(last, LeaseStart, p.LSN, p.LSN > t.Cutoff), LeaseEnd, p.LSN, true)
		}
	}
	put(last, End, t.End, true)
	return nil
}

// between lists the points between a timeline's start and its end, in order, each once.
func (t *Timeline) between(children []page.LSN) []Point {
	var out []Point
	point := func(kind Kind, lsn page.LSN) {
		if lsn > t.Start && lsn <= t.End {
			out = append(out, Point{Segment: Segment{LSN: lsn}, Kind: kind})
		}
	}
	for _, lsn := range children {
		point(Branching, lsn)
	}
	for _, lsn := range t.Leases {
		point(Leased, lsn)
	}
	point(Cutoff, t.Cutoff)
	slices.SortFunc(out, func(a, b Point) int {
		return cmp.Or(cmp.Compare(a.LSN, b.LSN), cmp.Compare(a.Kind, b.Kind))
	})
	return slices.CompactFunc(out, func(a, b Point) bool { return a.LSN == b.LSN && a.Kind == b.Kind })
}

// Wants reports whether the size of the cluster at a point has to be known: where a snapshot may be.
func (p *Point) Wants() bool {
	switch p.Kind {
	case Branching, Cutoff, Leased:
		return true
	case Start:
		return p.Needed && p.Parent < 0
	}
	return false
}

// Compute finds the cheapest way, once sizes are set.
func (m *Model) Compute() (Result, error) {
	segments := make([]Segment, len(m.Points))
	for i := range m.Points {
		segments[i] = m.Points[i].Segment
	}
	return Compute(segments)
}
