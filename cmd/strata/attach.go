package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/page"
)

func newAttach() *cobra.Command {
	var f storeFlags
	var generation, stripe uint32
	c := &cobra.Command{
		Use:   "attach --remote URL --tenant ID [--timeline ID]",
		Short: "Make a store of what remote storage has of a tenant, Strata's or Neon's",
		Long: `Reads the indexes of a tenant's timelines in remote storage, and makes a store of them that is used like any other: layers
are fetched when they are read. The timeline comes with all that it branches from; without --timeline all come.

It takes a generation above all that were given out. Whoever wrote there before is stale from then on: what it still writes
is not seen, and it deletes nothing. An attach that was interrupted can be run again.`,
		Example: "  strata attach --store ./copy --remote file:///srv/pages --tenant 33…33 --timeline 44…44",
		Args:    exactArgs(0),
	}
	f.register(c.Flags())
	f.timeline = ""
	c.Flags().Lookup("timeline").DefValue = ""
	c.Flags().Lookup("timeline").Usage = "timeline, by id; default all"
	c.Flags().Uint32Var(&generation, "generation", 0, "generation that a controller has given out; default the next, taken from the remote itself")
	c.Flags().Uint32Var(&stripe, "stripe-size", 0, "with --shard: blocks of a relation that stay together on a shard; default what remote storage says")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		if f.remote == "" || f.tenant == "" {
			return usageError{errors.New("attach: --remote and --tenant are required")}
		}
		id, err := f.tenantID()
		if err != nil {
			return err
		}
		o := strata.AttachOptions{Tenant: id, Generation: generation}
		if f.shard != "" {
			x, err := page.ParseShardIndex(f.shard)
			if err != nil {
				return usageError{err}
			}
			o.Shard = page.ShardIdentity{ShardIndex: x, Layout: page.ShardLayoutV1, StripeSize: stripe}
		}
		if f.timeline != "" {
			tl, err := page.ParseTimelineID(f.timeline)
			if err != nil {
				return usageError{err}
			}
			o.Timelines = append(o.Timelines, tl)
		}
		return runAttach(cmd, f, o)
	}
	return c
}

func runAttach(cmd *cobra.Command, f storeFlags, a strata.AttachOptions) (err error) {
	start := time.Now()
	o := strata.Options{Dir: f.dir, CreateIfMissing: true, Tenant: a.Tenant, Logger: warnings(cmd)}
	o.Remote = strata.RemoteOptions{URL: f.remote, Open: openRemote, Generation: a.Generation}
	engine, err := strata.Open(cmd.Context(), o)
	if err != nil {
		return err
	}
	defer func() { err = andAlso(err, engine.Close()) }()
	tenant, tls, err := engine.Attach(cmd.Context(), a)
	if err != nil {
		return err
	}
	layers := 0
	var last page.LSN
	for _, tl := range tls {
		i := tl.Info()
		layers += i.Layers
		fmt.Fprintf(cmd.ErrOrStderr(), "timeline %s %q: LSN %s, %d layers\n", i.ID, i.Name, i.LastRecordLSN, i.Layers)
	}
	for _, s := range tenant.Statuses() {
		if s.State == strata.StateImporting {
			fmt.Fprintf(cmd.ErrOrStderr(), "timeline %s %q: its import was not finished; import --resume goes on\n", s.ID, s.Name)
		}
	}
	if len(tls) > 0 {
		last = tls[0].LastRecordLSN()
	}
	return closing{name: "attach"}.add("lsn", last).add("layers", layers).seconds(start).write(cmd.OutOrStdout(), f.json)
}
