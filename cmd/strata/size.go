package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

func newSize() *cobra.Command {
	var f storeFlags
	var lsn lsnValue
	c := &cobra.Command{
		Use:   "size",
		Short: "Say how large a cluster is as of an LSN, by database",
		Long: `Adds up the blocks of all relations, all forks, of every database as of an LSN: the logical size, which is what the
relations of a data directory of that state would take. What the store takes on disk is told by "strata layers".`,
		Example: "  strata size\n  strata size --lsn 0/16B3748 --json",
		Args:    exactArgs(0),
	}
	f.register(c.Flags())
	c.Flags().Var(&lsn, "lsn", "state to add up (default: the last)")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		return f.withTimeline(cmd, readOnly, func(tl *openedTimeline) error {
			at, err := tl.at(cmd.Context(), lsn)
			if err != nil {
				return fmt.Errorf("size: %w", err)
			}
			out := io.Discard
			if !f.json {
				out = cmd.OutOrStdout()
			}
			dbs, blocks, err := sizeByDatabase(cmd.Context(), out, tl.Cluster(at))
			if err != nil {
				return fmt.Errorf("size: %w", err)
			}
			return sizeClosing(at, dbs, blocks).write(cmd.OutOrStdout(), f.json)
		})
	}
	return c
}

func sizeClosing(lsn page.LSN, dbs int, blocks uint64) closing {
	return closing{name: "size"}.add("lsn", lsn).add("databases", dbs).add("blocks", blocks).add("bytes", blocks*pg.BlockSize)
}

// sizeByDatabase writes a line for each database and gives their number and their blocks.
func sizeByDatabase(ctx context.Context, w io.Writer, s *datadir.Snapshot) (databases int, blocks uint64, err error) {
	dbs, err := s.Databases(ctx)
	if err != nil {
		return 0, 0, err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "tablespace/database\tblocks\tbytes")
	for _, d := range dbs {
		n, err := s.DatabaseBlocks(ctx, d.Spc, d.DB)
		if err != nil {
			return 0, 0, err
		}
		fmt.Fprintf(t, "%d/%d\t%d\t%d\n", d.Spc, d.DB, n, n*pg.BlockSize)
		blocks += n
	}
	return len(dbs), blocks, t.Flush()
}
