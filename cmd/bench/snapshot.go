package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/stratapg/strata/bench/snapshot"
	"github.com/stratapg/strata/bench/workload"
	"github.com/stratapg/strata/cmd/internal/cli"
	"github.com/stratapg/strata/virtualfile"
)

func newSnapshot() *cobra.Command {
	c := &cobra.Command{Use: "snapshot", Short: "Keep prepared stores, and use copies of them"}
	c.AddCommand(newCreate(), newUse())
	return c
}

func oneArg(what string, n int) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) != n {
			return cli.Usagef("%s wanted, not %d arguments", what, len(args))
		}
		return nil
	}
}

func newCreate() *cobra.Command {
	var name string
	var height, pages int
	c := &cobra.Command{
		Use:     "create SNAPSHOT",
		Short:   "Prepare a store and keep it",
		Example: "  bench snapshot create --workload stack --height 20 --pages 6400 snapshots/stack20",
		Args:    oneArg("a folder for the snapshot is", 1),
		RunE: func(c *cobra.Command, args []string) error {
			begin := time.Now()
			fill := func(ctx context.Context, dir string) error {
				var m *workload.Made
				var err error
				if name == "images" {
					m, err = workload.OpenImages(ctx, dir, virtualfile.EngineStd, pages)
				} else {
					m, err = workload.OpenStack(ctx, dir, virtualfile.EngineStd, height, pages)
				}
				if err != nil {
					return err
				}
				return m.Engine.Close()
			}
			if name != "stack" && name != "images" || height < 1 || pages < 1 {
				return cli.Usagef("workload %q, height %d, pages %d: stack and images there are, of 1 and more", name, height, pages)
			}
			i, err := snapshot.Create(c.Context(), args[0], snapshot.Info{Workload: name, Seed: workload.Seed,
				Options: map[string]string{"height": strconv.Itoa(height), "pages": strconv.Itoa(pages)}}, fill)
			if err != nil {
				return err
			}
			fmt.Fprintf(c.OutOrStdout(), "snapshot: files=%d digest=%s seconds=%.1f\n", len(i.Files), i.Digest, time.Since(begin).Seconds())
			return nil
		},
	}
	c.Flags().StringVar(&name, "workload", "stack", "stack (L0 deltas above each other) or images (one layer)")
	c.Flags().IntVar(&height, "height", 20, "layers of a stack")
	c.Flags().IntVar(&pages, "pages", 6400, "pages of the relation")
	return c
}

func newUse() *cobra.Command {
	var o snapshot.UseOptions
	var method string
	c := &cobra.Command{
		Use:     "use SNAPSHOT STORE",
		Short:   "Make a store that is a copy of a snapshot's",
		Example: "  bench snapshot use snapshots/stack20 /mnt/nvme/store",
		Args:    oneArg("a snapshot and a folder for the store are", 2),
		RunE: func(c *cobra.Command, args []string) error {
			begin := time.Now()
			o.Method = snapshot.Method(method)
			i, how, err := snapshot.Use(c.Context(), args[0], args[1], o)
			if err != nil {
				return err
			}
			fmt.Fprintf(c.OutOrStdout(), "snapshot: files=%d digest=%s copied=%s seconds=%.1f\n", len(i.Files), i.Digest, how, time.Since(begin).Seconds())
			return nil
		},
	}
	c.Flags().StringVar(&method, "method", "auto", "auto, reflink, link or copy")
	c.Flags().StringVar(&o.Digest, "digest", "", "refuse a snapshot of another digest")
	c.Flags().BoolVar(&o.Trust, "trust", false, "compare names and sizes alone, not all bytes")
	return c
}
