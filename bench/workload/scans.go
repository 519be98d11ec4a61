package workload

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

// readAhead is how many pages a scan asks for at once, as many as a compute's read-ahead.
const readAhead = 128

// Scans read a whole relation in order, some pages at a time.
func Scans(s Size) (out []Workload) {
	for _, e := range Engines {
		out = append(out, Workload{
			Name:    "SequentialScan/" + e.Name,
			Metrics: []Metric{{"MB/s", true}, {"µs/page", false}},
			Prepare: func(ctx context.Context, dir string) (j Job, err error) {
				m, err := OpenImages(ctx, dir, e.Kind, s.Pages)
				if err != nil {
					return j, err
				}
				j.Close = m.Engine.Close
				if j.Check, err = checksum(ctx, m); err != nil {
					return j, errors.Join(err, j.Close())
				}
				j.Round = func(ctx context.Context) ([]float64, error) {
					begin := time.Now()
					err := scan(ctx, m)
					took := time.Since(begin).Seconds()
					n := float64(len(m.Keys))
					return []float64{n * pg.BlockSize / 1e6 / took, took * 1e6 / n}, err
				}
				return j, nil
			},
		})
	}
	return out
}

func scan(ctx context.Context, m *Made) error {
	for i := 0; i < len(m.Keys); i += readAhead {
		some, n := m.Keys[i:min(i+readAhead, len(m.Keys))], 0
		err := m.Timeline.GetVectored(ctx, page.NewSet(page.Range{Start: some[0], End: some[len(some)-1].Next()}), m.Timeline.LastRecordLSN(),
			func(_ page.Key, _ []byte, err error) error {
				n++
				return err
			})
		if err == nil && n != len(some) {
			err = fmt.Errorf("%d pages of %d", n, len(some))
		}
		if err != nil {
			return err
		}
	}
	return nil
}
