package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	strata "github.com/stratapg/strata"
)

func newReceive() *cobra.Command {
	var f storeFlags
	var source, slot string
	var until lsnValue
	var ancestors bool
	distance := sizeValue(defaultCheckpointDistance)
	c := &cobra.Command{
		Use:   "receive --source CONNINFO --slot NAME",
		Short: "Follow a running server by physical streaming replication",
		Long: `Connects to a running server as a standby would, through a replication slot (made if it is not there),
and takes in its WAL as it is written. The slot advances only to what is durable here, so the server keeps
whatever could still be lost. It runs until --until is reached or it is interrupted, and can be started
again at any time.`,
		Example: "  strata receive --source 'host=/var/run/postgresql user=postgres' --slot strata",
		Args:    exactArgs(0),
	}
	f.register(c.Flags())
	c.Flags().StringVar(&source, "source", "", "connection string of the server (required)")
	c.Flags().StringVar(&slot, "slot", "", "name of the physical replication slot (required)")
	c.Flags().Var(&until, "until", "stop at the last record that ends at or before this LSN")
	c.Flags().BoolVar(&ancestors, "ancestor-wal", false, "take WAL of the server whose WAL an ancestor has, into a branch that goes its way")
	c.Flags().Var(&distance, "checkpoint-distance", "WAL kept in memory before it is written as a layer")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		if source == "" || slot == "" {
			return usageError{errors.New("receive: --source and --slot are required")}
		}
		return runReceive(cmd, f, strata.ReceiveOptions{Source: source, Slot: slot, Until: until.lsn, AncestorWAL: ancestors}, int64(distance))
	}
	return c
}

func runReceive(cmd *cobra.Command, f storeFlags, o strata.ReceiveOptions, distance int64) error {
	start := time.Now()
	return f.withTimeline(cmd, strata.Options{CheckpointDistance: distance}, func(tl *openedTimeline) error {
		p := newProgress(cmd.ErrOrStderr())
		o.Logger = warnings(cmd)
		o.Progress = func(i strata.ReceiveProgress) {
			p.say(fmt.Sprintf("receive: at %s, durable to %s", i.LSN, i.Durable), i.Bytes, 0)
		}
		r, err := tl.Receive(cmd.Context(), o)
		if err != nil {
			return fmt.Errorf("receive: %w", err)
		}
		return closing{name: "receive"}.add("lsn", r.LSN).add("bytes", r.Bytes).
			seconds(start).write(cmd.OutOrStdout(), f.json)
	})
}
