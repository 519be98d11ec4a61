package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

// relFilter says which relations are listed.
type relFilter struct {
	db      uint32
	rel     uint32
	fork    string
	minSize sizeValue
	largest int
}

// relSize is a relation's fork and its size.
type relSize struct {
	page.RelTag
	blocks uint32
}

// relList is what a listing has, for --json.
type relList struct {
	LSN       page.LSN   `json:"lsn"`
	Databases int        `json:"databases"`
	Relations int        `json:"relations"`
	Blocks    uint64     `json:"blocks"`
	Bytes     uint64     `json:"bytes"`
	List      []relEntry `json:"list"`
}

type relEntry struct {
	Tablespace uint32 `json:"tablespace"`
	Database   uint32 `json:"database"`
	Relation   uint32 `json:"relation"`
	Fork       string `json:"fork"`
	Blocks     uint32 `json:"blocks"`
}

func newRels() *cobra.Command {
	var f storeFlags
	var lsn lsnValue
	var filter relFilter
	c := &cobra.Command{
		Use:   "rels",
		Short: "List the relations of a cluster and their sizes as of an LSN",
		Long: `Lists every fork of every relation that exists at an LSN, with its size in blocks of 8 KiB. A relation is named by
tablespace, database and file number, as SELECT pg_relation_filepath(…) shows them; 1664/0 are the shared catalogs. The
closing line counts what is listed, a relation once for each fork.`,
		Example: "  strata rels --lsn 0/16B3748 --db 5 --largest 10\n  strata rels --min-size 1GiB --fork main\n  strata rels --json | jq '.list[] | select(.relation==16384)'",
		Args:    exactArgs(0),
	}
	f.register(c.Flags())
	c.Flags().Var(&lsn, "lsn", "state to list (default: the last)")
	c.Flags().Uint32Var(&filter.db, "db", 0, "only this database's relations, by its OID")
	c.Flags().Uint32Var(&filter.rel, "rel", 0, "only the relations of this file number")
	c.Flags().StringVar(&filter.fork, "fork", "", "only this fork: main, fsm, vm or init")
	c.Flags().Var(&filter.minSize, "min-size", "only forks of at least this size")
	c.Flags().IntVar(&filter.largest, "largest", 0, "only the so many largest, largest first (default: all, by name)")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := filter.check(); err != nil {
			return usageError{fmt.Errorf("rels: %w", err)}
		}
		return f.withTimeline(cmd, readOnly, func(tl *openedTimeline) error {
			at, err := tl.at(cmd.Context(), lsn)
			if err != nil {
				return fmt.Errorf("rels: %w", err)
			}
			rels, err := filter.list(cmd.Context(), tl.Cluster(at))
			if err != nil {
				return fmt.Errorf("rels: %w", err)
			}
			return writeRels(cmd.OutOrStdout(), at, rels, f.json)
		})
	}
	return c
}

func (f *relFilter) check() error {
	var fork forkValue
	if f.fork != "" {
		if err := fork.Set(f.fork); err != nil {
			return err
		}
	}
	if f.largest < 0 {
		return fmt.Errorf("--largest is %d: want 1 or more", f.largest)
	}
	return nil
}

func (f *relFilter) wants(r page.RelTag) bool {
	return (f.db == 0 || r.DB == f.db) && (f.rel == 0 || r.Rel == f.rel) && (f.fork == "" || r.Fork.String() == f.fork)
}

// list reads what the filter lets through.
func (f *relFilter) list(ctx context.Context, s *datadir.Snapshot) ([]relSize, error) {
	dbs, err := s.Databases(ctx)
	if err != nil {
		return nil, err
	}
	var out []relSize
	for _, d := range dbs {
		if f.db != 0 && d.DB != f.db {
			continue
		}
		rels, err := s.Relations(ctx, d.Spc, d.DB)
		if err != nil {
			return nil, err
		}
		rels = slices.DeleteFunc(rels, func(r page.RelTag) bool { return !f.wants(r) })
		sizes, err := s.RelSizes(ctx, rels)
		if err != nil {
			return nil, err
		}
		for i, r := range rels {
			if uint64(sizes[i])*pg.BlockSize >= uint64(f.minSize) {
				out = append(out, relSize{r, sizes[i]})
			}
		}
	}
	if f.largest > 0 {
		slices.SortStableFunc(out, func(a, b relSize) int { return cmp.Compare(b.blocks, a.blocks) })
		out = out[:min(len(out), f.largest)]
	}
	return out, nil
}

func writeRels(w io.Writer, lsn page.LSN, rels []relSize, asJSON bool) error {
	l := relList{LSN: lsn, Relations: len(rels), List: make([]relEntry, len(rels))}
	dbs := map[[2]uint32]bool{}
	for i, r := range rels {
		dbs[[2]uint32{r.Spc, r.DB}] = true
		l.Blocks += uint64(r.blocks)
		l.List[i] = relEntry{r.Spc, r.DB, r.Rel, r.Fork.String(), r.blocks}
	}
	l.Databases, l.Bytes = len(dbs), l.Blocks*pg.BlockSize
	if asJSON {
		return json.NewEncoder(w).Encode(l)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "relation\tfork\tblocks")
	for _, r := range rels {
		fmt.Fprintf(t, "%s\t%s\t%d\n", r.WithFork(page.ForkMain), r.Fork, r.blocks)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	return closing{name: "rels"}.add("lsn", lsn).add("databases", l.Databases).add("relations", l.Relations).
		add("blocks", l.Blocks).add("bytes", l.Bytes).write(w, false)
}
