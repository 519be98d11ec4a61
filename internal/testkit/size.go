package testkit

import (
	"os"
	"testing"
)

// Long reports whether the long forms of proofs are wanted (`make long`).
func Long() bool { return os.Getenv("STRATA_LONG") != "" }

// Size chooses how much of a proof to do: a token under the race detector, where the check itself runs once
// more without it; the short form in CI; or the long one.
func Size(race, short, long int) int {
	switch {
	case Long():
		return long
	case UnderRace:
		return race
	}
	return short
}

// WithoutRace reports whether to run a proof that compares bytes and has little to tell the race detector: its package runs
// once more without it (PROOFS in the Makefile).
func WithoutRace(t testing.TB) bool {
	if UnderRace && !Long() {
		t.Log("this proof runs without the race detector alone")
		return false
	}
	return true
}
