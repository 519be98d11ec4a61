package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	strata "github.com/stratapg/strata"
)

func newTimelines() *cobra.Command {
	var f storeFlags
	c := &cobra.Command{
		Use:   "timelines",
		Short: "List timelines with their states, broken and offloaded ones too",
		Long: `Lists every timeline of a tenant, whatever its state: active, attaching, creating, stopping, deleting, broken, offloaded or
detached, with the reason where it is broken or cannot be deleted. One that is broken does not keep others from being used.
With --json the list is an array of objects.`,
		Example: "  strata timelines\n  strata timelines --json | jq '.[] | select(.state != \"active\")'",
		Args:    exactArgs(0),
	}
	f.register(c.Flags())
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		engine, tenant, err := f.openTenant(cmd, readOnly)
		if err != nil {
			return err
		}
		defer engine.Close()
		all := tenant.Statuses()
		if f.json {
			return json.NewEncoder(cmd.OutOrStdout()).Encode(all)
		}
		if err := listStates(cmd.OutOrStdout(), all); err != nil {
			return err
		}
		active := 0
		for _, s := range all {
			if s.State == strata.StateActive {
				active++
			}
		}
		return closing{name: "timelines"}.add("timelines", len(all)).add("active", active).write(cmd.OutOrStdout(), false)
	}
	return c
}

func listStates(w io.Writer, all []strata.TimelineStatus) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "timeline\tid\tstate\tarchived\tbranched from\treason")
	for _, s := range all {
		archived, from := "-", "-"
		if s.Archived != nil {
			archived = s.Archived.Format(time.RFC3339)
		}
		if s.Ancestor != nil {
			from = fmt.Sprintf("%s at %s", s.Ancestor, s.AncestorLSN)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", s.Name, s.ID, s.State, archived, from, s.Reason)
	}
	return t.Flush()
}

// changing makes a command that changes one timeline's state.
func changing(name, short, long, example string, do func(cmd *cobra.Command, t *strata.Tenant, timeline string) error) *cobra.Command {
	var f storeFlags
	c := &cobra.Command{Use: name + " TIMELINE", Short: short, Long: long, Example: example, Args: exactArgs(1)}
	f.register(c.Flags())
	hide(c, "timeline")
	c.RunE = func(cmd *cobra.Command, args []string) (err error) {
		start := time.Now()
		engine, tenant, err := f.openTenant(cmd, strata.Options{})
		if err != nil {
			return err
		}
		defer func() { err = andAlso(err, engine.Close()) }()
		if err := do(cmd, tenant, args[0]); err != nil {
			return err
		}
		state := "gone"
		if s, err := tenant.Status(args[0]); err == nil {
			state = s.State.String()
		}
		return closing{name: name}.add("timeline", args[0]).add("state", state).seconds(start).write(cmd.OutOrStdout(), f.json)
	}
	return c
}

// hide takes a flag out of a command's help that it does not look at.
func hide(c *cobra.Command, flag string) {
	if err := c.Flags().MarkHidden(flag); err != nil {
		panic(err) // it was registered before
	}
}

func newArchive() *cobra.Command {
	return changing("archive", "Have a timeline be read and nothing else",
		`Archives TIMELINE, by name or id: it can be read, but nothing is ingested into it and nothing branches from it. Timelines that
branch from it must be archived before. Its index in remote storage says so, if there is any. It may be repeated; "strata
unarchive" undoes it, "strata offload" then frees its local disk.`,
		"  strata archive experiment\n  strata offload experiment",
		func(cmd *cobra.Command, t *strata.Tenant, tl string) error { return t.Archive(cmd.Context(), tl) })
}

func newUnarchive() *cobra.Command {
	return changing("unarchive", "Undo archive and offload",
		`Has TIMELINE, by name or id, be written to again. One that is offloaded comes back: layers are fetched when they are read, or
by "strata download". What it branches from must not be archived.`,
		"  strata unarchive experiment",
		func(cmd *cobra.Command, t *strata.Tenant, tl string) error { return t.Unarchive(cmd.Context(), tl) })
}

func newOffload() *cobra.Command {
	return changing("offload", "Remove the local files of an archived timeline that remote storage has",
		`Waits until remote storage has all of TIMELINE, by name or id, which must be archived, and removes its local folder. It is still
listed, and what it branches from keeps what it needs. Timelines that branch from it must be offloaded before. A run
that was interrupted can be repeated.`,
		"  strata archive experiment\n  strata offload experiment",
		func(cmd *cobra.Command, t *strata.Tenant, tl string) error { return t.Offload(cmd.Context(), tl) })
}

func newDelete() *cobra.Command {
	return changing("delete", "Remove a timeline for good, here and in remote storage",
		`Deletes TIMELINE, by name or id, whatever its state. Timelines that branch from it must be deleted before; they are named
otherwise. There is no way back once it has begun: what was interrupted goes on when the store is opened for writing
again, or with another run. That there is no such timeline means that it is gone.`,
		"  strata delete experiment",
		func(cmd *cobra.Command, t *strata.Tenant, tl string) error { return t.Delete(cmd.Context(), tl) })
}

func newDetach() *cobra.Command {
	var f storeFlags
	var o strata.DetachOptions
	c := &cobra.Command{
		Use:   "detach [--timeline TIMELINE]",
		Short: "Remove the local files of a timeline, or of a whole tenant, that remote storage has",
		Long: `Waits until remote storage has all of it, and removes the local files. Remote storage keeps everything: "strata attach" brings it
back, here or in another store. Without --timeline the whole tenant is detached. Timelines that branch from one that is
detached alone must be detached before; what it branches from keeps what it needs.

--discard gives up what is not in remote storage yet. It is needed where another writer has taken over, which has made
what is only here worthless. A run that was interrupted can be repeated.`,
		Example: "  strata detach\n  strata detach --timeline experiment\n  strata detach --timeline main --discard",
		Args:    exactArgs(0),
	}
	f.register(c.Flags())
	f.timeline = ""
	c.Flags().Lookup("timeline").DefValue = ""
	c.Flags().Lookup("timeline").Usage = "timeline, by name or id; default the whole tenant"
	c.Flags().BoolVar(&o.Discard, "discard", false, "give up what is not in remote storage yet")
	c.RunE = func(cmd *cobra.Command, _ []string) error { return runDetach(cmd, &f, o) }
	return c
}

func runDetach(cmd *cobra.Command, f *storeFlags, o strata.DetachOptions) (err error) {
	start := time.Now()
	ctx := cmd.Context()
	engine, tenant, err := f.openTenant(cmd, strata.Options{})
	if err != nil {
		return err
	}
	defer func() { err = andAlso(err, engine.Close()) }()
	n := 1
	if f.timeline != "" {
		err = tenant.Detach(ctx, f.timeline, o)
	} else {
		n = len(tenant.Statuses())
		err = engine.DetachTenant(ctx, tenant.ID(), o)
	}
	if err != nil {
		if errors.Is(err, strata.ErrStale) {
			err = fmt.Errorf("%w; --discard gives up what is only here", err)
		}
		return err
	}
	c := closing{name: "detach"}.add("tenant", tenant.ID())
	if f.timeline != "" {
		c = c.add("timeline", f.timeline)
	}
	return c.add("timelines", n).seconds(start).write(cmd.OutOrStdout(), f.json)
}
