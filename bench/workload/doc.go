// Package workload is work that benchmarks measure, as functions: `go test -bench` (package bench) and the command bench do the same.
//
// A Workload is prepared once in a folder, with data that its seed decides alone, and then done in rounds; each round gives a value
// for each of its metrics. How values of rounds are put together is for who runs them: Median is what both do.
package workload
