// Package pool is redo in child processes: a walredo.Redoer that sends requests to workers that speak the
// protocol of package wire, such as `strata redo-worker`, a stock server with our extension, or Neon's
// `postgres --wal-redo`.
//
// A process serves one walredo.Kind, and a pool has up to Options.Processes of each kind that it is asked
// for, or of each kind for each tenant (Options.PerTenant). They are launched on demand, one at a time, and answer a ping before they get work. Requests go to the process
// with the fewest at hand, many in flight. Nobody holds a lock while he waits: whoever finds nobody
// writing writes his request himself as far as the pipe takes it, the process's writer does the rest, and
// one reader hands out the answers in order.
//
// What a process answers is looked at before it is believed: the page's header must be sound and its LSN
// that of the image or of a record. A process that dies, answers nonsense or nothing at all for
// Options.StallTimeout is killed and replaced. The request it was at work on is charged with an attempt and
// fails after Policy.Attempts; those behind it in the pipe go to another process at no charge, as they were not to
// blame. Who gives up (context, Policy.Timeout) leaves the others alone.
//
// Every child is killed with its process group and waited for, on every path; if this process dies, the
// kernel kills them. Memory is bounded: requests wait until Options.MaxBytes and MaxRequests have room.
//
// A Pool may be used from many goroutines. Its locks, in order: group.mu, process.mu.
package pool
