// Package stats holds what a run of the simulator measured.
package stats
