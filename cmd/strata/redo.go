package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/pflag"

	"github.com/stratapg/strata/walredo"
	"github.com/stratapg/strata/walredo/chooser"
	"github.com/stratapg/strata/walredo/native"
	"github.com/stratapg/strata/walredo/pool"
)

// redoWay is who does redo, as flags.
type redoWay struct{ redo, worker string }

func (w *redoWay) register(f *pflag.FlagSet) {
	f.StringVar(&w.redo, "redo", "native", "who does the redo: native, pool, or both (or verify), which have to agree")
	f.StringVar(&w.worker, "worker", "", "command line of the pool's processes (default: this program's redo-worker)")
}

// modes are the ways of redo that need processes. Commands that read a store call the last one verify.
var modes = map[string]chooser.Mode{"pool": chooser.PoolFirst, "both": chooser.Verify, "verify": chooser.Verify}

// open makes the Redoer.
func (w *redoWay) open() (walredo.Redoer, error) {
	mode, processes := modes[w.redo]
	switch {
	case w.redo == "native" && w.worker != "":
		return nil, usageError{errors.New("--worker is for --redo pool or both")}
	case w.redo == "native":
		return native.New(), nil
	case !processes:
		return nil, usageError{fmt.Errorf("--redo %q: native, pool or both is expected", w.redo)}
	}
	worker, err := w.workers()
	if err != nil {
		return nil, err
	}
	p, err := pool.New(pool.Options{Worker: worker})
	if err != nil {
		return nil, err
	}
	return chooser.New(native.New(), p, mode), nil
}

func (w *redoWay) workers() (pool.Worker, error) {
	if w.worker == "" {
		exe, err := os.Executable()
		return pool.Native(exe), err
	}
	worker, err := pool.External(w.worker)
	if err != nil {
		return worker, usageError{fmt.Errorf("--worker: %w", err)}
	}
	return worker, nil
}
