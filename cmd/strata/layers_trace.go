package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/simulator/trace"
)

func newLayersTrace() *cobra.Command {
	var f storeFlags
	var output string
	c := &cobra.Command{
		Use:   "export-trace --output FILE",
		Short: "Write what a timeline took in, without content, for the compaction simulator",
		Long: `Reads the timeline's own layers from end to end and writes which key each record changed, how many bytes it has
there, and whether it needs nothing older: no content, and no more of names than numbers of relations. What compaction
has folded or garbage collection removed is not in it any more. It takes memory in proportion to the number of records,
about 40 bytes for each.`,
		Example: "  strata layers export-trace --output store.trace\n  compaction-simulator run-suite --trace store.trace --scenario uniform",
		Args:    exactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output == "" {
				return usageError{errors.New("layers export-trace: --output is required")}
			}
			return f.withTimeline(cmd, readOnly, func(tl *openedTimeline) error {
				t, err := traceOf(cmd.Context(), tl)
				if err == nil {
					err = writeWhole(output, t.Write)
				}
				if err != nil {
					return fmt.Errorf("layers export-trace: %w", err)
				}
				return closing{name: "trace"}.add("records", len(t.Records)).add("bytes", t.Bytes).add("regions", len(t.Regions)).
					add("preload", t.Preload).write(cmd.OutOrStdout(), f.json)
			})
		},
	}
	f.register(c.Flags())
	c.Flags().StringVar(&output, "output", "", "file to write (required)")
	return c
}

// traceOf gathers the records of all deltas. Keys of images that are older than all of them were there before.
func traceOf(ctx context.Context, tl *openedTimeline) (*trace.Trace, error) {
	b := trace.NewBuilder()
	first := page.MaxLSN
	layers := tl.Layers()
	for _, d := range layers {
		if !d.Image {
			first = min(first, d.LSNs.Start)
		}
	}
	preload := false
	for _, d := range layers {
		if d.Image && d.LSNs.Start > first {
			continue
		}
		preload = preload || d.Image
		_, err := tl.VerifyLayer(ctx, d, func(k page.Key, lsn page.LSN, willInit bool, s layer.Stored) error {
			if d.Image {
				b.Key(k)
				return nil
			}
			return b.Add(k, lsn, len(s.Data), willInit)
		})
		if err != nil {
			return nil, err
		}
	}
	return b.Trace(tl.Info().Name, preload), nil
}
