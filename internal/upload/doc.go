// Package upload brings what a timeline has made durable on the local disk into remote storage, in an order in which
// the remote alone is a whole timeline at every moment: layers first, then the index that names them, then the
// deletion of what no index names any more.
//
// # Objects
//
// The layout is Neon's: tenants/<tenant>/timelines/<timeline>/ holds layers under their names and the generation of their
// writer, and an index_part.json of each generation that wrote one (package index). Who attaches a tenant
// takes a generation above all others, and reads the newest index that is not above his. So a writer that was
// replaced, and does not know it, overwrites nothing: what it writes bears its own generation, and nobody reads it.
// Two things it must not do, and only a Validator that says that the generation is still the last allows them: delete
// objects, which the next one's index may name, and promise that WAL up to some LSN is not needed any more.
//
// # Parts
//
// A Queue is that of one timeline. Package schedule decides what may begin; Queue executes it, each operation in a goroutine that
// ends with it, and tries again for ever. What waits is debt, in Status. Nothing of a Queue is on disk: after a
// restart what the manifest has and the index has not is scheduled again.
//
// A Queue and Deletions may be used from many goroutines at once.
package upload
