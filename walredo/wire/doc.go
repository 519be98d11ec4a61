// Package wire is the protocol between a redo pool and its worker processes, the one that Neon's
// `postgres --wal-redo` speaks on stdin and stdout. docs/formats/redo-protocol.md has it in pictures.
//
// A message is a type byte, a big-endian length that counts itself and the payload, and the payload:
//
//	'B' begin  tag                    start over with this page, all zeros
//	'P' push   tag, 8192 bytes        give its image
//	'A' apply  end LSN u64, record    apply a record to it
//	'G' get    tag                    answered by 8192 bytes
//	'H' ping                          answered by 8192 zero bytes
//
//	tag: fork u8 | tablespace u32 | database u32 | relation u32 | block u32
//
// Answers come in the order of the questions and have no header. In the protocol as Neon has it a worker
// that cannot answer says why on stderr and exits. Workers of our own may answer with a failure page
// instead (Failure), if they were started with the flag that allows it: no page of PostgreSQL looks like one.
//
// Nothing here trusts what it reads. All functions may be called concurrently, a Reader by one goroutine.
package wire
