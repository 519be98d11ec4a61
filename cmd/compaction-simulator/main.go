// Command compaction-simulator judges compaction strategies without an engine: it runs the planners that ship on a
// simulated timeline and counts what they write and what reads cost.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime/pprof"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := command().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "compaction-simulator:", err)
		os.Exit(exitCode(err))
	}
}

func command() *cobra.Command {
	c := &cobra.Command{
		Use:           "compaction-simulator",
		Short:         "Judge compaction strategies on simulated workloads",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	profile := ""
	c.PersistentFlags().StringVar(&profile, "cpuprofile", "", "write a profile of this program's processor time to a file")
	var stop func() error
	c.PersistentPreRunE = func(*cobra.Command, []string) (err error) {
		stop, err = startProfile(profile)
		return err
	}
	c.PersistentPostRunE = func(*cobra.Command, []string) error { return stop() }
	c.AddCommand(suiteCommand(), simulateCommand(), compareCommand(), listCommand(), replayCommand())
	return c
}

// startProfile begins a profile, if a file is named, and gives what ends it.
func startProfile(file string) (func() error, error) {
	if file == "" {
		return func() error { return nil }, nil
	}
	f, err := os.Create(file)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, err
	}
	return func() error {
		pprof.StopCPUProfile()
		return f.Close()
	}, nil
}
