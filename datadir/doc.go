// Package datadir sees a PostgreSQL data directory through versioned keys: databases, relations and their
// sizes, SLRU segments, prepared transactions, relation maps, auxiliary and cluster files.
//
// Snapshot is the read side, a view as of one LSN; it keeps nothing and may be used from many goroutines.
// Modification is the write side, which gathers the changes of many WAL records into one batch and sees
// its own changes before they are stored; it belongs to one goroutine.
//
// What the values of directory-like keys look like is described in docs/formats/keys.md. It follows Neon
// (pageserver/src/pgdatadir_mapping.rs, aux_file.rs), except for the record index and the cluster files,
// which are Strata's own. Directories are written in sorted order, so that equal directories have equal
// bytes; they are read in any order.
package datadir
