package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/inspect/pageview"
	"github.com/stratapg/strata/page"
)

func newPage() *cobra.Command {
	var f storeFlags
	var rel relValue
	var fork forkValue
	var block uint32
	var lsn lsnValue
	var raw, asHex, trace bool
	c := &cobra.Command{
		Use:   "page --rel SPC/DB/REL --block N",
		Short: "Show one page of a relation as of an LSN",
		Long: `Shows a page's header and line pointers, or with --hex its bytes in hex, or with --raw the 8,192 bytes alone.
A relation is named by tablespace, database and file number, as SELECT pg_relation_filepath(…) shows them;
1663 is the default tablespace, 1664 with database 0 holds the shared catalogs.`,
		Example: "  strata page --rel 1663/5/16384 --block 0 --lsn 0/16B3748\n  strata page --rel 1664/0/1262 --block 0 --raw >page.bin",
		Args:    exactArgs(0),
	}
	f.register(c.Flags())
	f.redo.register(c.Flags())
	c.Flags().Var(&rel, "rel", "relation (required)")
	c.Flags().Var(&fork, "fork", "fork: main, fsm, vm or init")
	c.Flags().Uint32Var(&block, "block", 0, "block number (required)")
	c.Flags().Var(&lsn, "lsn", "state to show (default: the last)")
	c.Flags().BoolVar(&raw, "raw", false, "write the bytes alone")
	c.Flags().BoolVar(&asHex, "hex", false, "write the bytes in hex")
	c.Flags().BoolVar(&trace, "trace", false, "say on stderr which layers were asked, and what was read of them")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		if !cmd.Flags().Changed("rel") || !cmd.Flags().Changed("block") {
			return usageError{errors.New("page: --rel and --block are required")}
		}
		if raw && asHex || raw && f.json || asHex && f.json {
			return usageError{errors.New("page: --raw, --hex and --json exclude each other")}
		}
		rel.tag.Fork = page.Fork(fork)
		return f.withTimeline(cmd, readOnly, func(tl *openedTimeline) error {
			at, err := tl.at(cmd.Context(), lsn)
			if err != nil {
				return fmt.Errorf("page: %w", err)
			}
			ctx := cmd.Context()
			if trace {
				var t strata.ReadTrace
				ctx = strata.WithReadTrace(ctx, &t)
				defer func() { fmt.Fprintln(cmd.ErrOrStderr(), t.String()) }()
			}
			p, err := tl.Page(ctx, rel.tag, block, at)
			if err != nil {
				return fmt.Errorf("page %d of relation %s at %s: %w", block, rel.tag, at, err)
			}
			return showPage(cmd.OutOrStdout(), p, rel.tag.Fork, raw, asHex, f.json)
		})
	}
	return c
}

func showPage(w io.Writer, p []byte, fork page.Fork, raw, asHex, asJSON bool) error {
	switch {
	case raw:
		_, err := w.Write(p)
		return err
	case asHex:
		_, err := io.WriteString(w, hex.Dump(p))
		return err
	case asJSON:
		return pageview.JSON(w, p, fork)
	}
	return pageview.Text(w, p, fork)
}
