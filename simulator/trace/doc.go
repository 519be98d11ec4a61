// Package trace is what a store has taken in, as a file from which the simulator replays it: which key each record
// changed, how many bytes it had, and whether it needs nothing older; no content. `strata layers export-trace` writes one.
//
// # Format
//
// Lines of text. The first is "strata-trace 1", the second a Header as JSON, and each other one a record, in the order of
// LSNs: the number of its region in the header, its key's place in the region, its size in bytes, and 1 if it needs
// nothing older or else 0, with a space between. The last line is "end" and the number of records: a file without it
// is cut off.
package trace
