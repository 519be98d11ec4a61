package workload

import (
	"bufio"
	"cmp"
	"compress/gzip"
	"context"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/stratapg/strata/internal/upload/schedule"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
)

// RealMaps are files of the layer names of two timelines of Neon's, by the name of their benchmark.
var RealMaps = map[string]string{
	"odd-brook": "layermaps/odd-brook-layernames.txt.gz",
	"large":     "layermaps/large-layer-map-layernames.txt.gz",
}

// LayerNames reads a file of names, packed by gzip.
func LayerNames(file string) (out []string, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	sc := bufio.NewScanner(z)
	for sc.Scan() {
		out = append(out, sc.Text())
	}
	return out, sc.Err()
}

// LoadMap makes a map of layer names.
func LoadMap(names []string) (*layer.Map, []layer.Desc, error) {
	ds := make([]layer.Desc, len(names))
	for i, s := range names {
		var err error
		if ds[i], err = layer.ParseName(s); err != nil {
			return nil, nil, err
		}
	}
	m, err := layer.NewMap(ds)
	return m, ds, err
}

// Search is one in a layer map.
type Search struct {
	Key page.Key
	End page.LSN
}

// BelowImages gives one search just below every image layer, its start key + 1 at its LSN - 1, in the order of
// LSNs, as Neon's benchmark does.
func BelowImages(ds []layer.Desc) (out []Search) {
	for _, d := range ds {
		if d.Image {
			out = append(out, Search{d.Keys.Start.Next(), d.LSNs.Start})
		}
	}
	slices.SortStableFunc(out, func(a, b Search) int { return cmp.Compare(a.End, b.End) })
	return out
}

// SearchAll makes all searches, and counts and sums up what they find.
func SearchAll(m *layer.Map, all []Search) (hits int, sum uint32) {
	for _, p := range all {
		if hit, ok := m.Search(p.Key, p.End); ok {
			hits++
			sum = crc32.Update(sum, crc32.IEEETable, []byte(hit.Desc().Name()))
		}
	}
	return hits, sum
}

// minSearches is how many searches a round makes at least.
const minSearches = 20_000

// mapWorkload searches a map.
func mapWorkload(name string, searches func([]layer.Desc) []Search, make func() (*layer.Map, []layer.Desc, error)) Workload {
	return Workload{
		Name:    "LayerMapSearch/" + name,
		Metrics: []Metric{{"ns/op", false}},
		Prepare: func(context.Context, string) (Job, error) {
			m, ds, err := make()
			if err != nil {
				return Job{}, err
			}
			all := searches(ds)
			_, sum := SearchAll(m, all)
			return Job{Check: sum, Close: func() error { return nil }, Round: func(context.Context) ([]float64, error) {
				n, begin := 0, time.Now()
				for n < minSearches {
					for i := range all {
						m.Search(all[i].Key, all[i].End)
					}
					n += len(all)
				}
				return []float64{float64(time.Since(begin).Nanoseconds()) / float64(n)}, nil
			}}, nil
		},
	}
}

// sightWorkload finds the layers that no read at some LSNs, and at the map's end, can need.
func sightWorkload(name string, points []page.LSN, make func() (*layer.Map, []layer.Desc, error)) Workload {
	return Workload{
		Name:    "LayerMapVisibility/" + name,
		Metrics: []Metric{{"ms/op", false}},
		Prepare: func(context.Context, string) (Job, error) {
			m, _, err := make()
			if err != nil {
				return Job{}, err
			}
			sum := uint32(len(m.Visibility(points).Covered))
			return Job{Check: sum, Close: func() error { return nil }, Round: func(context.Context) ([]float64, error) {
				begin := time.Now()
				if n := len(m.Visibility(points).Covered); uint32(n) != sum {
					return nil, fmt.Errorf("%d layers are covered, and were %d before", n, sum)
				}
				return []float64{time.Since(begin).Seconds() * 1e3}, nil
			}}, nil
		},
	}
}

// branchPoints are how many LSNs of a made-up map others branch off at.
const branchPoints = 100

// Maps are searches in a made-up layer map, and what is visible in it: images one above the other, each of one key, as in Neon's benchmark.
func Maps(s Size) []Workload {
	name, points := fmt.Sprintf("sequential=%d", s.Layers), []page.LSN{}
	for i := range branchPoints {
		points = append(points, page.LSN(1+i*s.Layers/branchPoints))
	}
	stack := func() (*layer.Map, []layer.Desc, error) {
		const keys, step = 100, 10
		ds := make([]layer.Desc, 0, s.Layers)
		for i := range s.Layers {
			k := page.Key{F6: uint32(step * (i % keys))}
			lsn := page.LSN(i + 1)
			ds = append(ds, layer.Desc{Keys: page.Range{Start: k, End: k.Next()}, LSNs: page.LSNRange{Start: lsn, End: lsn + 1}, Image: true, Generation: 1, Size: 8192})
		}
		m, err := layer.NewMap(ds)
		return m, ds, err
	}
	return []Workload{mapWorkload(name, BelowImages, stack), sightWorkload(name, points, stack)}
}

// What Neon's benchmark asks of the map odd-brook: one value, the directory of a database's relations; and what reads at its end, and at
// those LSNs of its branches, see.
var (
	oddBrookDirectory = Search{page.Key{F1: 0x00, F2: 0x067F, F3: 0x8000, F6: 1}, 0xD0_80208AE1}
	oddBrookEnd       = page.LSN(0x1C7_60FA190)
	oddBrookBranches  = []page.LSN{oddBrookEnd, 0x931_BEAD539, 0x931_BF63011, 0x931_B33AE68, 0x38E_67ABFA0, 0x914_E3F38F0}
)

// RealMaps are searches in the maps of Fixtures, and what is visible in them.
func (f Folders) RealMaps() (out []Workload) {
	load := func(name string) func() (*layer.Map, []layer.Desc, error) {
		return func() (*layer.Map, []layer.Desc, error) {
			names, err := LayerNames(filepath.Join(f.Fixtures, RealMaps[name]))
			if err != nil {
				return nil, nil, err
			}
			return LoadMap(names)
		}
	}
	const odd, large = "odd-brook", "large"
	directory := func([]layer.Desc) []Search { return []Search{oddBrookDirectory} }
	return []Workload{
		mapWorkload(odd, BelowImages, load(odd)), mapWorkload(odd+"/directory", directory, load(odd)), mapWorkload(large, BelowImages, load(large)),
		sightWorkload(odd, oddBrookBranches[:1], load(odd)), sightWorkload(odd+"/branches", oddBrookBranches, load(odd)),
	}
}

// queueRounds is how many indexes are scheduled in a round.
const queueRounds = 1000

// Queues schedule the upload of an index while many deletions are under way, as Neon's upload_queue benchmark does.
func Queues(s Size) (out []Workload) {
	for _, n := range tens(s.Layers) {
		out = append(out, Workload{
			Name:    fmt.Sprintf("UploadQueue/inprogress=%d", n),
			Metrics: []Metric{{"ns/op", false}},
			Prepare: func(context.Context, string) (Job, error) {
				q := schedule.New(n + 1)
				for i := range n {
					q.Delete(fmt.Sprintf("layer%d", i))
				}
				for range n {
					if _, ok := q.Next(); !ok {
						break // deletions that wait for an index
					}
				}
				return Job{Close: func() error { return nil }, Round: func(context.Context) ([]float64, error) {
					begin := time.Now()
					for range queueRounds {
						q.Index()
						op, ok := q.Next()
						for ok && op.Kind != schedule.Index {
							op, ok = q.Next()
						}
						if !ok {
							return nil, fmt.Errorf("the index does not begin beside %d deletions", n)
						}
						q.Done(op)
					}
					return []float64{float64(time.Since(begin).Nanoseconds()) / queueRounds}, nil
				}}, nil
			},
		})
	}
	return out
}

// tens are 0 and the powers of ten up to a number.
func tens(most int) []int {
	out := []int{0}
	for n := 1; n <= most; n *= 10 {
		out = append(out, n)
	}
	return out
}
