package pool

import (
	"errors"
	"fmt"

	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/bufpage"
	"github.com/stratapg/strata/pg/wal"
	"github.com/stratapg/strata/walredo"
)

func unsupported(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{walredo.ErrUnsupported}, args...)...)
}

func corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{walredo.ErrCorrupt}, args...)...)
}

// check looks whether p can be what redo of w gives: its header is sound, and its LSN is that of the image or
// of one of the records. It finds answers that are no pages or belong to other requests.
func (w *work) check(p bufpage.Page) error {
	if p.IsNew() {
		if !p.IsZero() || !w.mayBeNew() {
			return errors.New("a page that was never initialized")
		}
		return nil
	}
	if err := p.Check(); err != nil {
		return err
	}
	at := p.LSN()
	if len(w.base) > 0 && at == bufpage.Page(w.base).LSN() {
		return nil
	}
	for i := len(w.records) - 1; i >= 0; i-- {
		if w.records[i].LSN == at {
			return nil
		}
	}
	return fmt.Errorf("a page with the LSN %s, which is neither the image's nor that of one of %d records", at, len(w.records))
}

// mayBeNew reports whether zeros can be right: they were there before, or are the image in a record.
func (w *work) mayBeNew() bool {
	if len(w.records) == 0 {
		return bufpage.Page(w.base).IsZero()
	}
	var rec wal.Record
	image := make([]byte, pg.BlockSize)
	for i := len(w.records) - 1; i >= 0; i-- {
		if rec.Decode(w.req.Version, w.records[i].Value.Bytes) != nil {
			return false
		}
		for j := range rec.Blocks {
			if b := &rec.Blocks[j]; b.Rel == w.rel && b.Blkno == w.block && b.HasImage && b.Apply {
				return b.RestoreImage(image) == nil && bufpage.Page(image).IsNew()
			}
		}
	}
	return false
}
