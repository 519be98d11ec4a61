// Package sizemodel computes what a tenant's timelines come to, as one number that does not depend on how they are
// stored: the smallest sum of whole copies of the cluster ("snapshots") and of WAL between them from which every
// state that has to be kept can be had. It is Neon's synthetic size. Everything here is a pure function.
package sizemodel

import (
	"fmt"

	"github.com/stratapg/strata/page"
)

// Segment is a point in the history of a tenant, and the WAL that leads to it from the point before.
type Segment struct {
	// Parent is the point before, by its place among the segments, which is lower; -1 for none.
	Parent int
	LSN    page.LSN
	// Bytes is the size of a snapshot here, if Sized; else none can be here.
	Bytes uint64
	Sized bool
	// Needed says that every state between the parent and here has to be kept, so that the WAL is.
	Needed bool
}

// Method says how a segment's states are had.
type Method uint8

// Methods.
const (
	// Skipped: nothing between the parent and here is kept.
	Skipped Method = iota
	// Snapshot: a snapshot is kept here, and the WAL to it is not.
	Snapshot
	// WAL: the WAL from the parent to here is kept.
	WAL
)

// String gives the method in one word.
func (m Method) String() string {
	switch m {
	case Snapshot:
		return "snapshot"
	case WAL:
		return "wal"
	}
	return "skipped"
}

// Result is what a model comes to.
type Result struct {
	// Bytes is the size of everything, at least 1.
	Bytes uint64
	// Segments says, for each, how it is had, and what it and all behind it come to.
	Segments []Choice
}

// Choice is what was chosen for one segment.
type Choice struct {
	Method Method
	Bytes  uint64
}

// cost is what the part of the history behind a point comes to: alone, if nothing before it is kept, and incremental, if the
// state at its parent is there.
type cost struct {
	alone, incremental Choice
	possible           bool // alone
}

// Compute finds the cheapest way. Segments without a parent are where histories begin.
func Compute(segments []Segment) (Result, error) {
	// Sums over children, which come behind their parents.
	incremental, alone := make([]uint64, len(segments)), make([]uint64, len(segments))
	stuck := make([]bool, len(segments)) // a child cannot do without this point
	costs := make([]cost, len(segments))
	total := uint64(0)
	for i := len(segments) - 1; i >= 0; i-- {
		s := &segments[i]
		if s.Parent >= i || s.Parent < -1 {
			return Result{}, fmt.Errorf("size model: segment %d has segment %d before it", i, s.Parent)
		}
		if s.Parent >= 0 && segments[s.Parent].LSN > s.LSN {
			return Result{}, fmt.Errorf("size model: segment %d at LSN %s comes before its parent at %s", i, s.LSN, segments[s.Parent].LSN)
		}
		c := &costs[i]
		if !s.Needed && !stuck[i] {
			c.alone, c.possible = Choice{Skipped, alone[i]}, true
		}
		if bytes := s.Bytes + incremental[i]; (!s.Needed || s.Parent < 0) && s.Sized && (!c.possible || bytes < c.alone.Bytes) {
			c.alone, c.possible = Choice{Snapshot, bytes}, true
		}
		c.incremental = Choice{WAL, incremental[i]}
		if s.Parent >= 0 {
			c.incremental.Bytes += uint64(s.LSN - segments[s.Parent].LSN)
		}
		if c.possible && c.alone.Bytes <= c.incremental.Bytes {
			c.incremental = c.alone
		}
		switch {
		case s.Parent >= 0:
			incremental[s.Parent] += c.incremental.Bytes
			alone[s.Parent] += c.alone.Bytes
			stuck[s.Parent] = stuck[s.Parent] || !c.possible
		case !c.possible:
			return Result{}, fmt.Errorf("size model: segment %d at LSN %s begins a history, and how large a snapshot there is is not known", i, s.LSN)
		default:
			total += c.alone.Bytes
		}
	}
	return Result{Bytes: max(total, 1), Segments: choose(segments, costs)}, nil
}

// choose goes from the beginnings onward: behind a point that is skipped nothing before it is there.
func choose(segments []Segment, costs []cost) []Choice {
	out := make([]Choice, len(segments))
	for i, s := range segments {
		if s.Parent < 0 || out[s.Parent].Method == Skipped {
			out[i] = costs[i].alone
		} else {
			out[i] = costs[i].incremental
		}
	}
	return out
}
