// Package compaction decides what is to be compacted, imaged, folded and dropped. It only decides: a Strategy
// is a pure function from a Snapshot of layer descriptors to a Plan of jobs, without I/O, clock, randomness or
// goroutines, in integers, so that the engine and the simulator run the same one and the same input gives the
// same jobs on every machine. Doing a job is the engine's business (internal/timeline) or the simulator's.
//
// # Facts
//
// Every entry of every layer is a fact: a record at an LSN leads from the state before it to the state at it,
// and an image at an LSN is the state there, the records at that LSN included. Facts stay true, and a fact in
// two layers counts once. A read at an LSN goes down from there through the records of its key to the first
// fact that needs nothing older. So adding layers never harms; what can do harm is to take one away, and
// CheckRemoval is the one judge of that, whatever strategy asked for it.
//
// # Read points
//
// Reads may ask for any LSN at or above the cutoff, and, below it, for the retained LSNs: branch points and
// leases. Snapshot has both.
//
// # A job, from plan to publication
//
// A job names its inputs, the rectangle of keys and LSNs whose facts it gathers, what it makes of them, and
// which layers it means to make obsolete. Where the cuts between outputs depend on entries the job carries a
// Cutter, which sees the entries' keys, LSNs and sizes once, in order, and gives the rectangles of the
// outputs; then each output is written and published on its own, and an input goes with the last output that
// covers it. What is published of a job that was interrupted is told to the next plan by Layer.Moved.
package compaction
