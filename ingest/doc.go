// Package ingest turns the files of a cluster and WAL into versioned values.
//
// Open looks the files over, wherever they lie (package source), Plan makes jobs of an import, and Run does one: every page
// and file is given once, at one LSN. An Ingester takes WAL records from there on and puts what they change through a
// datadir.Modification.
//
// By default each block that a record names gets the record as its next version; redo is the reader's work.
// What records change without naming a block is put here: relation files made, cut and dropped, databases,
// SLRUs, prepared transactions, relation maps, the bits of visibility maps, pg_control. The reference is what
// PostgreSQL's own redo does (the rm_redo functions of 14 to 17).
//
// # Where an import begins
//
// The files of a cleanly stopped cluster are one state, at the end of the shutdown checkpoint.
//
// Those of a running server's base backup are not: each was copied at a moment of its own between the REDO point that
// backup_label names and the backup's end. They are stored at the REDO point all the same, as image layers, and Recover
// puts the WAL up to the end over them, as delta layers. What makes one state of that lies where the same is done in
// PostgreSQL's recovery, and in Neon's engine:
//
//   - A page may be newer than a record of it. Redo skips records that end at or below the page's pd_lsn, and applies those
//     that bring the whole page. So a read at or above the end is right, and so would Neon's be of these layers.
//   - A relation may be shorter than a record expects, or not there. Ingest decides that, since it knows sizes: the record
//     gives that block no version, and the block must have been cut or dropped by the backup's end (Recovery).
//   - Sizes, directories and small files may be newer too. Records set them, never count them up, so that they are right
//     at the end: a relation that exists is made once more, a transaction that was forgotten is forgotten again.
//   - pg_control is given the checkpoint that the label names, and its counters move with the records from there.
//
// The timeline begins at the backup's end: below it nothing may be read, and nothing branches. Its layers reach further down,
// which Neon's format has a field for, initdb_lsn.
//
// Not kept: of a stock server replication slots and what logical decoding writes (pg_logical/mappings and
// snapshots), statistics, pg_notify, pg_serial, pg_subtrans, the unlogged relations' content: a server
// rebuilds or empties them when it starts from a base backup.
//
// An Ingester belongs to one goroutine. After an error it holds nothing back: what precedes the record at
// fault is stored, nothing of the record itself, and a new Ingester continues there.
package ingest
