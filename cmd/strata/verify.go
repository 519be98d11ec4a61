package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/inspect/clustercheck"
	"github.com/stratapg/strata/inspect/layercheck"
	"github.com/stratapg/strata/inspect/redocheck"
	"github.com/stratapg/strata/pg"
)

// errCheckFailed says that a check ran to its end and did not hold; what it found is printed before.
var errCheckFailed = errors.New("the check does not hold")

func newVerifyLayers() *cobra.Command {
	var f storeFlags
	var o layercheck.Options
	c := &cobra.Command{
		Use:   "layers",
		Short: "Read every layer of every timeline and check all that can be checked",
		Long: `Reads every layer file of the store from end to end and checks its checksums, its summary and footer, every
entry of its index, every blob's place and length, and that keys and LSNs ascend within its ranges. With
--decode every value is decoded too, as it always is in files without checksums. Those are counted as
unverified: their structure is checked, a flipped bit inside a page need not show.`,
		Example: "  strata verify layers --store ./strata-data",
		Args:    exactArgs(0),
	}
	f.register(c.Flags())
	c.Flags().BoolVar(&o.Decode, "decode", false, "decompress and decode every value of files with checksums too")
	c.Flags().IntVar(&o.Workers, "workers", 0, "files read at once (default: one for each processor)")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		if o.Workers < 0 {
			return usageError{fmt.Errorf("verify layers: --workers %d: a number above 0 is expected", o.Workers)}
		}
		engine, _, err := f.openTenant(cmd, strata.Options{ReadOnly: true, AllowDamaged: true})
		if err != nil {
			return err
		}
		defer engine.Close()
		r, err := layercheck.Run(cmd.Context(), engine, o)
		for _, bad := range r.Corruptions {
			fmt.Fprintln(cmd.ErrOrStderr(), bad)
		}
		if err != nil {
			return fmt.Errorf("verify layers: %w", err)
		}
		err = closing{name: "layers"}.add("files", r.Files).add("bytes", r.Bytes).add("unverified", r.Unverified).
			add("corrupt", r.Corrupt).write(cmd.OutOrStdout(), f.json)
		if err == nil && r.Corrupt > 0 {
			return fmt.Errorf("verify layers: %d corrupt files: %w", r.Corrupt, errCheckFailed)
		}
		return err
	}
	return c
}

func newVerifyCluster() *cobra.Command {
	var f storeFlags
	var pgdata string
	var lsn lsnValue
	c := &cobra.Command{
		Use:   "cluster --pgdata DIR",
		Short: "Compare a cleanly stopped data directory with a timeline, page by page",
		Long: `Compares every block of every main, init and visibility fork, every page of pg_xact and pg_multixact, and the
relation maps of a cleanly stopped data directory with the timeline's, under PostgreSQL's own masks
(those of wal_consistency_checking). A relation that one side alone has counts as different.
What may lawfully differ is listed in docs/masks.md.`,
		Example: "  strata verify cluster --pgdata /var/lib/postgresql/15/main",
		Args:    exactArgs(0),
	}
	f.register(c.Flags())
	f.redo.register(c.Flags())
	c.Flags().StringVar(&pgdata, "pgdata", "", "data directory to compare with (required)")
	c.Flags().Var(&lsn, "lsn", "state to compare (default: the last)")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		if pgdata == "" {
			return usageError{errors.New("verify cluster: --pgdata is required")}
		}
		start := time.Now()
		return f.withTimeline(cmd, readOnly, func(tl *openedTimeline) error {
			at, err := tl.at(cmd.Context(), lsn)
			if err != nil {
				return fmt.Errorf("verify cluster: %w", err)
			}
			i := tl.Info()
			r, err := clustercheck.Run(cmd.Context(), clustercheck.Options{
				Reader: tl, LSN: at, First: i.OldestLSN, Version: i.Version, SystemID: i.SystemID, Dir: pgdata,
			})
			for _, d := range r.First {
				fmt.Fprintln(cmd.ErrOrStderr(), d)
			}
			if err != nil {
				return fmt.Errorf("verify cluster: %w", err)
			}
			err = closing{name: "cluster"}.add("pages", r.Pages).add("slru", r.SLRU).add("different", r.Different).
				seconds(start).write(cmd.OutOrStdout(), f.json)
			if err == nil && r.Different > 0 {
				return fmt.Errorf("verify cluster: %d differences: %w", r.Different, errCheckFailed)
			}
			return err
		})
	}
	return c
}

func newVerifyRedo() *cobra.Command {
	var o redocheck.Options
	var version int
	var w redoWay
	var asJSON bool
	c := &cobra.Command{
		Use:   "redo --wal DIR --pg VERSION",
		Short: "Check redo record by record against the page images inside the WAL",
		Long: `Takes WAL written under wal_consistency_checking=all, redoes each record on its own result so far, and
compares each block with the image that PostgreSQL put into the record, under PostgreSQL's masks. Images
that a record does not need are taken out before redo. A block not seen before comes from the cluster
before the WAL (--pgdata), or else from its first image, and is then counted as primed. A record type
that redo refuses is counted as uncovered.

With --redo pool, processes do the redo, started by the command line that --worker gives: Neon's
"/path/v{pg}/bin/postgres --wal-redo", for example, with {pg} for the version; by default this program's own
redo-worker. What no process can do, as records that name no block, is done in Go. With --redo both, each
page is made in both ways, and counts as different where they disagree.`,
		Example: "  strata verify redo --wal /archive --pg 15 --pgdata /copy/of/cluster/before",
		Args:    exactArgs(0),
	}
	c.Flags().StringVar(&o.WALDir, "wal", "", "directory with WAL segments (required)")
	c.Flags().IntVar(&version, "pg", 0, "PostgreSQL version of the WAL, 14 to 17 (required)")
	c.Flags().StringVar(&o.PGData, "pgdata", "", "data directory of the cluster before the WAL")
	w.register(c.Flags())
	c.Flags().BoolVar(&asJSON, "json", false, "print the closing line as one JSON object, and nothing else on stdout")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		o.Version = pg.Version(version)
		switch {
		case o.WALDir == "" || version == 0:
			return usageError{errors.New("verify redo: --wal and --pg are required")}
		case !o.Version.Supported():
			return usageError{fmt.Errorf("verify redo: --pg %d: %w", version, pg.ErrUnsupportedVersion)}
		}
		redoer, err := w.open()
		if err != nil {
			return fmt.Errorf("verify redo: %w", err)
		}
		defer redoer.Close()
		o.Redoer = redoer
		return runVerifyRedo(cmd, o, asJSON)
	}
	return c
}

func runVerifyRedo(cmd *cobra.Command, o redocheck.Options, asJSON bool) error {
	start := time.Now()
	r, err := redocheck.Run(cmd.Context(), o)
	if err != nil {
		return fmt.Errorf("verify redo: %w", err)
	}
	for _, d := range r.First {
		fmt.Fprintln(cmd.ErrOrStderr(), d)
	}
	if !asJSON {
		for _, m := range r.Rmgrs {
			fmt.Fprintf(cmd.OutOrStdout(), "rmgr=%s records=%d blocks=%d equal=%d different=%d uncovered=%d primed=%d\n",
				m.Rmgr, m.Records, m.Blocks, m.Equal, m.Different, m.Uncovered, m.Primed)
		}
	}
	t := r.Total
	err = closing{name: "redo"}.add("records", t.Records).add("blocks", t.Blocks).add("equal", t.Equal).
		add("different", t.Different).add("uncovered", t.Uncovered).add("primed", t.Primed).
		seconds(start).write(cmd.OutOrStdout(), asJSON)
	if err == nil && t.Different+t.Uncovered > 0 {
		return fmt.Errorf("verify redo: %d blocks differ and %d are not covered: %w", t.Different, t.Uncovered, errCheckFailed)
	}
	return err
}
