//go:build race

package e2e

// underRace says that the test binary has the race detector, under which comparisons take ten times as long.
const underRace = true
