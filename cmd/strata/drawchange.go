package main

import (
	"fmt"

	"github.com/spf13/cobra"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/inspect/draw"
	"github.com/stratapg/strata/layer"
)

// registerDraw adds the flag that asks for a picture.
func registerDraw(c *cobra.Command, file *string) {
	c.Flags().StringVar(file, "draw", "", "draw the layers before and after into this SVG file")
}

// drawChange draws layers before and after, unless file is empty.
func drawChange(file string, tl *strata.Timeline, what string, before, after []layer.Desc, planned []draw.Outline) error {
	if file == "" {
		return nil
	}
	p := draw.Change{
		Title:  fmt.Sprintf("Timeline %s %s", tl.Info().Name, what),
		Before: before, After: after, Planned: planned,
		Marks: []draw.Mark{{LSN: tl.Info().OldestLSN, Label: "readable from " + tl.Info().OldestLSN.String()}},
	}
	if err := writeWhole(file, p.SVG); err != nil {
		return fmt.Errorf("draw: %w", err)
	}
	return nil
}

// drawPlan draws what a plan would replace, and by what.
func drawPlan(file string, tl *strata.Timeline, p *strata.CompactionPlan) error {
	gone := obsolete(p)
	var before, after []layer.Desc
	for i := range p.Snapshot.Layers {
		l := &p.Snapshot.Layers[i]
		d := layer.Desc{Keys: l.Keys, LSNs: l.LSNs, Image: l.Image, Generation: l.Generation, Size: l.Size}
		before = append(before, d)
		if !gone[i] {
			after = append(after, d)
		}
	}
	var planned []draw.Outline
	for i := range p.Jobs {
		j := &p.Jobs[i]
		planned = append(planned, draw.Outline{Keys: j.Rect.Keys, LSNs: j.Rect.LSNs, Label: fmt.Sprintf("%s: %s", j.Kind, j.Reason)})
	}
	return drawChange(file, tl, "as planned", before, after, planned)
}
