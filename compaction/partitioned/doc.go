// Package partitioned is the strategy that keeps a bound on the deltas that a read visits and writes as little
// as it can under it. docs/design/partitioned.md has the cost model and what it was compared with.
//
// Every key has a stack: the deltas, L0s among them, above its newest image. No stack may grow higher than
// Options.MaxVisits. A stack is left alone until it is nearly that high; then the cheapest way to shorten it is taken,
// in bytes written for each delta that it frees a read of:
//
//   - an image of the part of the key space (128 MiB of live pages) frees all deltas below it and writes the live pages;
//   - merging a run of deltas of the stack, with all that lies between them in any of their keys, frees all but one and writes
//     the run.
//
// So small hot ranges are imaged, wide cold ones merged, each on its own, and of a uniform load the stack of merged
// layers grows while that of L0s shrinks, until an image is cheaper than either.
//
// Merged layers are cut at round keys: where a relation begins, or at the roundest block number that the wanted
// size allows. Such cuts recur, so that layers of different age lie upon each other without straddling.
//
// What is hot enough that it will be imaged anyway before merging could pay is flushed into deltas of its own from the
// beginning (Flush) and is written just once.
package partitioned
