// Package ingest turns a data directory and WAL into versioned values.
//
// OpenDataDir and Import take the files of a cleanly stopped cluster and give every page and file once, at
// the end of the shutdown checkpoint. An Ingester takes WAL records from there on and puts what they change
// through a datadir.Modification.
//
// By default each block that a record names gets the record as its next version; redo is the reader's work.
// What records change without naming a block is put here: relation files made, cut and dropped, databases,
// SLRUs, prepared transactions, relation maps, the bits of visibility maps, pg_control. The reference is what
// PostgreSQL's own redo does (the rm_redo functions of 14 to 17).
//
// Not kept: replication slots and what logical decoding writes (pg_logical/mappings and
// snapshots), statistics, pg_notify, pg_serial, pg_subtrans, the unlogged relations' content: a server
// rebuilds or empties them when it starts from a base backup.
//
// An Ingester belongs to one goroutine. After an error it holds nothing back: what precedes the record at
// fault is stored, nothing of the record itself, and a new Ingester continues there.
package ingest
