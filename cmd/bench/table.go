package main

import (
	"bytes"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/stratapg/strata/bench/record"
)

func newTable() *cobra.Command {
	var doc string
	var check bool
	c := &cobra.Command{
		Use:   "table RESULTS",
		Short: "Results as a table, in a document too",
		Long: `Prints results of bench run as Markdown, with the machine, the commit and the command. With --doc they take the place of what is between
two marks of a document, as in docs/performance.md; --check says whether they are there, and changes nothing.`,
		Example: "  bench table docs/performance.jsonl --doc docs/performance.md",
		Args:    oneArg("a file of bench run is", 1),
		RunE: func(c *cobra.Command, args []string) error {
			all, err := readLines(args[0])
			if err != nil {
				return err
			}
			text := record.Table(all)
			if doc == "" {
				_, err := c.OutOrStdout().Write(text)
				return err
			}
			old, err := os.ReadFile(doc)
			if err != nil {
				return err
			}
			now, err := record.Embed(old, text)
			switch {
			case err != nil:
				return fmt.Errorf("%s: %w", doc, err)
			case !check:
				return os.WriteFile(doc, now, 0o666)
			case !bytes.Equal(old, now):
				return fmt.Errorf("%s says other than %s: bench table %s --doc %s", doc, args[0], args[0], doc)
			}
			return nil
		},
	}
	c.Flags().StringVar(&doc, "doc", "", "document whose marked section is to be the table")
	c.Flags().BoolVar(&check, "check", false, "only say whether the document has it")
	return c
}

// readLines reads a file of bench run.
func readLines(name string) ([]record.Line, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	all, err := record.Read(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return all, nil
}
