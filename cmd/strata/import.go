package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/ingest"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/remote"
	"github.com/stratapg/strata/remote/remoteurl"
)

// importFlags are those of strata import.
type importFlags struct {
	store                                storeFlags
	pgdata, tar, source, slot, from, wal string
	flavour, relDirs                     string
	resume                               bool
	jobs                                 int
	jobPages                             int64
}

func newImport() *cobra.Command {
	var f importFlags
	c := &cobra.Command{
		Use:   "import --pgdata DIR | --tar FILE-OR-DIR | --source CONNINFO | --from URL",
		Short: "Make a timeline of a cluster's files: stopped, a base backup, or a running server",
		Long: `Reads the files of a PostgreSQL 14 to 17 cluster and makes a timeline of them. They are only read.

Of a cluster that was stopped cleanly the timeline begins at the end of the shutdown checkpoint. A base
backup of a running server (a folder or tars as pg_basebackup makes them, or one that --source takes of a
server now) begins at the end of the backup: its files are from many moments, and its WAL, which must be
with it or in --wal, makes one state of them.

An import is done in parts, and what is done is kept: after an interruption --resume goes on. Until all of
it is there nothing of it can be seen. Without --resume an unfinished import of the same name is given up.

With --flavour neon the WAL that follows is that of a Neon compute, whose heap records differ.`,
		Example: `  pg_ctl stop -D /var/lib/postgresql/15/main -m fast
  strata import --pgdata /var/lib/postgresql/15/main
  strata import --source 'host=/var/run/postgresql user=postgres' --slot strata
  strata import --from 's3://bucket/backups/2026-11-21?endpoint=http://localhost:9000'`,
		Args: exactArgs(0),
	}
	f.register(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error { return f.run(cmd) }
	return c
}

func (f *importFlags) register(c *cobra.Command) {
	f.store.register(c.Flags())
	c.Flags().StringVar(&f.pgdata, "pgdata", "", "data directory of the cluster, or an unpacked base backup")
	c.Flags().StringVar(&f.tar, "tar", "", "a tar of either, or a folder with base.tar and others; plain, gzip or zstd")
	c.Flags().StringVar(&f.source, "source", "", "connection string of a running server, of which a base backup is taken")
	c.Flags().StringVar(&f.slot, "slot", "", "with --source: a replication slot that keeps the server's WAL from then on, for strata receive")
	c.Flags().StringVar(&f.from, "from", "", "object store with a data directory or tars: file:///dir or s3://bucket/prefix?endpoint=…")
	c.Flags().StringVar(&f.wal, "wal", "", "folder of WAL segments, for a base backup that has none")
	c.Flags().StringVar(&f.flavour, "flavour", "stock", "whose WAL will follow: stock or neon")
	c.Flags().StringVar(&f.relDirs, "rel-dirs", "legacy", "how relations are listed, also of branches: legacy (a value for each database), migrated (a key for each relation: Neon's rel_size_v2), or migrating (both)")
	c.Flags().BoolVar(&f.resume, "resume", false, "go on with an import that was interrupted")
	c.Flags().IntVar(&f.jobs, "jobs", 0, "parts at once (default 2)")
	c.Flags().Int64Var(&f.jobPages, "job-pages", 0, "pages of a part, about (default 16384)")
}

// check says what is wrong with the flags.
func (f *importFlags) check() (pg.Flavour, error) {
	fl, err := pg.ParseFlavour(f.flavour)
	if err != nil {
		return fl, usageError{err}
	}
	n := 0
	for _, s := range []string{f.pgdata, f.tar, f.source, f.from} {
		if s != "" {
			n++
		}
	}
	if n != 1 {
		return fl, usageError{errors.New("import: one of --pgdata, --tar, --source and --from is required")}
	}
	if f.slot != "" && f.source == "" {
		return fl, usageError{errors.New("import: --slot goes with --source")}
	}
	return fl, nil
}

// name is what messages call the source.
func (f *importFlags) name() string { return f.pgdata + f.tar + f.source + f.from }

func (f *importFlags) run(cmd *cobra.Command) (err error) {
	start := time.Now()
	flavour, err := f.check()
	if err != nil {
		return err
	}
	relDirs, err := page.ParseRelDirForm(f.relDirs)
	if err != nil {
		return usageError{fmt.Errorf("import: --rel-dirs: %w", err)}
	}
	o := strata.ImportOptions{PGData: f.pgdata, Tar: f.tar, Server: f.source, Slot: f.slot, WAL: f.wal, Name: f.store.timeline,
		Flavour: flavour, RelDirs: relDirs, Resume: f.resume, Jobs: f.jobs, JobPages: f.jobPages}
	if f.from != "" {
		var objects remote.Storage
		if objects, err = remoteurl.Open(cmd.Context(), f.from); err != nil {
			return fmt.Errorf("import of %s: %w", f.name(), err)
		}
		defer func() { err = errors.Join(err, objects.Close()) }()
		o.Objects = objects
	}
	if err := f.look(); err != nil {
		return fmt.Errorf("import of %s: %w", f.name(), err)
	}
	engine, tenant, err := f.store.openTenant(cmd, strata.Options{CreateIfMissing: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, engine.Close()) }()
	p := newProgress(cmd.ErrOrStderr())
	o.Progress = func(i strata.ImportProgress) { sayImport(p, i) }
	_, r, err := tenant.Import(cmd.Context(), o)
	if err != nil {
		return fmt.Errorf("import of %s: %w", f.name(), err)
	}
	for _, left := range r.Left {
		fmt.Fprintf(cmd.ErrOrStderr(), "import: %s was not taken: the WAL that it holds back is the server's\n", left)
	}
	return closing{name: "import"}.add("lsn", r.LSN).add("relations", r.Relations).add("pages", r.Pages).
		seconds(start).write(cmd.OutOrStdout(), f.store.json)
}

// look refuses what cannot be imported before a store is made for it.
func (f *importFlags) look() error {
	if f.tar != "" {
		_, err := os.Stat(f.tar)
		return err
	}
	if f.pgdata == "" || f.wal != "" {
		return nil
	}
	_, err := ingest.OpenDataDir(f.pgdata)
	return err
}

// sayImport prints how far an import is.
func sayImport(p *progress, i strata.ImportProgress) {
	var b strings.Builder
	switch {
	case i.Jobs == 0:
		p.say("import: received", i.Received, i.ToReceive)
		return
	case i.Replayed > 0:
		fmt.Fprintf(&b, "import: all %d jobs done, WAL replayed", i.Jobs)
		p.say(b.String(), i.Replayed, 0)
		return
	}
	fmt.Fprintf(&b, "import: %d of %d jobs, %d of %d pages", i.JobsDone, i.Jobs, i.Pages, i.TotalPages)
	if i.Left > 0 {
		fmt.Fprintf(&b, ", about %s left", i.Left.Round(time.Second))
	}
	p.say(b.String(), i.Bytes, i.TotalBytes)
}
