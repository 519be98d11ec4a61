package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

func newSize() *cobra.Command {
	var f storeFlags
	var lsn lsnValue
	var model bool
	var svg string
	c := &cobra.Command{
		Use:   "size",
		Short: "Say how large a cluster is as of an LSN, or what all timelines come to",
		Long: `Adds up the blocks of all relations, all forks, of every database as of an LSN: the logical size, which is what the
relations of a data directory of that state would take. What the store takes on disk is told by "strata layers".

With --model it says what all timelines of the tenant come to with the history that is to be kept: the smallest sum of whole
copies of the cluster and of WAL between them from which every state can be had that the default horizon and time of garbage
collection keep. A point of the list is where a timeline begins, branches, is leased, is cut off or ends; its method says
whether a copy is kept there (snapshot), the WAL that leads to it (wal), or neither (skipped). --svg draws it.`,
		Example: "  strata size\n  strata size --lsn 0/16B3748 --json\n  strata size --model --svg size.svg",
		Args:    exactArgs(0),
	}
	f.register(c.Flags())
	f.redo.register(c.Flags())
	c.Flags().Var(&lsn, "lsn", "state to add up (default: the last)")
	c.Flags().BoolVar(&model, "model", false, "compute what all timelines come to with their history")
	c.Flags().StringVar(&svg, "svg", "", "with --model: draw it into this file")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		if svg != "" && !model || lsn.set && model {
			return usageError{errors.New("size: --svg goes with --model, --lsn without")}
		}
		if model {
			return sizeOfAll(cmd, &f, svg)
		}
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

// sizeOfAll writes the model of a tenant.
func sizeOfAll(cmd *cobra.Command, f *storeFlags, svg string) error {
	engine, tenant, err := f.openTenant(cmd, readOnly)
	if err != nil {
		return err
	}
	defer engine.Close()
	m, err := tenant.SizeModel(cmd.Context())
	if err != nil {
		return fmt.Errorf("size: %w", err)
	}
	if svg != "" {
		if err := os.WriteFile(svg, m.SVG(), 0o644); err != nil {
			return fmt.Errorf("size: %w", err)
		}
	}
	snapshots := 0
	t := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "timeline\tpoint\tLSN\tlogical bytes\tmethod\tbytes from here on")
	for _, p := range m.Points {
		if p.Method == "snapshot" {
			snapshots++
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%s\t%d\n", p.Timeline, p.Kind, p.LSN, p.LogicalBytes, p.Method, p.Bytes)
	}
	if f.json {
		return json.NewEncoder(cmd.OutOrStdout()).Encode(m)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	return closing{name: "size"}.add("timelines", len(tenant.Timelines())).add("points", len(m.Points)).add("snapshots", snapshots).
		add("bytes", m.Bytes).write(cmd.OutOrStdout(), false)
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
