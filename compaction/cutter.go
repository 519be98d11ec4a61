package compaction

import "github.com/stratapg/strata/page"

// Entry is what a cutter sees of a value. Size is that of the value as it will be written.
type Entry struct {
	Key  page.Key
	LSN  page.LSN
	Size int64
}

// Cutter divides a job's rectangle into those of its outputs. It sees the entries of the inputs inside the
// rectangle once, each (key, LSN) once, in the order of keys and, of a key, of LSNs. The outputs that it gives are
// disjoint, in the order of keys and, of a key, of LSNs; every entry lies in one of them; a key's entries
// are in one output, or in several of that key alone, which are published in one step. It takes memory that does not grow with the entries.
type Cutter interface {
	// Add takes the next entry, and gives the outputs that have become certain to emit.
	Add(e Entry, emit func(Rect))
	// Finish gives the rest.
	Finish(emit func(Rect))
}

// CoarseCutter is a Cutter that need not see every entry: what lies close together it may be told of in one, which is most of
// what cutting many small entries costs. Outputs then end a little earlier or later.
type CoarseCutter interface {
	Cutter
	// Grain is how many bytes it may be told of at once; 0 is none.
	Grain() int64
	// Whole reports whether all entries of some keys may be told of at once, if they are no larger than Grain.
	Whole(keys page.Range) bool
	// AddWhole takes all entries of keys, which follow those before. No output ends within them.
	AddWhole(keys page.Range, size int64, emit func(Rect))
}
