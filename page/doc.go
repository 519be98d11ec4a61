// Package page is the vocabulary of Strata: keys, LSNs, ranges, values and identities. It imports nothing
// of ours, does no I/O, and everything in it but Batch may be used from many goroutines at once.
//
// All ranges are half open, here and everywhere else: Start belongs to a range, End does not.
//
// The 18-byte key and the mapping of PostgreSQL's objects onto it are those of Neon
// (libs/pageserver_api/src/key.rs), described in docs/formats/keys.md.
package page
