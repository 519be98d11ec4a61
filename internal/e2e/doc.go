// Package e2e holds the proofs that need the whole engine, or a real PostgreSQL beside it, as tests:
//
//   - the same work as Neon: its input imported and ingested, its pages and its final cluster compared;
//   - record by record: redo against the page images of wal_consistency_checking, on servers of 15 and 17;
//   - cluster by cluster: after a clean stop of those servers, every page of theirs against ours;
//   - in mid-flight: at record ends between, against a server recovered to the same LSN by PostgreSQL itself;
//   - compacted: the same, of layers that each strategy has made over and collection has thinned, on a branch too;
//   - beside Neon: what layers our legacy compaction makes of the WAL that Neon's was given;
//   - crashes: a child that ingests is killed at random moments;
//   - records that redo does not know: a hash index.
//
// They run in a short form; `make long` runs the long one. What they use comes from `make servers`. The
// package has no code of its own.
package e2e
