// Package simulator runs compaction strategies on a mock timeline (mock) under a described workload and counts what
// they cost: bytes written, deltas, layers and records per read, bytes kept, time that ingest had to wait. A run is a
// pure function of its Config and its strategy: the same bytes come out on every machine, whatever else runs there.
//
// Time is simulated. Ingest has a rate, compaction a bandwidth for what it reads and writes; a job's outputs appear one
// by one as the bandwidth allows, while ingest goes on, reads are tried and garbage collection moves its cutoff. A
// strategy that says how far it is from what it promises (compaction.Debt) slows ingest down; the time lost is the stall.
//
// A run may be watched through Observer, which is how pictures are made, and is checked at every step: see Checks.
package simulator
