package main

import (
	"fmt"

	"github.com/spf13/cobra"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/page"
)

func newRelDirs() *cobra.Command {
	var f storeFlags
	var to string
	c := &cobra.Command{
		Use:   "rel-dirs",
		Short: "Show how a timeline lists its relations, or have it go over to Neon's rel_size_v2",
		Long: `Shows the form in which a timeline lists its relations, since which LSN, and the form that it is to have from the next
record on, if that is another.

--to asks for another form: from legacy (a value for each database) to migrating (that, and a key for each relation), and
from there to migrated (the keys alone: what Neon calls rel_size_v2). It is done by the next record that is ingested, for
what is read at that record's end and above; below it nothing changes. There is no way back from what was done; --to legacy
takes a wish back that was not. --to migrating again writes the relations' own keys anew where they are not what the
databases' values say; while "strata verify directories" finds any such, migrated is refused.`,
		Example: "  strata rel-dirs --to migrating\n  strata ingest --wal /archive\n  strata rel-dirs --to migrated",
		Args:    exactArgs(0),
	}
	f.register(c.Flags())
	c.Flags().StringVar(&to, "to", "", "form to go over to: migrating, then migrated; legacy takes that back")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		o := readOnly
		var form page.RelDirForm
		if to != "" {
			var err error
			if form, err = page.ParseRelDirForm(to); err != nil {
				return usageError{fmt.Errorf("rel-dirs: --to: %w", err)}
			}
			o = strata.Options{}
		}
		return f.withTimeline(cmd, o, func(tl *openedTimeline) error {
			if to != "" {
				if err := tl.WantRelDirs(cmd.Context(), form); err != nil {
					return fmt.Errorf("rel-dirs: %w", err)
				}
			}
			i := tl.Info()
			wanted := i.RelDirs
			if i.RelDirsWanted != page.RelDirV1 {
				wanted = i.RelDirsWanted
			}
			return closing{name: "rel-dirs"}.add("timeline", i.Name).add("form", i.RelDirs).add("since", i.RelDirsSince).
				add("wanted", wanted).write(cmd.OutOrStdout(), f.json)
		})
	}
	return c
}

func newVerifyDirectories() *cobra.Command {
	var f storeFlags
	var lsn lsnValue
	c := &cobra.Command{
		Use:   "directories",
		Short: "Compare the two directories of relations that a timeline has while it is migrating",
		Long: `Compares, as of an LSN, what each database's value says of its relations with the relations' own keys, and prints each
relation that only one of the two has. Reads believe the values; the keys are what will be believed once the timeline is
migrated. In the other forms there is one directory, and nothing to compare.`,
		Example: "  strata verify directories --lsn 0/16B3748",
		Args:    exactArgs(0),
	}
	f.register(c.Flags())
	c.Flags().Var(&lsn, "lsn", "state to compare (default: the last)")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		return f.withTimeline(cmd, readOnly, func(tl *openedTimeline) error {
			at, err := tl.at(cmd.Context(), lsn)
			if err != nil {
				return fmt.Errorf("verify directories: %w", err)
			}
			different := 0
			err = tl.VerifyRelDirs(cmd.Context(), at, func(rel page.RelTag, inValue bool) error {
				different++
				where := "its own key alone says that it exists"
				if inValue {
					where = "the database's value alone says that it exists"
				}
				_, err := fmt.Fprintf(cmd.ErrOrStderr(), "relation %s at LSN %s: %s\n", rel, at, where)
				return err
			})
			if err != nil {
				return fmt.Errorf("verify directories: %w", err)
			}
			err = closing{name: "directories"}.add("form", tl.RelDirs().At(at)).add("lsn", at).add("different", different).
				write(cmd.OutOrStdout(), f.json)
			if err == nil && different > 0 {
				return fmt.Errorf("verify directories: %d relations: %w", different, errCheckFailed)
			}
			return err
		})
	}
	return c
}
