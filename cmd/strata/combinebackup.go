package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/stratapg/strata/basebackup"
)

func newCombineBackup() *cobra.Command {
	var output string
	var asJSON bool
	c := &cobra.Command{
		Use:   "combinebackup --output FILE.tar FULL.tar INCREMENTAL.tar...",
		Short: "Make a full backup of one with a manifest and the incremental ones that follow it",
		Long: `Writes the full backup that would have been made in place of the last of the incremental ones. The archives are given
in their order, and are not compressed. What it writes can be followed by incremental backups in turn.`,
		Example: "  strata basebackup --manifest --output full.tar      # prints lsn=0/16B3748\n" +
			"  strata basebackup --incremental-from 0/16B3748 --output monday.tar\n  strata combinebackup --output whole.tar full.tar monday.tar",
		Args: cobra.ArbitraryArgs,
	}
	c.Flags().StringVar(&output, "output", "", "file to write, - for stdout (required)")
	c.Flags().BoolVar(&asJSON, "json", false, "print the closing line as one JSON object, and nothing else on stdout")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if output == "" {
			return usageError{errors.New("combinebackup: --output is required")}
		}
		if len(args) == 0 {
			return usageError{errors.New("combinebackup: the archives to combine are wanted, the full backup first")}
		}
		return combineBackups(cmd, args, output, asJSON)
	}
	return c
}

func combineBackups(cmd *cobra.Command, names []string, output string, asJSON bool) error {
	start := time.Now()
	var chain []basebackup.TarFile
	for _, n := range names {
		f, err := os.Open(n)
		if err != nil {
			return fmt.Errorf("combinebackup: %w", err)
		}
		defer f.Close()
		chain = append(chain, f)
	}
	p := newProgress(cmd.ErrOrStderr())
	o := basebackup.CombineOptions{Progress: func(i basebackup.Progress) {
		p.say(fmt.Sprintf("combinebackup: %d files", i.Files), i.Bytes, 0)
	}}
	var r basebackup.Result
	write := func(w io.Writer) (err error) {
		r, err = basebackup.Combine(cmd.Context(), w, chain, o)
		return err
	}
	closingOut, err := cmd.OutOrStdout(), error(nil)
	if output == "-" {
		closingOut = cmd.ErrOrStderr()
		err = write(cmd.OutOrStdout())
	} else {
		err = writeWhole(output, write)
	}
	if err != nil {
		return err
	}
	return closing{name: "combinebackup"}.add("lsn", r.LSN).add("files", r.Files).add("bytes", r.Bytes).
		seconds(start).write(closingOut, asJSON)
}
