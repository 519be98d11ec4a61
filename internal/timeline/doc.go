// Package timeline keeps the history of one cluster, or of one branch of it: it takes values in, writes
// them as layers, and gives pages back as of any LSN.
//
//	Put ─▶ open in-memory layer ─freeze─▶ frozen ones ─flush─▶ layer files, published in the manifest
//	Get ◀─ all of these, newest to oldest, then the ancestor at the branch LSN ◀─ redo
//
// Invariants:
//   - What readers see is one immutable version behind an atomic pointer; freezing and flushing publish a
//     new one in one step. A reader never waits for a writer or a flush. It pins the version it sees; memory and
//     files that later versions do not have are let go with the last pin of the versions before.
//   - The manifest is the truth of what is on disk. A layer is in it only after the file and its directory
//     entry are durable; the version names it only after the manifest does.
//   - DiskConsistentLSN says what is really durable: everything at or below it, and after a crash the
//     timeline ends there.
//   - A failed flush loses nothing: the frozen layer stays readable, Put refuses with the reason, and each
//     further Put or Flush tries again.
//
// All methods of Timeline may be called concurrently. Lock order: the writer's turn, the flusher's turn,
// then the version's mutex, under which nothing waits.
package timeline
