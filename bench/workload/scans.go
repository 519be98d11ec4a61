package workload

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"golang.org/x/sync/errgroup"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/virtualfile"
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

// clientReads is how many pages each client reads in a round of Throughput.
const clientReads = 500

// Throughput reads random pages of many timelines of one store, with a client for each.
func Throughput(s Size) []Workload {
	return []Workload{{
		Name:    fmt.Sprintf("MaxThroughput/timelines=%d", s.Timelines),
		Metrics: []Metric{{"pages/s", true}, {"cpu-µs/page", false}},
		Prepare: func(ctx context.Context, dir string) (j Job, err error) {
			m, err := OpenImages(ctx, dir, virtualfile.EngineStd, s.Pages)
			if err != nil {
				return j, err
			}
			j.Close = m.Engine.Close
			all, err := branches(ctx, m, s.Timelines)
			if err == nil {
				j.Check, err = checksum(ctx, m)
			}
			if err != nil {
				return j, errors.Join(err, j.Close())
			}
			round := uint64(0)
			j.Round = func(ctx context.Context) ([]float64, error) {
				begin, used := time.Now(), UsedCPU()
				round++
				clients, inner := errgroup.WithContext(ctx)
				for n, tl := range all {
					clients.Go(func() error {
						r, read := rand.New(rand.NewPCG(round, uint64(n))), Reader(inner, tl)
						for range clientReads {
							if err := read(m.Keys[r.IntN(len(m.Keys))]); err != nil {
								return err
							}
						}
						return nil
					})
				}
				err := clients.Wait()
				n := float64(clientReads * len(all))
				return []float64{n / time.Since(begin).Seconds(), micros(UsedCPU()-used) / n}, err
			}
			return j, nil
		},
	}}
}

// branches gives so many timelines: the first, and branches at its end.
func branches(ctx context.Context, m *Made, n int) ([]*strata.Timeline, error) {
	tn, err := m.Engine.DefaultTenant(ctx)
	all := []*strata.Timeline{m.Timeline}
	for i := 1; i < n && err == nil; i++ {
		var tl *strata.Timeline
		tl, err = tn.Branch(ctx, m.Timeline, strata.BranchOptions{Name: fmt.Sprintf("branch%d", i)})
		all = append(all, tl)
	}
	return all, err
}
