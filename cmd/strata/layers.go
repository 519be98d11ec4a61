package main

import (
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/inspect/draw"
	"github.com/stratapg/strata/layer"
)

func newLayers() *cobra.Command {
	var f storeFlags
	c := &cobra.Command{
		Use:   "layers",
		Short: "List a timeline's layers",
		Long: `Lists the layers of a timeline itself, not its ancestors'. In the closing line deltas counts every delta
layer, of which l0 are not yet sorted by key.`,
		Example: "  strata layers\n  strata layers draw --output layers.svg",
		Args:    exactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.withTimeline(cmd, readOnly, func(tl *openedTimeline) error {
				if !f.json {
					if err := listLayers(cmd.OutOrStdout(), tl.Layers()); err != nil {
						return err
					}
				}
				return layersClosing(tl.Layers()).write(cmd.OutOrStdout(), f.json)
			})
		},
	}
	f.register(c.Flags())
	c.AddCommand(newLayersDraw(), newLayersTrace())
	return c
}

func newLayersDraw() *cobra.Command {
	var f storeFlags
	var output string
	c := &cobra.Command{
		Use:     "draw --output FILE.svg",
		Short:   "Draw a timeline's layers, key by LSN, as an SVG",
		Example: "  strata layers draw --output layers.svg",
		Args:    exactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output == "" {
				return usageError{errors.New("layers draw: --output is required")}
			}
			return f.withTimeline(cmd, readOnly, func(tl *openedTimeline) error {
				if err := writeWhole(output, picture(tl.Timeline).SVG); err != nil {
					return fmt.Errorf("layers draw: %w", err)
				}
				return layersClosing(tl.Layers()).write(cmd.OutOrStdout(), f.json)
			})
		},
	}
	f.register(c.Flags())
	c.Flags().StringVar(&output, "output", "", "file to write (required)")
	return c
}

// picture shows the timeline's layers, where it begins and what is durable.
func picture(tl *strata.Timeline) draw.Picture {
	i := tl.Info()
	return draw.Picture{
		Title:  fmt.Sprintf("Timeline %s: layers, key × LSN", i.Name),
		Layers: tl.Layers(),
		Marks: []draw.Mark{
			{LSN: i.InitialLSN, Label: "begins at " + i.InitialLSN.String()},
			{LSN: i.DiskConsistentLSN, Label: "durable to " + i.DiskConsistentLSN.String()},
		},
	}
}

func listLayers(w io.Writer, layers []layer.Desc) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "kind\tbytes\tfirst key\tend key\tfirst LSN\tend LSN")
	for _, d := range layers {
		fmt.Fprintf(t, "%s\t%d\t%s\t%s\t%s\t%s\n", kindOf(d), d.Size, d.Keys.Start, d.Keys.End, d.LSNs.Start, d.LSNs.End)
	}
	return t.Flush()
}

func kindOf(d layer.Desc) string {
	switch {
	case d.Image:
		return "image"
	case d.IsL0():
		return "l0"
	}
	return "delta"
}

func layersClosing(layers []layer.Desc) closing {
	count := map[string]int{}
	var bytes int64
	for _, d := range layers {
		count[kindOf(d)]++
		bytes += d.Size
	}
	return closing{name: "layers"}.add("deltas", count["delta"]+count["l0"]).add("images", count["image"]).
		add("l0", count["l0"]).add("bytes", bytes)
}
