package pagebench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

// Ingest puts values into a timeline of an engine in this process, as fast as that takes them.
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
	r := IngestResult{Latencies: newLatencies()}
	if err := i.Validate(); err != nil {
		return r, err
	}
	limited, cancel := context.WithCancel(ctx)
	if i.Runtime > 0 {
		limited, cancel = context.WithTimeout(ctx, i.Runtime)
	}
	defer cancel()
	rel := page.RelTag{Spc: pg.DefaultTablespace, DB: 5, Rel: 16384}
	rnd := rand.New(rand.NewPCG(i.Seed, 1))
	value, lsn := make([]byte, i.ValueSize), tl.LastRecordLSN()
	for n := range value {
		value[n] = byte(rnd.Uint32())
	}
	begin := time.Now()
	var b page.Batch
	for n := uint32(0); r.Bytes < i.Volume && limited.Err() == nil; {
		for range i.Batch {
			block := n % i.Keys
			if i.Random {
				block = rnd.Uint32N(i.Keys)
			}
			lsn += 8
			b.PutRecord(rel.Block(block), lsn, true, value)
			r.Bytes += int64(len(value))
			n++
		}
		begun := time.Now()
		if err := tl.Put(limited, &b); err != nil {
			if limited.Err() != nil && errors.Is(err, limited.Err()) {
				r.Bytes -= int64(i.Batch * len(value))
				break
			}
			return r, err
		}
		r.Latencies.add(time.Since(begun))
		b.Reset()
	}
	flushing := time.Now()
	if err := tl.Flush(ctx); err != nil {
		return r, err
	}
	r.Flushed, r.Elapsed, r.Layers = time.Since(flushing), time.Since(begin), len(tl.Layers())
	return r, nil
}
