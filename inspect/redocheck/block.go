package redocheck

import (
	"context"
	"errors"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/bufpage"
	"github.com/stratapg/strata/pg/mask"
	"github.com/stratapg/strata/pg/wal"
	"github.com/stratapg/strata/walredo"
)

// block redoes one block reference and compares it with its copy. raw is the record without the copies
// that are there for the check.
func (r *run) block(ctx context.Context, rec *wal.Record, b *wal.Block, raw []byte, n *Counts) error {
	if b.HasImage {
		n.Blocks++
		if err := b.RestoreImage(r.image[:]); err != nil {
			return err
		}
	}
	base, err := r.pages.get(b.Rel, b.Blkno)
	if err != nil {
		return err
	}
	init := b.WillInit || b.HasImage && b.Apply
	if base == nil && !init {
		if !b.HasImage {
			return nil
		}
		n.Primed++
		return r.takeImage(rec, b)
	}
	v := page.Value{Kind: page.KindPostgres, WillInit: init, Bytes: raw}
	out, err := r.redo(ctx, b.Rel, b.Blkno, rec.End, base, v)
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, walredo.ErrUnsupported):
		if !b.HasImage {
			r.pages.forget(b.Rel, b.Blkno)
			return nil
		}
		n.Uncovered++
		return r.takeImage(rec, b)
	default:
		// The page stays as it was. A failure counts even where there is nothing to compare with.
		if !b.HasImage {
			n.Blocks++
		}
		n.Different++
		r.tally.differs(rec, b, mask.KindNew, -1, err)
		return nil
	}
	if err := r.pages.put(b.Rel, b.Blkno, out); err != nil {
		return err
	}
	if b.HasImage {
		r.compare(rec, b, out, n)
	}
	return nil
}

func (r *run) compare(rec *wal.Record, b *wal.Block, out []byte, n *Counts) {
	kind := mask.KindOf(r.image[:], b.Rel.Fork)
	at := mask.Difference(r.image[:], out, kind, b.Blkno)
	if at < 0 {
		n.Equal++
		return
	}
	n.Different++
	r.tally.differs(rec, b, kind, at, nil)
}

// takeImage makes the server's copy our page, with the LSN that the server gave it afterwards.
func (r *run) takeImage(rec *wal.Record, b *wal.Block) error {
	if p := bufpage.Page(r.image[:]); !p.IsNew() {
		p.SetLSN(rec.End)
	}
	return r.pages.put(b.Rel, b.Blkno, r.image[:])
}

// redo applies one value to one page. The result is valid until the next call.
func (r *run) redo(ctx context.Context, rel page.RelTag, block uint32, lsn page.LSN, base []byte, v page.Value) ([]byte, error) {
	r.one[0] = walredo.Record{LSN: lsn, Value: v}
	out, err := r.o.Redoer.Redo(ctx, r.out[:0], &walredo.Request{
		Key: rel.Block(block), LSN: lsn, Version: r.o.Version, Flavour: pg.Stock, Checksums: r.checksums,
		Base: base, Records: r.one[:],
	})
	if err != nil {
		return nil, err
	}
	r.out = out
	if len(out) != pg.BlockSize {
		return nil, errNoPage
	}
	return out, nil
}

var errNoPage = errors.New("redo gave something that is no page")
