// Package sample reads the sample in testdata/sample: a small real PostgreSQL cluster before some work, the
// WAL of that work, and digests of every page as PostgreSQL itself had it at several LSNs. The demo and the
// tests put the first two through the engine and compare what comes out with the third.
//
// testdata/sample/README.md says how the sample was made and what the digests leave out. Nothing here
// writes but Extract.
package sample
