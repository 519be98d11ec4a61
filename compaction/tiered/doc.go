// Package tiered plans as Neon's experimental compaction does (pageserver/compaction, compact_tiered.rs): deltas
// gather in tiers, each tier of a level as tall in LSNs as the level is meant to be, and where a level is
// fan-out tiers deep it is rewritten as one tier of the next. No level is stored anywhere: it is read
// off the shapes of the layers.
//
// Unlike Neon's the plan is made anew from the layers after each job, and each level is looked at below the levels above it, so
// that ingest which goes on meanwhile keeps no level from its turn. With nothing ingested meanwhile the sequence
// of files is the same. And what Neon's does not heed is seen to: an empty key space, images that lie above a
// level, layers from which keys have moved already, names that are taken.
package tiered
