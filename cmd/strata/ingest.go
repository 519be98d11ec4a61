package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	strata "github.com/stratapg/strata"
)

// defaultCheckpointDistance is how much is kept in memory before it becomes a layer file.
const defaultCheckpointDistance = 256 << 20

func newIngest() *cobra.Command {
	var f storeFlags
	var wal, strategy string
	var until lsnValue
	var ancestors bool
	distance := sizeValue(defaultCheckpointDistance)
	c := &cobra.Command{
		Use:   "ingest --wal DIR",
		Short: "Take in WAL from a directory or archive of segments",
		Long: `Reads the WAL segments of a directory from where the timeline ends, and makes new versions of every page
they touch. A missing or half-filled end is no error: it stops at the last whole record, and called again
it goes on from there. WAL of another cluster, a gap, or a damaged record in the middle is an error, and
what came before stays.

A branch takes the WAL of a server that was started from a base backup of it, which begins with the checkpoint made for that
backup. WAL of the server that its ancestor has WAL of continues at the same LSN; it is refused unless --ancestor-wal says that
the branch is to go its ancestor's way.`,
		Example: "  strata ingest --wal /var/lib/postgresql/15/main/pg_wal\n  strata ingest --wal /archive --until 0/3A000028",
		Args:    exactArgs(0),
	}
	f.register(c.Flags())
	c.Flags().StringVar(&wal, "wal", "", "directory with WAL segments (required)")
	c.Flags().Var(&until, "until", "stop at the last record that ends at or before this LSN")
	c.Flags().BoolVar(&ancestors, "ancestor-wal", false, "take WAL of the server whose WAL an ancestor has, into a branch that goes its way")
	c.Flags().Var(&distance, "checkpoint-distance", "WAL kept in memory before it is written as a layer")
	registerStrategy(c, &strategy)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := checkStrategy("ingest", strategy); err != nil {
			return err
		}
		if wal == "" {
			return usageError{errors.New("ingest: --wal is required")}
		}
		return runIngest(cmd, f, strata.IngestOptions{Dir: wal, Until: until.lsn, AncestorWAL: ancestors}, int64(distance), strategy)
	}
	return c
}

func runIngest(cmd *cobra.Command, f storeFlags, o strata.IngestOptions, distance int64, strategy string) error {
	start := time.Now()
	return f.withWhole(cmd, strata.Options{CheckpointDistance: distance, Compaction: strata.Compaction{Strategy: strategy}}, func(tl wholeTimeline) error {
		p := newProgress(cmd.ErrOrStderr())
		o.Progress = func(i strata.IngestProgress) {
			p.say(fmt.Sprintf("ingest: at %s, %d records", i.LSN, i.Records), i.Bytes, i.TotalBytes)
		}
		r, err := tl.Ingest(cmd.Context(), o)
		// What was taken in before an error is whole records: it is kept, so that the next call goes on there.
		if err = andAlso(err, tl.Flush(cmd.Context())); err != nil {
			return fmt.Errorf("ingest from %s: %w", o.Dir, err)
		}
		return closing{name: "ingest"}.add("lsn", r.LSN).add("records", r.Records).add("bytes", r.Bytes).
			seconds(start).write(cmd.OutOrStdout(), f.json)
	})
}
