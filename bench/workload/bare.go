package workload

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/virtualfile"
)

// Place is where a value lies in a file.
type Place struct {
	file     int
	off, end int64
}

// Bare reads places past the engine under test, through a Disk of its own.
type Bare struct {
	disk  *virtualfile.Disk
	files []*virtualfile.Handle
	unit  int64 // that reads are made of
}

// ErrNoEngine says that the machine has no such I/O engine.
var ErrNoEngine = errors.New("this machine has no such I/O engine: allow the system calls io_uring_*")

// OpenBare opens all layers of a timeline of the store in dir, and tells where the values of its keys lie. Blobs lie back to back
// in the order of the index.
func OpenBare(ctx context.Context, tl *strata.Timeline, dir string, kind virtualfile.EngineKind, unit int64) (b *Bare, _ map[page.Key][]Place, err error) {
	d, err := virtualfile.NewDisk(virtualfile.NewOS(), virtualfile.DiskOptions{Mode: virtualfile.DirectRW, Engine: kind})
	if err != nil {
		return nil, nil, err
	}
	b = &Bare{disk: d, unit: unit}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.Close())
		}
	}()
	if d.Metrics().Engine != kind {
		return nil, nil, ErrNoEngine
	}
	places, id := map[page.Key][]Place{}, tl.Info()
	for i, desc := range tl.Layers() {
		h, err := d.Open(filepath.Join(dir, "tenants", id.Tenant.String(), "timelines", id.ID.String(), desc.FileName()))
		if err != nil {
			return b, nil, err
		}
		b.files = append(b.files, h)
		const dataStart, smallBlob = 8192, 128
		at := int64(dataStart)
		_, err = tl.VerifyLayer(ctx, desc, func(k page.Key, _ page.LSN, _ bool, s layer.Stored) error {
			n := int64(len(s.Data)) + 1
			if len(s.Data) >= smallBlob || s.Zstd {
				n += 3
			}
			places[k] = append(places[k], Place{i, at, at + n})
			at += n
			return nil
		})
		if err != nil {
			return b, nil, err
		}
	}
	return b, places, nil
}

// Disk is what it reads through.
func (b *Bare) Disk() *virtualfile.Disk { return b.disk }

// Close closes the files and the Disk.
func (b *Bare) Close() error {
	var errs []error
	for _, h := range b.files {
		errs = append(errs, h.Close())
	}
	return errors.Join(append(errs, b.disk.Close())...)
}

// read reads places in one batch.
func (b *Bare) read(ctx context.Context, places []Place, reads []virtualfile.Read) error {
	n := 0
	reads = reads[:0]
	for _, p := range places {
		off := p.off &^ (b.unit - 1)
		l := int((p.end - off + b.unit - 1) &^ (b.unit - 1))
		reads = append(reads, virtualfile.Read{File: b.files[p.file], Off: off, At: n, Len: l})
		n += l
	}
	buf := b.disk.Buffers().Get(n)
	defer buf.Release()
	for i := range reads {
		reads[i].Buf = buf
	}
	if err := b.disk.ReadMulti(ctx, reads); err != nil {
		return err
	}
	for i := range reads {
		if reads[i].Err != nil {
			return reads[i].Err
		}
	}
	return nil
}

// Reader gives the function that reads the bytes of a page's values, which many goroutines may call.
func (b *Bare) Reader(ctx context.Context, places map[page.Key][]Place) func(k page.Key) error {
	pool := sync.Pool{New: func() any { return new([]virtualfile.Read) }}
	return func(k page.Key) error {
		p := places[k]
		reads := pool.Get().(*[]virtualfile.Read)
		defer pool.Put(reads)
		if cap(*reads) < len(p) {
			*reads = make([]virtualfile.Read, 0, len(p))
		}
		return b.read(ctx, p, *reads)
	}
}

// Reader gives the function that reads one page through the engine, at the timeline's end as it is now.
func Reader(ctx context.Context, tl *strata.Timeline) func(k page.Key) error {
	lsn := tl.LastRecordLSN()
	return func(k page.Key) error {
		n := 0
		err := tl.GetVectored(ctx, page.SetOfKeys(k), lsn, func(_ page.Key, v []byte, err error) error {
			n += len(v)
			return err
		})
		if err == nil && n != pg.BlockSize {
			err = fmt.Errorf("%s: %d bytes", k.Describe(), n)
		}
		return err
	}
}

// Warm reads every key once, so that all of the index is in memory, and gives how many there are.
func Warm(ctx context.Context, tl *strata.Timeline, keys page.Set) (n int, err error) {
	err = tl.GetVectored(ctx, keys, tl.LastRecordLSN(), func(_ page.Key, _ []byte, err error) error {
		n++
		return err
	})
	return n, err
}
