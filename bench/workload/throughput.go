package workload

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"time"

	"golang.org/x/sync/errgroup"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/virtualfile"
)

// clientReads is how many pages each client reads in a round of Throughput.
const clientReads = 500

// Throughput reads random pages, with a client for each of many timelines of one tenant, which share their pages, or for each of many tenants,
// which have pages of their own.
func Throughput(s Size) []Workload {
	return []Workload{
		throughput(fmt.Sprintf("MaxThroughput/timelines=%d", s.Timelines), s.Pages, func(ctx context.Context, m *Made) ([]*strata.Timeline, error) {
			return branches(ctx, m, s.Timelines)
		}),
		throughput(fmt.Sprintf("MaxThroughput/tenants=%d", s.Tenants), max(s.Pages/s.Tenants, 1), func(ctx context.Context, m *Made) ([]*strata.Timeline, error) {
			return tenants(ctx, m, s.Tenants)
		}),
	}
}

func throughput(name string, pages int, timelines func(context.Context, *Made) ([]*strata.Timeline, error)) Workload {
	return Workload{
		Name:    name,
		Metrics: []Metric{{"pages/s", true}, {"cpu-µs/page", false}},
		Prepare: func(ctx context.Context, dir string) (j Job, err error) {
			m, err := OpenImages(ctx, dir, virtualfile.EngineStd, pages)
			if err != nil {
				return j, err
			}
			j.Close = m.Engine.Close
			all, err := timelines(ctx, m)
			for _, tl := range all {
				var sum uint32
				if err == nil {
					sum, err = checksum(ctx, &Made{Timeline: tl, Keys: m.Keys})
				}
				j.Check = crc32.Update(j.Check, crc32.IEEETable, binary.LittleEndian.AppendUint32(nil, sum))
			}
			if err != nil {
				return j, errors.Join(err, j.Close())
			}
			round := uint64(0)
			j.Round = func(ctx context.Context) ([]float64, error) {
				round++
				begin, used := time.Now(), UsedCPU()
				err := readEach(ctx, all, m.Keys, round)
				n := float64(clientReads * len(all))
				return []float64{n / time.Since(begin).Seconds(), micros(UsedCPU()-used) / n}, err
			}
			return j, nil
		},
	}
}

// readEach reads random pages of all timelines at once.
func readEach(ctx context.Context, all []*strata.Timeline, keys []page.Key, seed uint64) error {
	clients, inner := errgroup.WithContext(ctx)
	for n, tl := range all {
		clients.Go(func() error {
			r, read := rand.New(rand.NewPCG(seed, uint64(n))), Reader(inner, tl)
			for range clientReads {
				if err := read(keys[r.IntN(len(keys))]); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return clients.Wait()
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

// tenants gives the timelines of so many tenants: that of the first, and others with pages of their own.
func tenants(ctx context.Context, m *Made, n int) ([]*strata.Timeline, error) {
	all, r := []*strata.Timeline{m.Timeline}, rand.New(rand.NewPCG(Seed, 3))
	for i := 1; i < n; i++ {
		var id page.TenantID
		binary.BigEndian.PutUint32(id[:], uint32(i))
		tn, err := m.Engine.CreateTenant(ctx, id)
		if err != nil {
			return all, err
		}
		tl, err := tn.Create(ctx, strata.CreateOptions{Name: "main", Version: pg.V17, InitialLSN: firstLSN})
		if err != nil {
			return all, err
		}
		if err := (&Made{Timeline: tl, Keys: m.Keys}).putLayer(ctx, 0, r, putImage); err != nil {
			return all, err
		}
		all = append(all, tl)
	}
	return all, nil
}
