package workload

import (
	"context"
	"errors"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/stratapg/strata/internal/budget"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

// IngestCase is one row of Neon's bench_ingest: images of zeros, of one size, under keys whose last field
// alone differs.
type IngestCase struct {
	Name    string
	Size    int
	ordered bool
	last    func(i uint32) uint32
}

// IngestCases are its rows, and IngestModes its columns.
var (
	IngestCases = []IngestCase{
		{"100B-seq", 100, true, func(i uint32) uint32 { return i }},
		{"100B-rand", 100, false, Murmur32},
		{"100B-rand-reuse", 100, false, func(i uint32) uint32 { return Murmur32(i) & 0x3FF }},
		{"8KiB-seq", 8192, true, func(i uint32) uint32 { return i }},
	}
	IngestModes = []struct {
		Name string
		Mode virtualfile.Mode
	}{{"buffered", virtualfile.Buffered}, {"direct", virtualfile.Direct}, {"direct-rw", virtualfile.DirectRW}}
)

// Murmur32 is the finaliser of MurmurHash3.
func Murmur32(h uint32) uint32 {
	h = (h ^ h>>16) * 0x85EBCA6B
	h = (h ^ h>>13) * 0xC2B2AE35
	return h ^ h>>16
}

const (
	ingestBatch = 16 // puts at a time
	ingestStart = page.LSN(1000)
)

// Ingest is where layers are made: in memory, or beyond a budget of so many bytes on disk.
type Ingest struct {
	disk *virtualfile.Disk
	pool *layer.MemPool
	dir  string
	// Reads has the last values read all the while, as a compute does whose WAL it is.
	Reads bool
	// Put is the part of All that the values take to be in memory, with the freeze.
	Put, All Phase
}

// Phase is the time that some part of the runs has taken.
type Phase struct{ Wall, CPU time.Duration }

// began gives a function that adds the time from now on to the phase.
func (p *Phase) began() (ended func()) {
	wall, cpu := time.Now(), UsedCPU()
	return func() {
		p.Wall += time.Since(wall)
		p.CPU += UsedCPU() - cpu
	}
}

// NewIngest makes layers in a folder, with so many bytes of memory.
func NewIngest(dir string, mode virtualfile.Mode, bytes int64) (*Ingest, error) {
	disk, err := virtualfile.NewDisk(virtualfile.NewOS(), virtualfile.DiskOptions{Mode: mode})
	if err != nil {
		return nil, err
	}
	share, err := budget.New(bytes).Share("layers in memory", bytes)
	if err != nil {
		return nil, errors.Join(err, disk.Close())
	}
	pool, err := layer.NewMemPool(layer.MemPoolOptions{Disk: disk, Dir: dir, Budget: share, Idle: bytes / 2})
	if err != nil {
		return nil, errors.Join(err, disk.Close())
	}
	return &Ingest{disk: disk, pool: pool, dir: dir}, nil
}

// Close gives the memory back.
func (g *Ingest) Close() error {
	g.pool.Close()
	return g.disk.Close()
}

// Spilled is how many bytes went to the ephemeral file.
func (g *Ingest) Spilled() int64 { return g.pool.Stats().Written }

// Run makes one layer of so many bytes of images, writes its delta if that is wanted, and removes that when the time is taken: it takes the
// file system 17 ms and more, and a layer stays. It gives the delta's size.
func (g *Ingest) Run(ctx context.Context, c IngestCase, volume int64, delta bool) (int64, error) {
	d, err := g.timed(ctx, c, volume, delta)
	if err != nil || !delta {
		return 0, err
	}
	return d.Size, g.disk.Remove(filepath.Join(g.dir, d.FileName()))
}

func (g *Ingest) timed(ctx context.Context, c IngestCase, volume int64, delta bool) (_ layer.Desc, err error) {
	defer g.All.began()()
	ended := g.Put.began()
	mem := layer.NewMem(ingestStart, g.pool)
	defer mem.Release()
	if g.Reads {
		stop := readLast(ctx, mem, c, uint32(volume/int64(c.Size)))
		defer func() { err = errors.Join(err, stop()) }()
	}
	var b page.Batch
	image := make([]byte, c.Size)
	lsn := ingestStart
	for i, n := uint32(0), uint32(volume/int64(c.Size)); i < n; {
		for range ingestBatch {
			if i == n {
				break
			}
			lsn += page.LSN(c.Size)
			b.PutImage(page.Key{F6: c.last(i)}, lsn, image)
			i++
		}
		if err := mem.Put(ctx, &b); err != nil {
			return layer.Desc{}, err
		}
		b.Reset()
	}
	mem.Freeze(lsn + 1)
	ended()
	if !delta {
		return layer.Desc{}, nil
	}
	w, err := layer.NewDeltaWriter(g.disk, g.dir, layer.Identity{}, page.MinKey, mem.LSNs(), 1, layer.WriterOptions{})
	if err != nil {
		return layer.Desc{}, err
	}
	defer w.Abort()
	if err := mem.AppendTo(ctx, w); err != nil {
		return layer.Desc{}, err
	}
	return w.Finish(ctx, page.MaxKey)
}

// lastKeys is how many keys are read at once while others are put.
const lastKeys = 33

// readLast reads the last keys of those that will be put, in a loop on a goroutine of its own, until the function that it gives is called.
func readLast(ctx context.Context, mem *layer.Mem, c IngestCase, values uint32) (stop func() error) {
	var keys []page.Key
	for i := values - min(values, lastKeys); i < values; i++ {
		keys = append(keys, page.Key{F6: c.last(i)})
	}
	set, reading := page.SetOfKeys(keys...), errgroup.Group{}
	limited, cancel := context.WithCancel(ctx)
	reading.Go(func() error {
		for limited.Err() == nil {
			if err := collect(ctx, mem, set); err != nil {
				return err
			}
		}
		return nil
	})
	return func() error {
		cancel()
		return reading.Wait()
	}
}

func collect(ctx context.Context, mem *layer.Mem, keys page.Set) error {
	c := layer.NewCollector(keys, page.MaxLSN)
	defer c.Release()
	if err := mem.Collect(ctx, c, keys, page.LSNRange{Start: ingestStart, End: page.MaxLSN}); err != nil {
		return err
	}
	return c.Fetch(ctx)
}

// ingestMemory is how many times the bytes ingested the budget of Ingests is: all values are in memory, with what they need beside them.
const ingestMemory = 8

// Ingests is Neon's bench_ingest: images in batches of 16 into one in-memory layer, which is then frozen and, but for nodelta,
// written as an L0 delta, synced and renamed; where keys come in order also while the last ones are read.
func Ingests(s Size) (out []Workload) {
	for _, m := range IngestModes {
		for _, c := range IngestCases {
			for _, delta := range []bool{true, false} {
				name := "Ingest/" + m.Name + "/" + c.Name + map[bool]string{true: "/delta", false: "/nodelta"}[delta]
				out = append(out, ingest(name, m.Mode, c, s.Bytes, delta, false))
				if c.ordered {
					out = append(out, ingest(name+"/reads", m.Mode, c, s.Bytes, delta, true))
				}
			}
		}
	}
	return out
}

func ingest(name string, mode virtualfile.Mode, c IngestCase, bytes int64, delta, reads bool) Workload {
	return Workload{
		Name:    name,
		Metrics: []Metric{{"MiB/s", true}, {"put-ns", false}},
		Prepare: func(ctx context.Context, dir string) (j Job, err error) {
			g, err := NewIngest(dir, mode, ingestMemory*bytes)
			if err != nil {
				return j, err
			}
			j.Close, g.Reads = g.Close, reads
			size, err := g.Run(ctx, c, bytes, delta)
			j.Check = uint32(size)
			j.Round = func(ctx context.Context) ([]float64, error) {
				g.Put, g.All = Phase{}, Phase{}
				_, err := g.Run(ctx, c, bytes, delta)
				return []float64{float64(bytes) / (1 << 20) / g.All.Wall.Seconds(), float64(g.Put.Wall.Nanoseconds()) / float64(bytes/int64(c.Size))}, err
			}
			if err != nil {
				return j, errors.Join(err, j.Close())
			}
			return j, nil
		},
	}
}
