// Package legacy plans as Neon's default compaction does (pageserver/src/tenant/timeline/compaction.rs): L0s, as
// memory is flushed to, are rewritten as L1, whose deltas are narrow in keys and are not touched again; where L1
// deltas are stacked too high a partition of the key space gets an image; and history that lies below the cutoff
// is folded when there is much of it.
//
// What is known of Neon's as a fault is not repeated; the comments say where.
package legacy
