package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/bench/pagebench"
	"github.com/stratapg/strata/cmd/internal/cli"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

func newIngest() *cobra.Command {
	var f serverFlags
	var i pagebench.Ingest
	var volume string
	c := &cobra.Command{
		Use:   "ingest [TENANT/TIMELINE]",
		Short: "Put values into a timeline, and make them durable",
		Long: `With --store makes a store in that folder, which must not be there yet, and puts values of --value-size into one timeline, --batch
at a time; what is there afterwards may be looked at by strata layers. Without it writes the values as auxiliary files of a server's timeline,
a call of the management API for each batch, and then has it write what is in memory: no protocol of page servers takes WAL, and only servers
for tests take files (strata serve --testing). Latencies are those of batches.`,
		Example: "  pagebench ingest --store /tmp/ingest --volume 1GiB --value-size 100\n  pagebench ingest --mgmt-api-endpoint http://localhost:9898 --volume 1MiB",
		RunE: func(c *cobra.Command, args []string) error {
			var err error
			if i.Volume, err = parseSize(volume); err != nil {
				return cli.Usagef("--volume: %w", err)
			}
			i.Runtime = f.runtime
			if err := i.Validate(); err != nil {
				return cli.Usage(err)
			}
			if len(args) > 1 || f.store != "" && len(args) > 0 {
				return cli.Usagef("one target at most is wanted, and with --store none")
			}
			r, err := f.ingest(c, i, args)
			if err != nil {
				return err
			}
			return printJSON(c, r)
		},
	}
	fs := c.Flags()
	f.register(fs)
	fs.StringVar(&f.store, "store", "", "folder of a new store in this process, instead of a server")
	fs.StringVar(&volume, "volume", "128MiB", "bytes of values in all")
	fs.IntVar(&i.ValueSize, "value-size", 100, "bytes of a value")
	fs.IntVar(&i.Batch, "batch", 16, "values that are put at once")
	fs.Uint32Var(&i.Keys, "keys", 1<<20, "blocks, or files, that the values are dealt out to")
	fs.BoolVar(&i.Random, "random", false, "draw the blocks rather than take them in order")
	fs.Uint64Var(&i.Seed, "seed", 1, "of keys and values")
	return c
}

func (f *serverFlags) ingest(c *cobra.Command, i pagebench.Ingest, args []string) (r pagebench.IngestResult, err error) {
	if f.store != "" {
		return ingestInto(c.Context(), f.store, i)
	}
	targets, err := f.targets(c, args)
	if err != nil {
		return r, err
	}
	return i.RunRemote(c.Context(), f.management(), targets[0])
}

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
