// Package answer finds what computes ask a timeline for, whatever the protocol that they ask by: which state a request means,
// pages many at a time, sizes, SLRU segments. pageserver puts it into messages of the PostgreSQL protocol, pageapi into those of
// gRPC.
//
// # Which state
//
// A request names the LSN that it wants (the largest number for the newest) and one since which what it asks for has not
// changed. If the latter lies beyond the timeline's end the request waits for it, up to Source.Limit; otherwise it is
// answered at the smaller of the LSN wanted and the end.
//
// # Which shard
//
// A Finder finds a timeline in the shards of a tenant that are here, or in those that a shard has become; Shards deals the pages
// of a batch out to them. What none of them has is ErrElsewhere.
//
// # How much memory
//
// Memory is what all answers share, so that no number of clients that do not read needs more.
//
// # What is not there
//
// A block beyond a relation's end is a page of zeros, and a map fork that does not exist is empty, as computes expect of Neon.
// Anything else that is not there is page.ErrNotFound; what makes no sense is ErrRequest.
package answer
