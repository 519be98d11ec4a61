// Package receive follows a running PostgreSQL server by physical streaming replication, as a standby would,
// and feeds what it sends to a timeline.
//
// The server's replication slot advances only to what is durable here: the flush position in every status
// message is the store's DiskConsistentLSN, so that the server keeps whatever a crash here could lose. The
// write position is what was received.
//
// A broken connection is made again, with a growing and jittered pause, and goes on at the last whole
// record; an error that another try cannot mend (another cluster, WAL that is gone, a record that cannot be
// ingested) ends Run at once. Memory does not grow with the stream: the server is read no faster than
// records are ingested.
package receive
