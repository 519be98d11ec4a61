package pgworker

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// maxDataDirs bounds the workers of one version that may run at a time.
const maxDataDirs = 1024

// dataDir gives a data directory that is ours until this process ends, whatever it becomes: a lock that it
// inherits says so. It looks as if no server had ever been started in it.
func (o *Options) dataDir() (string, error) {
	for n := range maxDataDirs {
		dir := filepath.Join(o.Scratch, fmt.Sprintf("pg%d-%d", o.Version, n))
		mine, err := lock(dir + ".lock")
		if err != nil {
			return "", err
		}
		if mine {
			return dir, o.prepare(dir)
		}
	}
	return "", fmt.Errorf("%d workers run in %s already", maxDataDirs, o.Scratch)
}

// lock takes a lock without waiting. Its descriptor outlives exec.
func lock(name string) (bool, error) {
	fd, err := unix.Open(name, unix.O_RDWR|unix.O_CREAT, 0o600)
	if err != nil {
		return false, fmt.Errorf("%s: %w", name, err)
	}
	err = unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		return true, nil
	}
	_ = unix.Close(fd)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return false, nil
	}
	return false, fmt.Errorf("lock of %s: %w", name, err)
}

// Files of a data directory. The server that was killed last may have left a pid file, which a process of that number
// would turn into a refusal, and a control file that asks for recovery.
const (
	controlFile = "global/pg_control"
	cleanFile   = "global/pg_control.clean"
	pidFile     = "postmaster.pid"
)

// prepare makes the data directory if it is not there, or as it was.
func (o *Options) prepare(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, cleanFile)); err == nil {
		if err := os.Remove(filepath.Join(dir, pidFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		return copyFile(filepath.Join(dir, cleanFile), filepath.Join(dir, controlFile))
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	// In the process group of this process, so that it does not outlive it.
	c := exec.Command(filepath.Join(o.Bin, "initdb"), "-D", dir, "-U", "postgres", "-A", "trust", "-E", "UTF8",
		"--locale=C", "-N", "--no-instructions", "--wal-segsize=1")
	c.Env, c.Dir = environment, "/"
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("making a data directory: %w: %s", err, out)
	}
	// Written last, as what says that the directory is whole.
	return copyFile(filepath.Join(dir, controlFile), filepath.Join(dir, cleanFile))
}
