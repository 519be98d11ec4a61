// Command compaction-simulator judges compaction strategies without an engine: it runs the planners that ship on a
// simulated timeline and counts what they write and what reads cost.
package main

import (
	"context"
	"errors"
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
	var p profile
	err := command(&p).ExecuteContext(ctx)
	if err = errors.Join(err, p.stop()); err != nil {
		fmt.Fprintln(os.Stderr, "compaction-simulator:", err)
		os.Exit(exitCode(err))
	}
}

func command(p *profile) *cobra.Command {
	c := &cobra.Command{
		Use:   "compaction-simulator",
		Short: "Judge compaction strategies on simulated workloads",
		Long: `Judge compaction strategies without an engine.

The planners that ship are run on a timeline whose layers hold numbers instead of pages. A scenario says what is written,
read, branched and collected; a strategy says what is compacted. A run tells what that costs: bytes written for each byte of
WAL (write amp), deltas, layers and records that a read has to look at, bytes kept, and time that ingest had to wait. It
is a function of the scenario, its seed and the strategy: the same bytes on every machine.`,
		Example: `  compaction-simulator list
  compaction-simulator run-suite --quick
  compaction-simulator simulate --scenario hot-cold --strategy partitioned --output pictures`,
		SilenceUsage:      true,
		SilenceErrors:     true,
		Args:              cobra.ArbitraryArgs,
		RunE:              noCommand,
		PersistentPreRunE: func(*cobra.Command, []string) error { return p.start() },
	}
	c.PersistentFlags().StringVar(&p.name, "cpuprofile", "", "write a profile of this program's processor time to a file")
	c.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	c.AddCommand(suiteCommand(), simulateCommand(), compareCommand(), listCommand(), replayCommand())
	return c
}

// noCommand is what is done where no command is named, or none that there is.
func noCommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return c.Help()
	}
	return usageError{fmt.Errorf("unknown command %q: see --help", args[0])}
}

// profile is of this program's processor time.
type profile struct {
	name string // of the file, empty for none
	file *os.File
}

func (p *profile) start() (err error) {
	if p.name == "" {
		return nil
	}
	if p.file, err = os.Create(p.name); err != nil {
		return err
	}
	return pprof.StartCPUProfile(p.file)
}

func (p *profile) stop() error {
	if p.file == nil {
		return nil
	}
	pprof.StopCPUProfile()
	return p.file.Close()
}
