// Package wal decodes PostgreSQL's write-ahead log of versions 14 to 17 and writes the little of it that a
// base backup needs.
//
// From the inside out: Record.Decode takes one whole record apart; Decoder turns a stream of bytes, in pieces
// of any size, into records; DirReader feeds a Decoder from a directory of segment files and knows where WAL
// ends and where it is broken. BuildShutdownCheckpoint writes segments whose only record is a checkpoint.
//
// The format is PostgreSQL's: access/xlogrecord.h, access/xlog_internal.h, and the checks are those of
// access/transam/xlogreader.c. What differs between versions is in the table of version.go.
//
//	segment  := page{segment size / 8192}
//	page     := header (24 bytes, 40 on a segment's first page), then records back to back, each starting
//	            at a multiple of 8; a record that does not fit goes on after the next page's header
//	record   := header (24 bytes), block references, lengths, images and data per block, main data
//
// Everything read here may be broken: nothing panics on it, and memory grows only with the bytes that came.
// A Record, Decoder or DirReader serves one goroutine at a time; the functions are free of state.
package wal
