package timeline

import (
	"context"
	"fmt"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/walredo"
)

const (
	// foldRecords and foldBytes bound the records that wait to be redone on a page in one go.
	foldRecords = 1024
	foldBytes   = 1 << 20
	// maxSpare bounds the buffers of values that are kept for the next.
	maxSpare = 64
	// maxSpareBytes is the largest that is.
	maxSpareBytes = 64 << 10
)

// pageState is the state of one key: a page, and records that are yet to be redone on it. The page may still be what
// lies below, unread.
type pageState struct {
	t *Timeline
	// below reads what the page begins with, if it is there; nil where nothing is.
	below   func(ctx context.Context, k page.Key) (b []byte, exists bool, err error)
	key     page.Key
	base    []byte
	fresh   bool // base counts, also where it is nil: a record makes the page anew
	exists  bool // with fresh: there is a page, or will be once the records are redone
	records []walredo.Record
	bytes   int
	held    [][]byte // of records
	other   []byte   // room for the next base
	spare   [][]byte
}

func (p *pageState) begin(k page.Key) {
	p.clear()
	p.key, p.base, p.fresh, p.exists = k, p.base[:0], false, false
}

// clear lets go of the records.
func (p *pageState) clear() {
	for _, b := range p.held {
		p.give(b)
	}
	clear(p.records)
	p.records, p.held, p.bytes = p.records[:0], p.held[:0], 0
}

// take gives a buffer for a value, give takes it back.
func (p *pageState) take() []byte {
	if n := len(p.spare); n > 0 {
		b := p.spare[n-1]
		p.spare = p.spare[:n-1]
		return b[:0]
	}
	return nil
}

func (p *pageState) give(b []byte) {
	if cap(b) > 0 && cap(b) <= maxSpareBytes && len(p.spare) < maxSpare {
		p.spare = append(p.spare, b)
	}
}

// apply makes a version part of the state, and takes its buffer.
func (p *pageState) apply(ctx context.Context, v *foldVersion) error {
	if v.absent {
		p.clear()
		p.base, p.fresh, p.exists = p.base[:0], true, false
		return nil
	}
	value, err := page.DecodeValue(v.value)
	if err != nil {
		return &brokenKey{p.key, fmt.Errorf("%w: value at LSN %s: %w", ErrCorrupt, v.lsn, err)}
	}
	if value.Kind == page.KindImage {
		p.clear()
		p.base, p.fresh, p.exists = append(p.base[:0], value.Bytes...), true, true
		p.give(v.value)
		return nil
	}
	if value.Initializes() {
		p.clear()
		p.base, p.fresh, p.exists = nil, true, true
	}
	p.records, p.held = append(p.records, walredo.Record{LSN: v.lsn, Value: value}), append(p.held, v.value)
	if p.bytes += len(v.value); len(p.records) < foldRecords && p.bytes < foldBytes {
		return nil
	}
	if err := p.redo(ctx, v.lsn); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return &brokenKey{p.key, err}
	}
	return nil
}

// page gives the state as of an LSN, valid until the next call.
func (p *pageState) page(ctx context.Context, lsn page.LSN) (b []byte, exists bool, err error) {
	if err := p.redo(ctx, lsn); err != nil {
		return nil, false, err
	}
	return p.base, p.exists, nil
}

// redo applies the records that wait.
func (p *pageState) redo(ctx context.Context, lsn page.LSN) error {
	if err := p.start(ctx); err != nil || len(p.records) == 0 {
		return err
	}
	if !p.exists {
		return fmt.Errorf("%w: record at LSN %s: %w", ErrCorrupt, p.records[0].LSN, errAbsent)
	}
	m := &p.t.meta
	req := walredo.Request{
		Tenant: m.Tenant, Key: p.key, LSN: lsn, Version: m.Version, Flavour: m.Flavour, Checksums: m.HintBits,
		Base: p.base, Records: p.records,
	}
	b, err := p.t.env.Redoer.Redo(ctx, p.other[:0], &req)
	if err != nil {
		return err
	}
	p.other, p.base = p.base, b
	p.clear()
	return nil
}

// set makes the state a page, which is copied.
func (p *pageState) set(k page.Key, image []byte) {
	p.clear()
	p.key, p.base, p.fresh, p.exists = k, append(p.base[:0], image...), true, true
}

// start reads what lies below, unless something has made the page since.
func (p *pageState) start(ctx context.Context) (err error) {
	if p.fresh {
		return nil
	}
	p.fresh, p.base = true, p.base[:0]
	if p.below != nil {
		p.base, p.exists, err = p.below(ctx, p.key)
	}
	return err
}
