// Package testkit is what tests of several packages share: fixtures, real PostgreSQL servers of 14 to 17,
// a workload that makes nearly every kind of WAL record, and recovery to an LSN by PostgreSQL itself.
//
// Servers come from `make servers`. A test whose server or fixture is missing skips with one line that says
// what brings it; with STRATA_REQUIRE_ALL set, as in CI, it fails instead. Run as root, servers are started
// as user postgres or nobody, in directories below os.TempDir that belong to that user.
//
// Environment: STRATA_FIXTURES (folder of fixtures), STRATA_PG_DIR (servers from npm), STRATA_REQUIRE_ALL
// (nothing may skip), STRATA_LONG (long forms of proofs), STRATA_SEED (random numbers as in a run before;
// RAPID_SEED is the same for properties; `make check` sets both, so that its verdict can be had again).
//
// Helpers end the test that calls them on failure, and are called from the test's own goroutine.
package testkit
