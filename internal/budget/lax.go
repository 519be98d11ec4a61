//go:build !race && !invariants

package budget

const strict = false
