// Package pageserver serves the timelines of an engine to PostgreSQL computes, over the PostgreSQL wire protocol, as
// Neon's pageserver does (pageserver/src/page_service.rs): one simple or extended query opens a stream of page requests
// (pagestream_v2, pagestream_v3), sends a backup (basebackup for a compute, fullbackup for a stock server) or holds an LSN (lease lsn). What the messages of a stream
// look like is in pagestream.
//
// # One stream
//
// The goroutine of a connection reads and decodes requests, as many as have arrived, and puts them into a queue of bounded
// length; where it is full nothing more is read, and TCP makes the client wait. Goroutines that live while the queue holds
// something take from its front what can be read together - page requests of one effective LSN, at most Config.Batch - and read
// them with one Timeline.GetVectored. Who is done writes, with one write for each batch, all answers whose turn it is, and goes
// on; nobody waits for another's answers. No timer gathers requests: who is alone is served at once, and while one batch is
// read the next one grows. A client that keeps many requests open has them divided among the four batches that may be under way,
// or else client and server would wait for each other by turns.
//
//	socket ─▶ read, decode ─▶ queue (Config.Queue) ─▶ four batches ─▶ GetVectored ─▶ answers, in order ─▶ socket
//
// A page is copied once between the engine and the kernel: into the buffer that is written. Buffers belong to a stream
// only while it has work, so that an idle connection holds a small one to read into and a goroutine.
//
// # Which state
//
// What requests mean and where their answers are found is in answer, which pageapi, the same service over gRPC, shares.
//
// # Shards
//
// A stream is answered from all shards of its tenant that are here (answer.Shards). What belongs to another one, and what was
// closed since - the tenant was split, or detached - ends the stream with an error by which the client looks again whom to ask.
//
// # Memory
//
// Answers have a budget (answer.Memory) from when they are read until they are sent. While there is none nothing is read; who
// takes his answers slowly meanwhile loses his connection.
//
// # Backups from files
//
// Where the engine keeps base backups (strata.Options.BackupCache), one that is there goes as it is: the header of each message is
// written apart, and its content is sent from the file to the socket by sendfile. With TLS it is copied.
//
// # Who may
//
// With Config.Auth a client sends a JSON Web Token as its password, which is verified before anything else is read, and each
// command is held against its claims before it is looked whether what it names is there. See auth.
//
// # Errors
//
// What is wrong with one request - no such relation, an LSN before the history kept, a wait in vain - is its answer, and
// the stream goes on. What is no request ends the stream with an ErrorResponse. Codes are Neon's: 57P01 where the server
// shuts down or what is read was closed, 08006 where a shard is elsewhere, XX000 otherwise.
package pageserver
