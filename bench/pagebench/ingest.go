package pagebench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

// Ingest puts values into a timeline, of an engine in this process or of a server, as fast as that takes them.
type Ingest struct {
	// ValueSize is that of the values, Batch how many are put at once, Volume how many bytes of them in all.
	ValueSize, Batch int
	Volume           int64
	// Keys is how many blocks they are dealt out to; Random draws them, else they come in order.
	Keys   uint32
	Random bool
	// Runtime ends it early, if it is not 0. Seed draws keys and values.
	Runtime time.Duration
	Seed    uint64
}

// IngestResult is what was taken in. Latencies are those of single batches; Flushed is how long the rest took to be durable.
type IngestResult struct {
	Latencies Latencies
	Bytes     int64
	Elapsed   time.Duration // with Flushed
	Flushed   time.Duration
	Layers    int
}

// MarshalJSON gives the form of the other subcommands, and more.
func (r IngestResult) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Total   Latencies `json:"total"`
		Bytes   int64     `json:"bytes"`
		Speed   float64   `json:"mib_per_second"`
		Runtime string    `json:"runtime"`
		Flush   string    `json:"flush"`
		Layers  int       `json:"layers"`
	}{r.Latencies, r.Bytes, float64(r.Bytes) / (1 << 20) / r.Elapsed.Seconds(), HumanTime(r.Elapsed), HumanTime(r.Flushed), r.Layers})
}

// Validate reports what cannot be meant.
func (i *Ingest) Validate() error {
	const most = 1 << 20
	if i.ValueSize < 1 || i.ValueSize > most || i.Batch < 1 || i.Keys < 1 || i.Volume < 1 {
		return fmt.Errorf("value size %d, batch %d, keys %d, volume %d: all of them are 1 and more, the first at most %d", i.ValueSize, i.Batch, i.Keys, i.Volume, most)
	}
	return nil
}

// Run puts the values behind the end of a timeline, which is its caller's alone meanwhile, and makes them durable.
func (i Ingest) Run(ctx context.Context, tl *strata.Timeline) (IngestResult, error) {
	rel := page.RelTag{Spc: pg.DefaultTablespace, DB: 5, Rel: 16384}
	lsn := tl.LastRecordLSN()
	var b page.Batch
	return i.run(ctx, func(ctx context.Context, blocks []uint32, value []byte) error {
		b.Reset()
		for _, block := range blocks {
			lsn += 8
			b.PutRecord(rel.Block(block), lsn, true, value)
		}
		return tl.Put(ctx, &b)
	}, func(ctx context.Context) (int, error) {
		err := tl.Flush(ctx)
		return len(tl.Layers()), err
	})
}

// RunRemote puts the values as auxiliary files of a server's timeline over its management API, a call for each batch, and has it write what is
// in memory. No protocol of page servers takes WAL, and servers take files from those who test them alone (strata serve --testing).
func (i Ingest) RunRemote(ctx context.Context, a *API, t Target) (IngestResult, error) {
	path := fmt.Sprintf("/v1/tenant/%s/timeline/%s/", t.Tenant, t.Timeline)
	return i.run(ctx, func(ctx context.Context, blocks []uint32, value []byte) error {
		files := make(map[string]string, len(blocks))
		for _, block := range blocks {
			files[fmt.Sprintf("pg_logical/mappings/%08x", block)] = string(value)
		}
		return a.put(ctx, http.MethodPost, path+"ingest_aux_files", map[string]any{"aux_files": files}, nil)
	}, func(ctx context.Context) (int, error) {
		if err := a.call(ctx, http.MethodPut, path+"checkpoint?compact=false", "", nil); err != nil {
			return 0, err
		}
		var layers struct {
			Historic []json.RawMessage `json:"historic_layers"`
		}
		err := a.call(ctx, http.MethodGet, path+"layer", "", &layers)
		return len(layers.Historic), err
	})
}

// run draws batches for put, and then has flush make all durable, which gives the number of layers.
func (i Ingest) run(ctx context.Context, put func(ctx context.Context, blocks []uint32, value []byte) error, flush func(context.Context) (int, error)) (IngestResult, error) {
	r := IngestResult{Latencies: newLatencies()}
	if err := i.Validate(); err != nil {
		return r, err
	}
	limited, cancel := context.WithCancel(ctx)
	if i.Runtime > 0 {
		limited, cancel = context.WithTimeout(ctx, i.Runtime)
	}
	defer cancel()
	rnd := rand.New(rand.NewPCG(i.Seed, 1))
	value, blocks := make([]byte, i.ValueSize), make([]uint32, i.Batch)
	for n := range value {
		value[n] = 'a' + byte(rnd.Uint32N(26)) // text, which JSON carries as it is
	}
	begin := time.Now()
	for n := uint32(0); r.Bytes < i.Volume && limited.Err() == nil; {
		for b := range blocks {
			blocks[b] = n % i.Keys
			if i.Random {
				blocks[b] = rnd.Uint32N(i.Keys)
			}
			n++
		}
		begun := time.Now()
		if err := put(limited, blocks, value); err != nil {
			if limited.Err() != nil && errors.Is(err, limited.Err()) {
				break
			}
			return r, err
		}
		r.Latencies.add(time.Since(begun))
		r.Bytes += int64(i.Batch * len(value))
	}
	flushing := time.Now()
	layers, err := flush(ctx)
	r.Flushed, r.Elapsed, r.Layers = time.Since(flushing), time.Since(begin), layers
	return r, err
}
