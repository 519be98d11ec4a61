// Package faultstore makes a storage fail as real ones do, for tests: the n-th request of a kind, or some by a seeded
// chance, fails, is late, is done although its answer is lost, is done twice, ends early, or lists out of order.
package faultstore
