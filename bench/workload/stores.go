package workload

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/virtualfile"
	"github.com/stratapg/strata/walredo"
)

// Made is a store that a workload has made, open.
type Made struct {
	Engine   *strata.Engine
	Timeline *strata.Timeline
	Keys     []page.Key
	Dir      string
}

// NoRedo gives a page of zeros for any records, and takes no time.
type NoRedo struct{}

// Redo implements walredo.Redoer.
func (NoRedo) Redo(_ context.Context, dst []byte, _ *walredo.Request) ([]byte, error) {
	n := len(dst)
	return dst[:n+pg.BlockSize], nil
}

// Close implements walredo.Redoer.
func (NoRedo) Close() error { return nil }

// What made stores have in common.
const (
	firstLSN   = page.LSN(0x1000000)
	recordSize = 200 // of the records of a stack
	batchPages = 256 // of images that are put at once
)

// Seed decides the values of made stores.
const Seed = 1

// Whose made stores are: layer files say so, and the same data are to be the same files.
var (
	madeTenant   = page.TenantID{0xBE}
	madeTimeline = page.TimelineID{0xBE}
)

// Relation is the one that made stores have.
var Relation = page.RelTag{Spc: pg.DefaultTablespace, DB: 5, Rel: 16384}

// oneLayer is more than any layer of a made store has: they end when they are told to.
const oneLayer = 2 << 30

// noCompaction leaves layers as they are.
var noCompaction = strata.Compaction{Period: strata.Every(0)}

// open makes or opens a store without redo, whose timeline main has so many pages.
func open(ctx context.Context, dir string, kind virtualfile.EngineKind, pages int, c strata.Compaction) (m *Made, isNew bool, err error) {
	e, err := strata.Open(ctx, strata.Options{
		Dir: dir, CreateIfMissing: true, Tenant: madeTenant, CheckpointDistance: oneLayer, IOMode: virtualfile.DirectRW, IOEngine: kind, Redoer: NoRedo{}, Compaction: c,
	})
	if err != nil {
		return nil, false, err
	}
	m = &Made{Engine: e, Dir: dir, Keys: blocks(pages)}
	tn, err := e.DefaultTenant(ctx)
	if err == nil {
		if m.Timeline, err = tn.Timeline(ctx, "main"); errors.Is(err, strata.ErrTimelineNotFound) {
			isNew = true
			m.Timeline, err = tn.Create(ctx, strata.CreateOptions{Name: "main", ID: madeTimeline, Version: pg.V17, InitialLSN: firstLSN})
		}
	}
	if err != nil {
		return nil, false, errors.Join(err, e.Close())
	}
	return m, isNew, nil
}

// blocks are the first ones of Relation.
func blocks(n int) (out []page.Key) {
	for i := range n {
		out = append(out, Relation.Block(uint32(i)))
	}
	return out
}

// OpenStack makes a stack of L0 deltas, each with one record of every page, or opens the one that was made in the folder.
func OpenStack(ctx context.Context, dir string, kind virtualfile.EngineKind, height, pages int) (*Made, error) {
	return openMade(ctx, dir, kind, height, pages, func(b *page.Batch, k page.Key, lsn page.LSN, l int, r *rand.Rand) {
		record := make([]byte, recordSize)
		for j := range record {
			record[j] = byte(r.Uint32())
		}
		b.PutRecord(k, lsn, l == 0, record)
	})
}

// OpenImages makes one layer of images that do not compress, or opens the one that was made in the folder.
func OpenImages(ctx context.Context, dir string, kind virtualfile.EngineKind, pages int) (*Made, error) {
	return openMade(ctx, dir, kind, 1, pages, putImage)
}

// putValue puts a page's value of a layer.
type putValue func(b *page.Batch, k page.Key, lsn page.LSN, layer int, r *rand.Rand)

func putImage(b *page.Batch, k page.Key, lsn page.LSN, _ int, r *rand.Rand) {
	image := make([]byte, pg.BlockSize)
	for j := 0; j < len(image); j += 4 {
		v := r.Uint32()
		image[j], image[j+1], image[j+2], image[j+3] = byte(v), byte(v>>8), byte(v>>16), byte(v>>24)
	}
	b.PutImage(k, lsn, image)
}

func seeded() *rand.Rand { return rand.New(rand.NewPCG(Seed, 2)) }

// openMade puts so many layers, each with one value of each page, the same with each call.
func openMade(ctx context.Context, dir string, kind virtualfile.EngineKind, layers, pages int, put putValue) (*Made, error) {
	m, isNew, err := open(ctx, dir, kind, pages, noCompaction)
	if err != nil {
		return nil, err
	}
	r := seeded()
	for l := 0; isNew && l < layers && err == nil; l++ {
		err = m.putLayer(ctx, l, r, put)
	}
	if n := len(m.Timeline.Layers()); err == nil && n != layers {
		err = fmt.Errorf("store %s has %d layers, not %d: it was made otherwise", dir, n, layers)
	}
	if err != nil {
		return nil, errors.Join(err, m.Engine.Close())
	}
	return m, nil
}

// putLayer makes a layer with one value of each page.
func (m *Made) putLayer(ctx context.Context, l int, r *rand.Rand, put putValue) error {
	for some := range slices.Chunk(m.Keys, batchPages) {
		var b page.Batch
		lsn := m.Timeline.LastRecordLSN() + 8
		for _, k := range some {
			put(&b, k, lsn, l, r)
		}
		if err := m.Timeline.Put(ctx, &b); err != nil {
			return err
		}
	}
	return m.Timeline.Flush(ctx)
}

// All is the set of all pages.
func (m *Made) All() page.Set {
	return page.NewSet(page.Range{Start: m.Keys[0], End: m.Keys[len(m.Keys)-1].Next()})
}
