package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/pflag"

	strata "github.com/stratapg/strata"
)

// readRedo says, on commands that read pages of a store, who redoes them.
type readRedo struct {
	mode   strata.RedoMode
	worker string
}

func (r *readRedo) register(f *pflag.FlagSet) {
	f.TextVar(&r.mode, "redo", strata.RedoNative, "who redoes records: native, pool, native-first (the pool for what native does not know), or verify (both, which have to agree)")
	f.StringVar(&r.worker, "redo-worker", "", "command line of the pool's processes (default: this program's redo-worker)")
}

// options gives the engine's options.
func (r *readRedo) options() (strata.RedoOptions, error) {
	o := strata.RedoOptions{Mode: r.mode, Worker: r.worker}
	switch {
	case r.mode == strata.RedoNative && r.worker != "":
		return o, usageError{errors.New("--redo-worker is for --redo pool, native-first or verify")}
	case r.mode == strata.RedoNative || r.worker != "":
		return o, nil
	}
	exe, err := os.Executable()
	if err == nil && strings.ContainsAny(exe, " \t") {
		err = fmt.Errorf("this program's path %q has a space: give --redo-worker", exe)
	}
	o.Worker = exe + " redo-worker --pg {pg} --flavour {flavour} --checksums={checksums} --report-failures"
	return o, err
}
