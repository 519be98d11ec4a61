package timeline

import "sync/atomic"

// GCMetrics are counters of garbage collection, of all timelines.
type GCMetrics struct {
	// Runs counts collections, Layers and Bytes what they removed.
	Runs, Layers, Bytes int64
	// Refused counts reads below a cutoff.
	Refused int64
	// Held is how many LSNs leases and running work hold now; each timeline may have HeldLimit.
	Held, HeldLimit int64
	// FoldDropped counts versions that folding left out, FoldImages images that it put in their place, FoldKeys keys that
	// went as they exist no more.
	FoldDropped, FoldImages, FoldKeys int64
}

// gcCounters is GCMetrics while it changes.
type gcCounters struct {
	gcRuns, gcLayers, gcBytes, gcRefused atomic.Int64
	foldDropped, foldImages, foldKeys    atomic.Int64
}

// gcMetrics gives the counters as they are now.
func (e *Env) gcMetrics() GCMetrics {
	c := &e.counters
	m := GCMetrics{
		Runs: c.gcRuns.Load(), Layers: c.gcLayers.Load(), Bytes: c.gcBytes.Load(), Refused: c.gcRefused.Load(), HeldLimit: maxHeld,
		FoldDropped: c.foldDropped.Load(), FoldImages: c.foldImages.Load(), FoldKeys: c.foldKeys.Load(),
	}
	for _, t := range e.heights.timelines() {
		m.Held += int64(t.Leased())
	}
	return m
}
