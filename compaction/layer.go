package compaction

import (
	"fmt"

	"github.com/stratapg/strata/page"
)

// ID is what makes two layers the same file.
type ID struct {
	Keys       page.Range
	LSNs       page.LSNRange // of an image at LSN x it is [x, x+1)
	Image      bool
	Generation uint32
}

// String gives the layer's name as the file system has it, but for the generation.
func (id ID) String() string {
	s := fmt.Sprintf("%s__%s", id.Keys, id.LSNs.Start.Hex())
	if id.Image {
		return s
	}
	return s + "-" + id.LSNs.End.Hex()
}

// Layer is what planners know of a layer file.
type Layer struct {
	ID
	// Size is the file's length in bytes.
	Size int64
	// Entries is how many values it holds, 0 if unknown.
	Entries int64
	// Moved are keys, sorted and disjoint, whose facts in this layer also lie in other live layers, because a
	// job over it was published in part. Only the other keys still need it. Nil is none.
	Moved []page.Range
	// Chains, of a delta, are how many records of a key follow each other in it without an image; nil if that is unknown.
	Chains *page.Chains
}

// L0 reports whether the layer is a delta of all keys, as memory is flushed to. Nothing else says so.
func (l *Layer) L0() bool { return !l.Image && l.Keys == page.FullRange }

// Last is the LSN of the newest fact that the layer may hold.
func (l *Layer) Last() page.LSN { return l.LSNs.End - 1 }

// Rect is a rectangle of keys and LSNs.
type Rect struct {
	Keys page.Range
	LSNs page.LSNRange
}

// Covers reports whether o lies in r.
func (r Rect) Covers(o Rect) bool {
	return r.Keys.Covers(o.Keys) && r.LSNs.Start <= o.LSNs.Start && o.LSNs.End <= r.LSNs.End
}

// Overlaps reports whether r and o have a key and an LSN in common.
func (r Rect) Overlaps(o Rect) bool { return r.Keys.Overlaps(o.Keys) && r.LSNs.Overlaps(o.LSNs) }

// String gives both ranges.
func (r Rect) String() string { return fmt.Sprintf("keys %s, LSNs %s", r.Keys, r.LSNs) }

// Rect gives the layer's rectangle.
func (l *Layer) Rect() Rect { return Rect{l.Keys, l.LSNs} }
