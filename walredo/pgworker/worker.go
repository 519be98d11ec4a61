package pgworker

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/walredo"
	"github.com/stratapg/strata/walredo/pool"
)

// Subcommand is what a program that calls Run for `PROGRAM Subcommand …` has to know it by.
const Subcommand = "pg-redo-worker"

// Server says which server becomes a worker. In its strings {pg} stands for the major version.
type Server struct {
	// Bin is the folder of postgres and initdb; default /usr/lib/postgresql/{pg}/bin.
	Bin string
	// Extension is the library, without or with its .so; default strata_redo, which the server looks for in its own
	// library folder.
	Extension string
	// Scratch is the folder of data directories; required. It is made if it does not exist.
	Scratch string
	// User is the account that the server runs as where we are root, which servers refuse; default postgres.
	User string
}

// Defaults of Server.
const (
	DefaultBin       = "/usr/lib/postgresql/{pg}/bin"
	DefaultExtension = "strata_redo"
	DefaultUser      = "postgres"
)

// of gives the server of a version, with defaults.
func (s Server) of(v pg.Version) (Server, error) {
	if !v.Supported() {
		return s, fmt.Errorf("%w: PostgreSQL %d", walredo.ErrUnsupported, v)
	}
	if s.Scratch == "" {
		return s, fmt.Errorf("pgworker: Server.Scratch is empty: it must name a folder for data directories")
	}
	for _, x := range []struct {
		value *string
		usual string
	}{{&s.Bin, DefaultBin}, {&s.Extension, DefaultExtension}, {&s.Scratch, ""}, {&s.User, DefaultUser}} {
		if *x.value == "" {
			*x.value = x.usual
		}
		*x.value = strings.ReplaceAll(*x.value, "{pg}", strconv.Itoa(int(v)))
	}
	var err error
	if s.Scratch, err = filepath.Abs(s.Scratch); err != nil {
		return s, fmt.Errorf("pgworker: %w", err)
	}
	return s, nil
}

// Worker gives a pool workers of that server. exe is a program whose Subcommand calls Run, such as strata.
func Worker(exe string, s Server) pool.Worker {
	return pool.Worker{Command: func(k walredo.Kind) (pool.Command, error) {
		if k.Flavour != pg.Stock {
			return pool.Command{}, fmt.Errorf("%w: a stock server does not know the records of %s", walredo.ErrUnsupported, k)
		}
		s, err := s.of(k.Version)
		if err != nil {
			return pool.Command{}, err
		}
		return pool.Command{Path: exe, Args: []string{
			Subcommand, "--pg", strconv.Itoa(int(k.Version)), "--checksums=" + strconv.FormatBool(k.Checksums),
			"--report-failures", "--bin", s.Bin, "--extension", s.Extension, "--scratch", s.Scratch, "--user", s.User,
		}}, nil
	}}
}
