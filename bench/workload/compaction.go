package workload

import (
	"context"
	"errors"
	"fmt"
	"time"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/virtualfile"
)

const (
	// compactLayers L0 deltas of the other relation are merged in a round.
	compactLayers = 8
	compactBatch  = 512 // values that are put at once
	// tail is the quantile of reads that is compared.
	tail = 0.99
	// otherBlocks is the size of the relation that is written.
	otherBlocks = 1 << 20
)

// otherRelation is written, and compacted, while Relation is read.
var otherRelation = page.RelTag{Spc: Relation.Spc, DB: Relation.DB, Rel: Relation.Rel + 1}

// Compactions read pages at random and at a fixed rate, at rest and while L0 deltas of the same timeline are merged. The loop is open.
func Compactions(s Size) (out []Workload) {
	for _, c := range []struct {
		name string
		size int
	}{{"small", 100}, {"large", pg.BlockSize}} {
		out = append(out, Workload{
			Name:    "CompactReads/" + c.name,
			Metrics: []Metric{{"p99-ratio", false}, {"busy-µs", false}, {"idle-µs", false}, {"MB/s", true}},
			Prepare: func(ctx context.Context, dir string) (j Job, err error) {
				o := strata.Compaction{Strategy: "legacy", Period: strata.Every(0), Knobs: compaction.Options{CheckpointDistance: max(s.Bytes/compactLayers, 1<<20),
					CompactionThreshold: compactLayers, CompactionUpperLimit: compactLayers, ImageCreationThreshold: 1 << 20}}
				m, isNew, err := open(ctx, dir, virtualfile.EngineStd, s.Pages, o)
				if err != nil {
					return j, err
				}
				w := &compactReads{m: m, size: c.size, each: int(s.Bytes) / compactLayers / c.size, reads: s.Idle, rate: s.Rate}
				if isNew {
					err = w.begin(ctx)
				}
				j = Job{Close: m.Engine.Close, Round: w.round}
				if err == nil {
					j.Check, err = checksum(ctx, m)
				}
				if err != nil {
					return j, errors.Join(err, j.Close())
				}
				return j, nil
			},
		})
	}
	return out
}

// compactReads is a store whose first relation is read while the other one's layers are merged.
type compactReads struct {
	m           *Made
	size, each  int    // of values, and how many of them a layer has
	reads, rate int    // at rest; in a second
	put         uint32 // values so far
}

// begin puts the relations' directory and the pages that are read.
func (w *compactReads) begin(ctx context.Context) error {
	tl := w.m.Timeline
	var b page.Batch
	lsn := tl.LastRecordLSN() + 8
	b.PutImage(page.DBDirKey, lsn, datadir.EncodeDatabases([]datadir.Database{{Spc: Relation.Spc, DB: Relation.DB}}))
	b.PutImage(page.RelDirKey(Relation.Spc, Relation.DB), lsn, datadir.EncodeRelations([]datadir.RelFork{{Rel: Relation.Rel}, {Rel: otherRelation.Rel}}))
	b.PutImage(Relation.SizeKey(), lsn, datadir.EncodeSize(uint32(len(w.m.Keys))))
	b.PutImage(otherRelation.SizeKey(), lsn, datadir.EncodeSize(otherBlocks))
	if err := tl.Put(ctx, &b); err != nil {
		return err
	}
	return w.m.putLayer(ctx, 0, seeded(), putImage)
}

// stack puts the L0 deltas of a round.
func (w *compactReads) stack(ctx context.Context) error {
	tl, value := w.m.Timeline, make([]byte, w.size)
	for i := range value {
		value[i] = byte(Murmur32(uint32(i)))
	}
	lsn := tl.LastRecordLSN()
	for range compactLayers {
		var b page.Batch
		for i := range w.each {
			lsn += 8
			w.put++
			b.PutImage(otherRelation.Block(Murmur32(w.put)%otherBlocks), lsn, value)
			if i%compactBatch == compactBatch-1 || i == w.each-1 {
				if err := tl.Put(ctx, &b); err != nil {
					return err
				}
				b.Reset()
			}
		}
		if err := tl.Flush(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (w *compactReads) round(ctx context.Context) ([]float64, error) {
	if err := w.stack(ctx); err != nil {
		return nil, err
	}
	bytes := int64(0)
	for _, d := range w.m.Timeline.Layers() {
		if d.IsL0() {
			bytes += d.Size
		}
	}
	read := Reader(ctx, w.m.Timeline)
	idle, err := OpenLoop(w.rate, w.reads, w.m.Keys, read, nil)
	if err != nil {
		return nil, err
	}
	stop, failed := make(chan struct{}), make(chan error, 1)
	var took time.Duration
	go func() {
		defer close(stop)
		begin := time.Now()
		r, err := w.m.Timeline.Compact(ctx, strata.CompactOptions{DueOnly: true})
		took = time.Since(begin)
		if err == nil && r.Jobs == 0 {
			err = fmt.Errorf("there was nothing to compact: %d layers, %d of level 0", r.Layers, r.L0Height)
		}
		failed <- err
	}()
	busy, err := OpenLoop(w.rate, 0, w.m.Keys, read, stop)
	if err := errors.Join(err, <-failed); err != nil {
		return nil, err
	}
	b, i := Quantile(busy, tail), Quantile(idle, tail)
	return []float64{float64(b) / float64(max(i, 1)), micros(b), micros(i), float64(bytes) / 1e6 / took.Seconds()}, nil
}
