//go:build race || invariants

package budget

// strict makes a misrelease end the test that has it.
const strict = true
