// Package strata is an embeddable storage engine for PostgreSQL: write-ahead log in, any page and any base
// backup as of any LSN out.
//
//	engine, err := strata.Open(ctx, strata.Options{Dir: "data", CreateIfMissing: true})
//	tenant, err := engine.DefaultTenant(ctx)
//	tl, _, err := tenant.Import(ctx, strata.ImportOptions{PGData: "/var/lib/postgresql/15/main", Name: "main"})
//	_, err = tl.Ingest(ctx, strata.IngestOptions{Dir: "/archive"})
//	p, err := tl.Page(ctx, page.RelTag{Spc: 1663, DB: 5, Rel: 16384}, 0, lsn)
//
// A store is one directory, opened by one process for writing, or by many for reading. It holds tenants (as
// a rule one), and these hold timelines: the history of a cluster from the LSN of its import on, or of a
// branch from the LSN it branched at.
//
// An LSN names the state that holds the records which end at or before it, PostgreSQL's
// recovery_target_inclusive=off. What was put is durable up to Timeline.DiskConsistentLSN; after a crash the
// timeline ends there, and ingest goes on from there.
//
// All methods of Engine, Tenant and Timeline may be called from many goroutines. Writers of one timeline
// take turns; readers never wait for them, nor for a flush.
package strata
