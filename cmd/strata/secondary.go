package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	strata "github.com/stratapg/strata"
)

func newHeatmap() *cobra.Command {
	var f storeFlags
	c := &cobra.Command{
		Use:   "heatmap",
		Short: "Tell remote storage which layers whoever takes the tenant over should have",
		Long: `Writes the tenant's heatmap into remote storage: the layers that are here and that reads at the ends of its timelines need. "strata
secondary" fetches them where the tenant may be attached next. An engine does it by itself with Options.Remote.HeatmapPeriod.`,
		Example: "  strata heatmap",
		Args:    exactArgs(0),
	}
	f.register(c.Flags())
	hide(c, "timeline")
	c.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		start := time.Now()
		engine, tenant, err := f.openTenant(cmd, byHand(strata.Options{}))
		if err != nil {
			return err
		}
		defer func() { err = andAlso(err, engine.Close()) }()
		r, err := tenant.WriteHeatmap(cmd.Context())
		if err != nil {
			return err
		}
		return closing{name: "heatmap"}.add("timelines", r.Timelines).add("layers", r.Layers).add("bytes", r.Bytes).
			seconds(start).write(cmd.OutOrStdout(), f.json)
	}
	return c
}

func newSecondary() *cobra.Command {
	var f storeFlags
	var wait time.Duration
	var forget bool
	c := &cobra.Command{
		Use:   "secondary --remote URL --tenant ID [--wait D] | --forget",
		Short: "Fetch what a tenant's heatmap names, before the tenant is attached here",
		Long: `Fetches the layers that the heatmap of a tenant names which another store has attached, so that "strata attach" finds them here; those
that it does not name any more go. The store is made if it is not there. What has come when --wait is over stays, and the
next run goes on: the exit code is 1 until all is here. --forget removes what was fetched.`,
		Example: "  strata secondary --store ./standby --remote file:///srv/pages --tenant 33…33 --wait 30s",
		Args:    exactArgs(0),
	}
	f.register(c.Flags())
	hide(c, "timeline")
	c.Flags().DurationVar(&wait, "wait", 0, "how long to fetch; default until all is here")
	c.Flags().BoolVar(&forget, "forget", false, "remove what was fetched")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		if f.remote == "" || f.tenant == "" {
			return usageError{errors.New("secondary: --remote and --tenant are required")}
		}
		return runSecondary(cmd, f, wait, forget)
	}
	return c
}

func runSecondary(cmd *cobra.Command, f storeFlags, wait time.Duration, forget bool) (err error) {
	start := time.Now()
	o := strata.Options{Dir: f.dir, CreateIfMissing: true, Logger: warnings(cmd)}
	o.Remote = strata.RemoteOptions{URL: f.remote, Open: openRemote}
	engine, err := strata.Open(cmd.Context(), byHand(o))
	if err != nil {
		return err
	}
	defer func() { err = andAlso(err, engine.Close()) }()
	id, err := f.shardID(engine)
	if err != nil {
		return err
	}
	if forget {
		if err := engine.ForgetSecondary(id); err != nil {
			return err
		}
		return closing{name: "secondary"}.add("tenant", id).add("layers", 0).write(cmd.OutOrStdout(), f.json)
	}
	ctx, cancel := cmd.Context(), func() {}
	if wait > 0 {
		ctx, cancel = context.WithTimeout(ctx, wait)
	}
	defer cancel()
	p := newProgress(cmd.ErrOrStderr())
	st, err := engine.DownloadSecondary(ctx, id, func(now strata.SecondaryStatus) {
		p.say(fmt.Sprintf("secondary: %d of %d layers", now.Layers, now.TotalLayers), now.Bytes, now.TotalBytes)
	})
	over := errors.Is(err, context.DeadlineExceeded) && cmd.Context().Err() == nil
	if err != nil && !over {
		return err
	}
	err = closing{name: "secondary"}.add("tenant", id).add("layers", st.Layers).add("of", st.TotalLayers).add("bytes", st.Bytes).
		add("of_bytes", st.TotalBytes).seconds(start).write(cmd.OutOrStdout(), f.json)
	if over {
		err = errors.Join(err, fmt.Errorf("not all layers are here after %s; run it again", wait))
	}
	return err
}

func newDeleteTenant() *cobra.Command {
	var f storeFlags
	c := &cobra.Command{
		Use:   "delete-tenant --tenant ID",
		Short: "Remove a tenant with all its timelines for good, here and in remote storage",
		Long: `Deletes all timelines of a tenant, those first that branch from others, and then all else that there is of it, here and in remote
storage: nothing is left. There is no way back once it has begun: what was interrupted goes on when the store is opened for
writing again, or with another run. That there is no such tenant means that it is gone. A tenant that is divided into
shards needs all of them here.`,
		Example: "  strata delete-tenant --tenant 33…33",
		Args:    exactArgs(0),
	}
	f.register(c.Flags())
	hide(c, "timeline")
	hide(c, "shard")
	c.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		start := time.Now()
		if f.tenant == "" {
			return usageError{errors.New("delete-tenant: --tenant is required")}
		}
		id, err := f.tenantID()
		if err != nil {
			return err
		}
		engine, err := f.openEngine(cmd, byHand(strata.Options{}))
		if err != nil {
			return err
		}
		defer func() { err = andAlso(err, engine.Close()) }()
		if err := engine.DeleteTenant(cmd.Context(), id); err != nil {
			return err
		}
		return closing{name: "delete-tenant"}.add("tenant", id).seconds(start).write(cmd.OutOrStdout(), f.json)
	}
	return c
}
