// Package mock is a timeline without pages and files: records are numbers, layers are sorted arrays of numbers.
// It takes in records, flushes, does what a compaction.Strategy plans, and serves reads, so that a simulator can
// count what these cost. It decides nothing: plans come from the strategies that ship, cuts from their cutters, and
// what may go is judged by compaction.CheckStep and, apart from it, by this package's own counts.
//
// # Numbers
//
// A key of the timeline is a number in a Space, which maps it to a page.Key and back; both ways keep the order. A record
// is named by its place in the Log; its LSN and size follow from that. An entry of a layer is one uint64 of both, so
// that sorting and merging entries is sorting and merging numbers:
//
//	bit 63            33 32             1   0
//	    +---------------+----------------+-----+
//	    | key, 31 bits  | record, 32 bits|image|
//	    +---------------+----------------+-----+
//
// An entry with the image bit is the state after the record, instead of the record.
//
// Nothing here may be used by two goroutines at once; nothing depends on a clock or on the order of a map.
package mock
