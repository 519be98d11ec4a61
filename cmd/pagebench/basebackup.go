package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/stratapg/strata/bench/pagebench"
	"github.com/stratapg/strata/cmd/internal/cli"
)

func newBaseBackup() *cobra.Command {
	var f serverFlags
	var b pagebench.Backup
	var plot string
	c := &cobra.Command{
		Use:     "basebackup [TENANT/TIMELINE ...]",
		Short:   "Base backups as computes take them: latency and number",
		Long:    "Takes base backups of the last state again and again, one client for each target, and measures until the last byte.",
		Example: "  pagebench basebackup --runtime 10s",
		RunE: func(c *cobra.Command, args []string) (err error) {
			b.Runtime = f.runtime
			var targets []pagebench.Target
			if f.store != "" {
				if b.Engine, err = f.open(c); err != nil {
					return err
				}
				defer func() { err = errors.Join(err, b.Engine.Close()) }()
				targets, err = f.targetsOfStore(pagebench.Library{Engine: b.Engine}, args)
			} else {
				targets, err = f.server(c, args, &b)
			}
			if err != nil {
				return err
			}
			r, err := b.Run(c.Context(), targets)
			if err != nil {
				return err
			}
			return printResult(c, r, plot)
		},
	}
	f.register(c.Flags())
	f.inProcess(c.Flags())
	c.Flags().Int("num-clients", 1, "taken and ignored, as by Neon's: there is one client for each target")
	c.Flags().BoolVar(&b.NoCompression, "no-compression", false, "archives as they are, without gzip")
	c.Flags().StringVar(&plot, "plot", "", "SVG file for latencies")
	return c
}

// server says where backups are asked for, and of which targets.
func (f *serverFlags) server(c *cobra.Command, args []string, b *pagebench.Backup) ([]pagebench.Target, error) {
	w, err := f.way(false)
	if err != nil {
		return nil, err
	}
	p, ok := w.(pagebench.Pagestream)
	if !ok {
		return nil, cli.Usagef("--page-service-connstring: backups are taken over postgres://")
	}
	b.Addr, b.Connect = p.Addr, p.Connect
	return f.targets(c, args)
}
