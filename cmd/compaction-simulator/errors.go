package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
)

// usageError is wrong usage, for which the exit code is 2.
type usageError struct{ error }

func exitCode(err error) int {
	if u := (usageError{}); errors.As(err, &u) {
		return 2
	}
	return 1
}

// usage makes wrong usage of what check refuses.
func usage(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if err := check(c, args); err != nil {
			return usageError{fmt.Errorf("%w; usage: %s", err, c.UseLine())}
		}
		return nil
	}
}
