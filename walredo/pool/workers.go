package pool

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/stratapg/strata/walredo"
	"github.com/stratapg/strata/walredo/sandbox"
)

// Native gives redo in Go in processes: exe is a strata program, whose subcommand redo-worker is run.
func Native(exe string) Worker {
	return Worker{Command: func(k walredo.Kind) (Command, error) {
		if !k.Version.Supported() {
			return Command{}, unsupported("PostgreSQL %d", k.Version)
		}
		args := []string{"redo-worker", "--pg", strconv.Itoa(int(k.Version)), "--flavour", k.Flavour.String(), "--report-failures"}
		if k.Checksums {
			args = append(args, "--checksums")
		}
		return Command{Path: exe, Args: args, Env: sandbox.Environment()}, nil
	}}
}

// External gives the workers that a command line starts: words between spaces, without a shell. {pg} in it
// stands for the major version, {flavour} for stock or neon, and {checksums} for true or false, as in
// "/opt/neon/v{pg}/bin/postgres --wal-redo". env is the workers' whole environment.
func External(line string, env ...string) (Worker, error) {
	words := strings.Fields(line)
	if len(words) == 0 {
		return Worker{}, errors.New("redo pool: the worker's command line is empty")
	}
	if !strings.HasPrefix(words[0], "/") {
		return Worker{}, fmt.Errorf("redo pool: worker %q: its program has to be given by its full path", words[0])
	}
	return Worker{Command: func(k walredo.Kind) (Command, error) {
		r := strings.NewReplacer("{pg}", strconv.Itoa(int(k.Version)), "{flavour}", k.Flavour.String(),
			"{checksums}", strconv.FormatBool(k.Checksums))
		args := make([]string, len(words))
		for i, w := range words {
			args[i] = r.Replace(w)
		}
		return Command{Path: args[0], Args: args[1:], Env: env}, nil
	}}, nil
}
