// Package pgworker turns a stock PostgreSQL server into a redo worker for its own version: records are applied by
// the server's own redo routines, in a process of its own that a pool (package pool) talks to.
//
// Two things make it. The folder extension holds a small C library, built by `make pgworker` against a server's
// headers, which a server in single-user mode loads in place of reading queries; it says what it does to keep pages
// apart and to shut itself in. And Run, which a process started by the pool calls, finds a data directory that no
// other worker has, sets resource limits, and becomes that server.
//
// A server wants a data directory, though nothing of it is used. Run makes them in a scratch folder, one for each
// worker that runs at a time, about 30 MB each, and uses them again. A lock that the process holds as long as it
// lives says which are taken; nobody has to clean up after a process that was killed.
package pgworker
