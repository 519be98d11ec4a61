package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"
)

func newInitialSize() *cobra.Command {
	var f serverFlags
	var poll time.Duration
	c := &cobra.Command{
		Use:     "trigger-initial-size-calculation [TENANT/TIMELINE ...]",
		Short:   "Have the server reckon logical sizes",
		Example: "  pagebench trigger-initial-size-calculation --poll-for-completion 100ms",
		RunE: func(c *cobra.Command, args []string) error {
			targets, err := f.targets(c, args)
			if err != nil {
				return err
			}
			for _, t := range targets {
				for {
					size, accurate, err := f.management().InitialSizes(c.Context(), t)
					if err != nil {
						return err
					}
					if accurate || poll == 0 {
						fmt.Fprintf(c.ErrOrStderr(), "%s: %d bytes\n", t, size)
						break
					}
					select {
					case <-c.Context().Done():
						return c.Context().Err()
					case <-time.After(poll):
					}
				}
			}
			return nil
		},
	}
	f.register(c.Flags())
	c.Flags().DurationVar(&poll, "poll-for-completion", 0, "ask again so often until the size is known")
	return c
}
