package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// flock holds the file as another process would.
func flock(f *os.File) error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) }
