package workload

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"time"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

// Engines are those that reads are measured with, always with direct I/O: the data are cold, whatever ran before.
var Engines = []struct {
	Name string
	Kind virtualfile.EngineKind
}{{"std", virtualfile.EngineStd}, {"uring", virtualfile.EngineURing}}

const (
	sector = 512  // what a bare loop reads for a value
	chunk  = 1024 // what the engine reads to verify one
)

// Reads are random reads of single pages, of images and under stacks of L0 deltas, each against a bare loop over the same Disk engine
// that reads the same values.
func Reads(s Size) (out []Workload) {
	for _, e := range Engines {
		for _, depth := range s.Depths {
			out = append(out, Workload{
				Name:    fmt.Sprintf("RandomPage/%s/depth=%d", e.Name, depth),
				Metrics: []Metric{{"pages/s", true}, {"bare-reads/s", true}, {"ratio", true}, {"cpu-µs/page", false}},
				Prepare: func(ctx context.Context, dir string) (Job, error) {
					m, err := OpenImages(ctx, dir, e.Kind, s.Pages)
					return duelJob(ctx, m, err, e.Kind, sector, depth, func(ours, theirs Side, n float64) []float64 {
						return []float64{n / ours.Wall.Seconds(), n / theirs.Wall.Seconds(), theirs.Wall.Seconds() / ours.Wall.Seconds(), micros(ours.CPU) / n}
					})
				},
			})
		}
		for i, pages := range slices.Concat([]int{s.Pages}, s.Relations) {
			relation := ""
			if i > 0 {
				relation = fmt.Sprintf("/pages=%d", pages)
			}
			for _, height := range s.Heights {
				for _, depth := range s.Depths {
					out = append(out, stackReads(fmt.Sprintf("L0Stack/%s/height=%d%s/depth=%d", e.Name, height, relation, depth), e.Kind, height, pages, depth))
				}
			}
		}
	}
	return out
}

func stackReads(name string, kind virtualfile.EngineKind, height, pages, depth int) Workload {
	return Workload{
		Name:    name,
		Metrics: []Metric{{"µs/op", false}, {"bare-µs/op", false}, {"ratio", false}},
		Prepare: func(ctx context.Context, dir string) (Job, error) {
			m, err := OpenStack(ctx, dir, kind, height, pages)
			return duelJob(ctx, m, err, kind, chunk, depth, func(ours, theirs Side, n float64) []float64 {
				d := float64(depth)
				return []float64{micros(ours.Wall) * d / n, micros(theirs.Wall) * d / n, ours.Wall.Seconds() / theirs.Wall.Seconds()}
			})
		},
	}
}

func micros(d time.Duration) float64 { return d.Seconds() * 1e6 }

// duelJob measures the reads of a store against bare ones.
func duelJob(ctx context.Context, m *Made, err error, kind virtualfile.EngineKind, unit int64, depth int, values func(ours, theirs Side, reads float64) []float64) (j Job, _ error) {
	if err != nil {
		return j, err
	}
	bare, places, err := OpenBare(ctx, m.Timeline, m.Dir, kind, unit)
	if err != nil {
		return j, errors.Join(err, m.Engine.Close())
	}
	j.Close = func() error { return errors.Join(bare.Close(), m.Engine.Close()) }
	if j.Check, err = checksum(ctx, m); err != nil {
		return j, errors.Join(err, j.Close())
	}
	d := &Duel{Keys: m.Keys, Depth: depth, Ours: Reader(ctx, m.Timeline), Theirs: bare.Reader(ctx, places)}
	j.Round = func(context.Context) ([]float64, error) {
		ours, theirs, n, err := d.Round()
		return values(ours, theirs, float64(n)), err
	}
	return j, nil
}

// checksum reads all pages of a store, by which its index is in memory too.
func checksum(ctx context.Context, m *Made) (sum uint32, err error) {
	err = m.Timeline.GetVectored(ctx, m.All(), m.Timeline.LastRecordLSN(), func(_ page.Key, v []byte, err error) error {
		sum = crc32.Update(sum, crc32.IEEETable, v)
		return err
	})
	return sum, err
}
