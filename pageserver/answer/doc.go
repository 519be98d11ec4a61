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
// # What is not there
//
// A block beyond a relation's end is a page of zeros, and a map fork that does not exist is empty, as computes expect of Neon.
// Anything else that is not there is page.ErrNotFound; what makes no sense is ErrRequest.
package answer
