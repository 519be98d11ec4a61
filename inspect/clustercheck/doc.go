// Package clustercheck compares a cleanly stopped data directory with a timeline, page by page, under the
// masks that PostgreSQL's own wal_consistency_checking uses.
//
// Compared are every block of every main, init and visibility fork, every page of the SLRUs that Strata
// keeps, and the relation maps. A relation that one side alone has counts as different, by its main fork
// (an unlogged one by its init fork). What may lawfully differ is listed in docs/masks.md; each such case is
// counted by name in the report, so that nobody has to take it on faith.
//
// It reads both sides once, in key order, in bounded memory.
package clustercheck
