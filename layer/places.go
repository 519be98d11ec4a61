package layer

import (
	"context"

	"github.com/stratapg/strata/page"
)

// Place is what a layer's index says of a value.
type Place struct {
	Key      page.Key
	LSN      page.LSN
	WillInit bool
	Size     int64 // in the file, as it is stored
}

// Places walks over the index of a layer, in (key, LSN) order, and reads no value. Not for concurrent use.
type Places struct {
	keys   page.Range
	scan   entryScanner
	blocks scanBlocks
	begun  bool
}

// placesAhead is how much of the index is read in one go.
const placesAhead = 128 << 10

// Places begins a walk over the values of keys. The Reader must stay open until Close.
func (r *Reader) Places(keys page.Range) *Places {
	p := &Places{keys: keys, blocks: scanBlocks{index: stretch{r: r, limit: r.end(), ahead: placesAhead}}}
	p.scan.init(r, &p.blocks)
	return p
}

// Next gives the next value's place. It is false behind the last.
func (p *Places) Next(ctx context.Context) (Place, bool, error) {
	if !p.begun {
		p.begun = true
		if err := p.scan.seek(ctx, p.keys.Start, 0); err != nil {
			return Place{}, false, err
		}
	}
	e, ok, err := p.scan.next(ctx)
	if err != nil || !ok || !e.key.Less(p.keys.End) {
		return Place{}, false, err
	}
	if err := p.scan.inside(&e); err != nil {
		return Place{}, false, err
	}
	return Place{e.key, e.lsn, e.willInit, e.end - e.start}, true, nil
}

// Close gives the memory back.
func (p *Places) Close() { p.blocks.index.release() }
