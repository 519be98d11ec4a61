// Package pageapi serves an engine's timelines over gRPC, as Neon's pageserver does besides its PostgreSQL protocol
// (pageserver/page_api): the same package page_api, service, messages and metadata, so that Neon's clients work. The messages
// are in pb; what requests mean is in pageserver/answer, and the same as over the PostgreSQL protocol.
//
// # Where a call goes
//
// Its metadata name tenant, timeline and shard; what is wrong with them is InvalidArgument. Sizes, SLRU segments and backups
// are asked of shard 0, pages of the shard that owns them, leases of each. A shard that was split is answered for by those that
// it has become, as far as they are here.
//
// # One stream of pages
//
// Requests of a stream are answered one after another; the pages of one request, at most Config.Batch, are read together. A
// request that fails is answered by a status code of its own. What ends the stream instead: that the server shuts down or the
// timeline is closed (Unavailable), and what concerns the call.
//
// # Limits
//
// Messages that are received have at most Config.MaxMessage bytes; a connection has at most Config.Streams calls, a server
// Config.Connections connections, and pages and backups have Config.Memory bytes together until they are written to sockets:
// one answer of a call at a time lies in the transport's buffers, and a call does not end before that has gone. What a client
// wants compressed counts until it is compressed, and what is asked for by calls with one answer, at most a segment of 256 KiB,
// does not count; a transport keeps one such message of each of its Config.Streams. Half-open connections
// are found by pings. A client that does not take an answer within Config.Idle loses its connection.
//
// # Who may
//
// With Config.Auth each call carries a token in its metadata, "authorization: Bearer ...", which is held against the tenant
// before it is looked whether that is here: Unauthenticated without, InvalidArgument for one that is not to be believed (as
// Neon says it), PermissionDenied for one that does not allow this. Health checks and reflection are for all.
package pageapi
