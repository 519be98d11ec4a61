package pool

import "sync/atomic"

// Metrics is what a pool did and has.
type Metrics struct {
	Requests  int64 // pages asked for
	Pages     int64 // pages given
	Refused   int64 // requests that a worker said it cannot do
	Failed    int64 // requests that ended for want of a process, or of one that bears them
	Timeouts  int64 // requests that Policy.Timeout ended
	Cancelled int64 // requests whose callers went away
	Retries   int64 // attempts after a process failed at a request
	Moved     int64 // requests that went to another process as theirs failed at another's request
	Waits     int64 // requests that waited for MaxRequests or MaxBytes
	Bytes     int64 // bytes sent to processes
	Chunks    int64 // pieces of 64 KiB allocated for large requests; they are used again

	Launches       int64 // processes started
	LaunchFailures int64 // processes that could not be started, or did not answer their ping
	Crashes        int64 // processes that ended by themselves
	Stalls         int64 // processes killed as they answered nothing any more
	Nonsense       int64 // processes killed as they answered nonsense
	Idle           int64 // processes ended as nobody needed them
	StderrLines    int64 // lines that processes wrote on stderr
	StderrDropped  int64 // of them, lines that were not logged

	Processes int64 // processes running
	InFlight  int64 // requests that hold one of MaxRequests
	Waiting   int64 // requests that wait for MaxRequests or MaxBytes
	HeldBytes int64 // memory of requests

	Latency Latency
}

type metrics struct {
	requests, pages, refused, failed, timeouts, cancelled, retries, moved, waits, bytes, chunks atomic.Int64
	launches, launchFailures, crashes, stalls, nonsense, idle, stderrLines, stderrDropped       atomic.Int64
	processes, waiting                                                                          atomic.Int64
	latency                                                                                     latency
}

// Metrics gives the counters as they are now.
func (p *Pool) Metrics() Metrics {
	m := &p.metrics
	return Metrics{
		Requests: m.requests.Load(), Pages: m.pages.Load(), Refused: m.refused.Load(), Failed: m.failed.Load(),
		Timeouts: m.timeouts.Load(), Cancelled: m.cancelled.Load(), Retries: m.retries.Load(), Moved: m.moved.Load(),
		Waits: m.waits.Load(), Bytes: m.bytes.Load(), Chunks: m.chunks.Load(),
		Launches: m.launches.Load(), LaunchFailures: m.launchFailures.Load(), Crashes: m.crashes.Load(),
		Stalls: m.stalls.Load(), Nonsense: m.nonsense.Load(), Idle: m.idle.Load(),
		StderrLines: m.stderrLines.Load(), StderrDropped: m.stderrDropped.Load(),
		Processes: m.processes.Load(), InFlight: int64(len(p.slots)), Waiting: m.waiting.Load(), HeldBytes: p.share.Stats().Used,
		Latency: m.latency.load(),
	}
}
