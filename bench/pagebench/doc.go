// Package pagebench asks a page server for work and measures how it answers, as Neon's pagebench does (pageserver/pagebench):
// the same work with the same flags, against our server or Neon's. cmd/pagebench is its command line.
//
// # Ways
//
// Pages are asked for over the PostgreSQL protocol (Pagestream), over gRPC (GRPC), or of an engine in this process (Library), so that
// the protocol's part in what a page costs can be told. Churn, Aux and the key spaces go over the management API (API). Ingest
// writes into a timeline of an engine in this process or, over that API, of a server for tests.
//
// # Closed and open loops
//
// By default a client keeps QueueDepth requests under way and sends the next one when an answer has come: a closed loop, in
// which a server that stands still is asked nothing meanwhile. With Rate requests begin at fixed times; one whose time passes
// while the queue is full is counted as missed, as Neon counts it. With OpenLoop too none is missed: each is sent as soon as
// there is room, and its latency counts from the time at which it was to begin, so that what a stalled server would have kept
// waiting shows in the percentiles.
//
// # What is measured
//
// Latency from the call that sends a request to its last answer, in microseconds with three digits, by a histogram for each
// client which are added up at the end. A batch is one request. What falls into the warm-up is not counted.
package pagebench
