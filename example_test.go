package strata_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/internal/sample"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

// must ends an example that cannot go on.
func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}

// prepare unpacks the sample, a cluster and WAL of a pgbench run, and opens an empty store beside it.
func prepare(ctx context.Context) (dir string, tenant *strata.Tenant, cleanup func()) {
	dir = must(os.MkdirTemp("", "strata-example"))
	s := must(sample.Open("testdata/sample"))
	if err := errors.Join(s.ExtractCluster(filepath.Join(dir, "cluster")), s.ExtractWAL(filepath.Join(dir, "wal"))); err != nil {
		log.Fatal(err)
	}
	engine := must(strata.Open(ctx, strata.Options{Dir: filepath.Join(dir, "store"), CreateIfMissing: true}))
	tenant = must(engine.DefaultTenant(ctx))
	return dir, tenant, func() {
		if err := engine.Close(); err != nil {
			log.Fatal(err)
		}
		os.RemoveAll(dir)
	}
}

// Open a store, import a stopped cluster, take in the WAL that followed, and make it durable.
func Example() {
	ctx := context.Background()
	dir, tenant, cleanup := prepare(ctx) // strata.Open, engine.DefaultTenant
	defer cleanup()

	tl, imported, err := tenant.Import(ctx, strata.ImportOptions{PGData: filepath.Join(dir, "cluster"), Name: "main"})
	if err != nil {
		log.Fatal(err)
	}
	ingested, err := tl.Ingest(ctx, strata.IngestOptions{Dir: filepath.Join(dir, "wal"), Until: imported.LSN + 1<<20})
	if err != nil {
		log.Fatal(err)
	}
	if err := tl.Flush(ctx); err != nil {
		log.Fatal(err)
	}
	fmt.Println("more than a thousand records:", ingested.Records > 1000)
	fmt.Println("durable:", tl.DiskConsistentLSN() == ingested.LSN)
	// Output:
	// more than a thousand records: true
	// durable: true
}

// Read a page as it was at any LSN since the import.
func ExampleTimeline_Page() {
	ctx := context.Background()
	dir, tenant, cleanup := prepare(ctx)
	defer cleanup()
	tl, imported, err := tenant.Import(ctx, strata.ImportOptions{PGData: filepath.Join(dir, "cluster"), Name: "main"})
	if err != nil {
		log.Fatal(err)
	}

	pgDatabase := page.RelTag{Spc: pg.GlobalTablespace, DB: 0, Rel: 1262}
	p, err := tl.Page(ctx, pgDatabase, 0, imported.LSN)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(p), "bytes")
	_, err = tl.Page(ctx, pgDatabase, 1_000_000, imported.LSN)
	fmt.Println(err != nil)
	// Output:
	// 8192 bytes
	// true
}

// Branch at an LSN: it copies nothing, and goes its own way from there.
func ExampleTenant_Branch() {
	ctx := context.Background()
	dir, tenant, cleanup := prepare(ctx)
	defer cleanup()
	tl, imported, err := tenant.Import(ctx, strata.ImportOptions{PGData: filepath.Join(dir, "cluster"), Name: "main"})
	if err != nil {
		log.Fatal(err)
	}
	must(tl.Ingest(ctx, strata.IngestOptions{Dir: filepath.Join(dir, "wal"), Until: imported.LSN + 1<<20}))

	branch, err := tenant.Branch(ctx, tl, strata.BranchOptions{Name: "experiment", At: imported.LSN + 1<<19})
	if err != nil {
		log.Fatal(err)
	}
	i := branch.Info()
	fmt.Println(i.Name, "has", i.Layers, "layers of its own")
	fmt.Println("branched at a whole record:", i.AncestorLSN <= imported.LSN+1<<19 && i.AncestorLSN > imported.LSN)
	// Output:
	// experiment has 0 layers of its own
	// branched at a whole record: true
}

// Write a base backup, from which a stock PostgreSQL starts.
func ExampleTimeline_BaseBackup() {
	ctx := context.Background()
	dir, tenant, cleanup := prepare(ctx)
	defer cleanup()
	tl, imported, err := tenant.Import(ctx, strata.ImportOptions{PGData: filepath.Join(dir, "cluster"), Name: "main"})
	if err != nil {
		log.Fatal(err)
	}

	r, err := tl.BaseBackup(ctx, io.Discard, strata.BaseBackupOptions{LSN: imported.LSN})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("of the state asked for:", r.LSN == imported.LSN)
	fmt.Println("hundreds of files:", r.Files > 500)
	// Output:
	// of the state asked for: true
	// hundreds of files: true
}

// Put values of one's own, without PostgreSQL.
func ExampleTimeline_Put() {
	ctx := context.Background()
	dir := must(os.MkdirTemp("", "strata-example"))
	defer os.RemoveAll(dir)
	engine, err := strata.Open(ctx, strata.Options{Dir: filepath.Join(dir, "store"), CreateIfMissing: true})
	if err != nil {
		log.Fatal(err)
	}
	defer engine.Close()
	tenant, err := engine.DefaultTenant(ctx)
	if err != nil {
		log.Fatal(err)
	}
	tl, err := tenant.Create(ctx, strata.CreateOptions{Name: "main", Version: pg.V17, InitialLSN: 0x1000})
	if err != nil {
		log.Fatal(err)
	}

	key := page.RelTag{Spc: pg.DefaultTablespace, DB: 5, Rel: 16384}.Block(0)
	var batch page.Batch
	batch.PutImage(key, 0x1008, []byte("one"))
	batch.PutImage(key, 0x1010, []byte("two"))
	if err := tl.Put(ctx, &batch); err != nil {
		log.Fatal(err)
	}
	for _, lsn := range []page.LSN{0x1008, 0x1010} {
		v, err := tl.Get(ctx, key, lsn)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s at %s\n", v, lsn)
	}
	// Output:
	// one at 0/1008
	// two at 0/1010
}
