package answer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

// Page is one page that is asked for.
type Page struct {
	Rel   page.RelTag
	Block uint32
	To    []byte // where it is to be written: pg.BlockSize bytes of zeros
	Err   error  // why it is not there
}

// Batch is pages of one state, which are read together. Its memory is used again.
type Batch struct {
	Pages []Page
	order []int // those that there is something to read of, by key
	keys  []page.Key
}

// Reset empties the batch.
func (b *Batch) Reset() {
	clear(b.Pages)
	b.Pages, b.order, b.keys = b.Pages[:0], b.order[:0], b.keys[:0]
}

// Read reads all pages of the batch with one read of the timeline. It reports whether one of them has an error.
func (b *Batch) Read(ctx context.Context, s *Source, c *datadir.Snapshot) (failed bool) {
	b.plan(ctx, c)
	b.fetch(ctx, s, c)
	for i := range b.Pages {
		if p := &b.Pages[i]; p.Err != nil {
			failed = true
			p.Err = fmt.Errorf("block %d of relation %s at LSN %s: %w", p.Block, p.Rel, c.LSN(), p.Err)
		}
	}
	return failed
}

// plan lists the pages that lie within their relations.
func (b *Batch) plan(ctx context.Context, c *datadir.Snapshot) {
	sizes := sizesAt{c: c, ctx: ctx}
	for i := range b.Pages {
		p := &b.Pages[i]
		var blocks uint32
		if blocks, p.Err = sizes.of(p.Rel); p.Err == nil && p.Block < blocks {
			b.order = append(b.order, i)
		}
	}
	slices.SortFunc(b.order, func(i, j int) int {
		return cmp.Or(b.Pages[i].Rel.Compare(b.Pages[j].Rel), cmp.Compare(b.Pages[i].Block, b.Pages[j].Block))
	})
	for _, i := range b.order {
		b.keys = append(b.keys, b.Pages[i].Rel.Block(b.Pages[i].Block))
	}
}

// sizesAt asks for the size of the same relation once.
type sizesAt struct {
	c      *datadir.Snapshot
	ctx    context.Context
	rel    page.RelTag
	blocks uint32
	err    error
	known  bool
}

func (z *sizesAt) of(rel page.RelTag) (uint32, error) {
	if !z.known || z.rel != rel {
		z.rel, z.known = rel, true
		z.blocks, z.err = RelationSize(z.ctx, z.c, rel)
	}
	return z.blocks, z.err
}

var errMissing = errors.New("this page is missing in the store")

// fetch reads the pages that plan listed.
func (b *Batch) fetch(ctx context.Context, s *Source, c *datadir.Snapshot) {
	if len(b.keys) == 0 {
		return
	}
	next := 0
	err := s.GetVectored(ctx, page.SetOfKeys(b.keys...), c.LSN(), func(k page.Key, value []byte, err error) error {
		for next < len(b.order) && b.keys[next].Less(k) {
			b.planned(next).Err = errMissing
			next++
		}
		for ; next < len(b.order) && b.keys[next] == k; next++ {
			b.planned(next).take(value, err)
		}
		return nil
	})
	for ; next < len(b.order); next++ {
		b.planned(next).Err = cmp.Or(err, errMissing)
	}
}

func (b *Batch) planned(n int) *Page { return &b.Pages[b.order[n]] }

// take notes what was read of the page.
func (p *Page) take(value []byte, err error) {
	switch {
	case err != nil:
		p.Err = err
	case len(value) != pg.BlockSize:
		p.Err = fmt.Errorf("this page has %d bytes in the store", len(value))
	default:
		copy(p.To, value)
	}
}
