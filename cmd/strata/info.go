package main

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	strata "github.com/stratapg/strata"
)

func newInfo() *cobra.Command {
	var f storeFlags
	c := &cobra.Command{
		Use:   "info",
		Short: "Say which timelines a store has and how far each is",
		Long: `Lists every timeline of the store: its PostgreSQL version, where it begins and ends, what of it is durable,
and its ancestor. With --json the list is an array of objects.`,
		Example: "  strata info\n  strata info --json | jq '.[] | .last_record_lsn'",
		Args:    exactArgs(0),
	}
	f.register(c.Flags())
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		engine, tenant, err := f.openTenant(cmd, readOnly)
		if err != nil {
			return err
		}
		defer engine.Close()
		timelines := tenant.Timelines()
		if f.json {
			return json.NewEncoder(cmd.OutOrStdout()).Encode(timelines)
		}
		return listTimelines(cmd.OutOrStdout(), timelines)
	}
	return c
}

func listTimelines(w io.Writer, timelines []strata.TimelineInfo) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "timeline\tid\tPostgreSQL\tbegins\tends\tdurable\tbranched from")
	for _, i := range timelines {
		from := "-"
		if i.Ancestor != nil {
			from = fmt.Sprintf("%s at %s", i.Ancestor, i.AncestorLSN)
		}
		fmt.Fprintf(t, "%s\t%s\t%d (%s)\t%s\t%s\t%s\t%s\n", i.Name, i.ID, i.Version, i.Flavour,
			i.InitialLSN, i.LastRecordLSN, i.DiskConsistentLSN, from)
	}
	return t.Flush()
}
