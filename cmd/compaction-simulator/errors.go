package main

import "errors"

// usageError is wrong usage, for which the exit code is 2.
type usageError struct{ error }

func exitCode(err error) int {
	if u := (usageError{}); errors.As(err, &u) {
		return 2
	}
	return 1
}
