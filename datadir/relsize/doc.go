// Package relsize remembers the sizes of one timeline's relations, so that a page can be asked for without
// two directories and a size being read first.
//
// There are two caches, since two kinds of readers ask. A primary asks for the newest state again and again, at
// ever higher LSNs, and what it asked for holds until WAL changes it. A standby or a static endpoint asks for the
// state at an LSN of the past, which says nothing about any other LSN.
//
//   - The primary cache has the latest size of a relation and the LSN that it holds from. WAL ingest alone writes it,
//     in the step that makes the change visible, so an entry is never behind what can be read. It answers requests at
//     or after that LSN.
//   - The replica cache has sizes at exact LSNs. Reads fill it, and it answers for the very same LSN only.
//
// One cache for both would be wrong: what a standby read at an older LSN, of a relation that has changed or is
// dropped since, would be taken for the newest size by the next request and by ingest.
//
// Both are bounded, by entries and by the bytes that Memory grants, and forget what was not used for the longest
// time. Forgetting is never wrong: who misses reads. Nothing in them is a pointer, so the garbage collector has
// nothing to walk.
package relsize
