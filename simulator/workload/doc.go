// Package workload makes streams of records: which key is changed next, and by how much. A stream is a pure function
// of its description and a seed, in integers, so that it is the same on every machine.
package workload
