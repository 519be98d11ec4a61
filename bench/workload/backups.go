package workload

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/internal/sample"
)

// storm is how many base backups are taken at once.
const storm = 8

// Storms take base backups of the sample cluster, as computes that start do: one after the other, and many at once.
func (f Folders) Storms(s Size) (out []Workload) {
	for _, n := range []int{1, storm} {
		out = append(out, Workload{
			Name:    fmt.Sprintf("BackupStorm/clients=%d", n),
			Metrics: []Metric{{"backups/s", true}, {"MB/s", true}},
			Prepare: func(ctx context.Context, dir string) (j Job, err error) {
				tl, closeAll, err := f.importSample(ctx, dir, s.Databases)
				if err != nil {
					return j, err
				}
				j.Close = closeAll
				sum := crc32.NewIEEE()
				if _, err := backup(ctx, tl, sum); err != nil {
					return j, errors.Join(err, j.Close())
				}
				j.Check = sum.Sum32()
				j.Round = func(ctx context.Context) ([]float64, error) {
					begin := time.Now()
					bytes := make([]int64, n)
					clients, inner := errgroup.WithContext(ctx)
					for i := range n {
						clients.Go(func() (err error) {
							bytes[i], err = backup(inner, tl, io.Discard)
							return err
						})
					}
					err := clients.Wait()
					took, all := time.Since(begin).Seconds(), int64(0)
					for _, b := range bytes {
						all += b
					}
					return []float64{float64(n) / took, float64(all) / 1e6 / took}, err
				}
				return j, nil
			},
		})
	}
	return out
}

func backup(ctx context.Context, tl *strata.Timeline, w io.Writer) (int64, error) {
	r, err := tl.BaseBackup(ctx, w, strata.BaseBackupOptions{Format: strata.BackupCompute})
	return r.Bytes, err
}

// importSample makes a store of the sample cluster, or opens the one that was made.
func (f Folders) importSample(ctx context.Context, dir string, databases []string) (tl *strata.Timeline, closeAll func() error, err error) {
	e, err := strata.Open(ctx, strata.Options{Dir: dir, CreateIfMissing: true})
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.Close())
		}
	}()
	tn, err := e.DefaultTenant(ctx)
	if err != nil {
		return nil, nil, err
	}
	if tl, err = tn.Timeline(ctx, "main"); err == nil || !errors.Is(err, strata.ErrTimelineNotFound) {
		return tl, e.Close, err
	}
	s, err := sample.Open(f.Sample)
	if err != nil {
		return nil, nil, err
	}
	cluster, err := os.MkdirTemp(filepath.Dir(dir), "cluster")
	if err != nil {
		return nil, nil, err
	}
	defer os.RemoveAll(cluster)
	data := filepath.Join(cluster, "data")
	if err := s.ExtractCluster(data); err != nil {
		return nil, nil, err
	}
	if err := keepDatabases(filepath.Join(data, "base"), databases); err != nil {
		return nil, nil, err
	}
	tl, _, err = tn.Import(ctx, strata.ImportOptions{PGData: data, Name: "main"})
	return tl, e.Close, err
}

// keepDatabases removes the folders of databases that are not named, if any is.
func keepDatabases(base string, names []string) error {
	all, err := os.ReadDir(base)
	for _, d := range all {
		if err == nil && len(names) > 0 && !slices.Contains(names, d.Name()) {
			err = os.RemoveAll(filepath.Join(base, d.Name()))
		}
	}
	return err
}
