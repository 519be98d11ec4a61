package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/bench/pagebench"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

// firstLSN is where the timeline of an ingest begins.
const firstLSN = page.LSN(0x1000000)

// ingestInto makes a store and ingests into it.
func ingestInto(ctx context.Context, dir string, i pagebench.Ingest) (r pagebench.IngestResult, err error) {
	if _, err := os.Stat(dir); err == nil {
		return r, fmt.Errorf("%s is there already: a new store is measured", dir)
	}
	e, err := strata.Open(ctx, strata.Options{Dir: dir, CreateIfMissing: true})
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	tn, err := e.DefaultTenant(ctx)
	if err != nil {
		return r, err
	}
	tl, err := tn.Create(ctx, strata.CreateOptions{Name: "main", Version: pg.V17, InitialLSN: firstLSN})
	if err != nil {
		return r, err
	}
	return i.Run(ctx, tl)
}
