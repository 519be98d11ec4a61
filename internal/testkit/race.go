//go:build race

package testkit

// UnderRace says that the test binary has the race detector, under which comparisons take ten times as long.
const UnderRace = true
