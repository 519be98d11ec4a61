// Package layercheck verifies the layer files of a store, each from end to end: checksums, summary and
// footer, every entry of the index and every blob, keys and LSNs (layer.Verify), and that the index tells of
// each value of a delta what the value says of itself. In a file without checksums all values are decoded
// too; still it is counted as unverified, for a flipped bit inside a page need not show.
package layercheck

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
)

// Options have useful zeros.
type Options struct {
	// Workers is how many files are read at once; default one for each processor.
	Workers int
	// Decode decompresses every image and decodes every value of files with checksums too, which finds what a
	// faulty program has written rather than what a disk has lost.
	Decode bool
}

// Report is the outcome.
type Report struct {
	Files      int
	Bytes      int64 // of the files, as the manifest says
	Entries    int64 // of the files that hold
	Unverified int   // files without checksums
	Corrupt    int   // files with something wrong
	// Corruptions says what is wrong, one error for each corrupt file, in the order of their texts.
	Corruptions []error
}

// Run checks every layer of every timeline of a store. The error says that the check could not be made;
// corrupt files are in the report.
func Run(ctx context.Context, engine *strata.Engine, o Options) (Report, error) {
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	c := checker{decode: o.Decode}
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(o.Workers)
	err := c.store(ctx, work, engine)
	err = errors.Join(work.Wait(), err)
	slices.SortFunc(c.r.Corruptions, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return c.r, err
}

// checker is one run.
type checker struct {
	decode bool
	mu     sync.Mutex
	r      Report
}

func (c *checker) store(ctx context.Context, work *errgroup.Group, engine *strata.Engine) error {
	for _, id := range engine.Tenants() {
		tenant, err := engine.Tenant(ctx, id)
		if err == nil {
			err = c.tenant(ctx, work, tenant)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) tenant(ctx context.Context, work *errgroup.Group, tenant *strata.Tenant) error {
	for _, i := range tenant.Timelines() {
		tl, err := tenant.Timeline(ctx, i.ID.String())
		if err != nil {
			return err
		}
		for _, d := range tl.Layers() {
			if ctx.Err() != nil {
				return nil // Wait tells why
			}
			work.Go(func() error { return c.file(ctx, tl, d) })
		}
	}
	return nil
}

// file checks one layer. Its error ends the run: nothing can be said of this file.
func (c *checker) file(ctx context.Context, tl *strata.Timeline, d layer.Desc) error {
	v := values{image: d.Image, decode: c.decode || !d.Checked}
	got, err := tl.VerifyLayer(ctx, d, v.check)
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.r.Files++
	c.r.Bytes += d.Size
	c.r.Entries += got.Entries
	if !d.Checked && !got.Desc.Checked {
		c.r.Unverified++
	}
	if err != nil {
		c.r.Corrupt++
		c.r.Corruptions = append(c.r.Corruptions, err)
	}
	return nil
}

// values looks into the values of one file.
type values struct {
	image, decode bool
	room          []byte
}

func (v *values) check(_ page.Key, _ page.LSN, willInit bool, s layer.Stored) error {
	if v.image {
		if !v.decode {
			return nil
		}
		b, err := s.Plain(v.room)
		if s.Zstd && err == nil {
			v.room = b
		}
		return err
	}
	if s.Zstd {
		return errors.New("a compressed value in a delta")
	}
	init, err := page.ValueInitializes(s.Data)
	if err == nil && v.decode {
		_, err = page.DecodeValue(s.Data)
	}
	if err == nil && init != willInit {
		err = fmt.Errorf("the index says will_init=%t, the value says otherwise", willInit)
	}
	return err
}
