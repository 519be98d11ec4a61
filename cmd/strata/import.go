package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/ingest"
	"github.com/stratapg/strata/pg"
)

func newImport() *cobra.Command {
	var f storeFlags
	var pgdata, flavour string
	c := &cobra.Command{
		Use:   "import --pgdata DIR",
		Short: "Make a timeline from the data directory of a cleanly stopped cluster",
		Long: `Reads the data directory of a PostgreSQL 14 to 17 cluster that was stopped cleanly, and makes a timeline
that begins at the end of its shutdown checkpoint. The directory is only read. An import that is
interrupted leaves nothing behind that anyone could see; run it again.

With --flavour neon the WAL that follows is that of a Neon compute, whose heap records differ.`,
		Example: "  pg_ctl stop -D /var/lib/postgresql/15/main -m fast\n  strata import --pgdata /var/lib/postgresql/15/main",
		Args:    exactArgs(0),
	}
	f.register(c.Flags())
	c.Flags().StringVar(&pgdata, "pgdata", "", "data directory of the cluster (required)")
	c.Flags().StringVar(&flavour, "flavour", "stock", "whose WAL will follow: stock or neon")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		fl, err := pg.ParseFlavour(flavour)
		if err != nil {
			return usageError{err}
		}
		if pgdata == "" {
			return usageError{errors.New("import: --pgdata is required")}
		}
		return runImport(cmd, f, pgdata, fl)
	}
	return c
}

func runImport(cmd *cobra.Command, f storeFlags, pgdata string, flavour pg.Flavour) (err error) {
	start := time.Now()
	// A directory that cannot be imported is no reason to make a store.
	if _, err := ingest.OpenDataDir(pgdata); err != nil {
		return fmt.Errorf("import of %s: %w", pgdata, err)
	}
	engine, tenant, err := f.openTenant(cmd, strata.Options{CreateIfMissing: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, engine.Close()) }()
	p := newProgress(cmd.ErrOrStderr())
	_, r, err := tenant.Import(cmd.Context(), strata.ImportOptions{
		PGData:  pgdata,
		Name:    f.timeline,
		Flavour: flavour,
		Progress: func(i strata.ImportProgress) {
			p.say(fmt.Sprintf("import: %d pages", i.Pages), i.Bytes, i.TotalBytes)
		},
	})
	if err != nil {
		return fmt.Errorf("import of %s: %w", pgdata, err)
	}
	return closing{name: "import"}.add("lsn", r.LSN).add("relations", r.Relations).add("pages", r.Pages).
		seconds(start).write(cmd.OutOrStdout(), f.json)
}
