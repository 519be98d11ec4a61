package processes

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync/atomic"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/bufpage"
	"github.com/stratapg/strata/walredo"
)

// Strict does each request in two ways and wants the same page, without any mask of PostgreSQL's: header, line
// pointers with their numbers, offsets and lengths, every byte of an item, and the special space. Between pd_lower and
// pd_upper, and between items, lies what was there before.
type Strict struct {
	A, B walredo.Redoer
	// Every, if above 1, compares one request of so many; the others are A's alone.
	Every int64

	asked, compared, identical atomic.Int64
}

var _ walredo.Redoer = (*Strict)(nil)

// Compared says how many pages were, and how many of them were the same to the last byte.
func (s *Strict) Compared() (pages, identical int64) { return s.compared.Load(), s.identical.Load() }

// Redo implements walredo.Redoer. It gives A's page.
func (s *Strict) Redo(ctx context.Context, dst []byte, req *walredo.Request) ([]byte, error) {
	rel, _, ok := req.Key.RelBlock()
	if !ok || !ofPostgres(req) || s.asked.Add(1)%max(1, s.Every) != 0 {
		return s.A.Redo(ctx, dst, req)
	}
	n := len(dst)
	out, err := s.A.Redo(ctx, dst, req)
	if err != nil {
		return dst, err
	}
	theirs, err := s.B.Redo(ctx, nil, req)
	if err != nil {
		return dst, &walredo.Error{Key: req.Key, Err: fmt.Errorf("only the second failed: %w", err)}
	}
	if err := sameLayout(out[n:], theirs, rel.Fork); err != nil {
		return dst, &walredo.Error{Key: req.Key, LSN: req.Records[len(req.Records)-1].LSN, Err: err}
	}
	s.compared.Add(1)
	if string(out[n:]) == string(theirs) {
		s.identical.Add(1)
	}
	return out, nil
}

// Close closes both.
func (s *Strict) Close() error {
	if err := s.A.Close(); err != nil {
		return err
	}
	return s.B.Close()
}

func ofPostgres(req *walredo.Request) bool {
	for i := range req.Records {
		if k := req.Records[i].Value.Kind; k != page.KindPostgres && k != page.KindImage {
			return false
		}
	}
	return len(req.Records) > 0
}

func sameLayout(a, b []byte, fork page.Fork) error {
	if len(a) != pg.BlockSize || len(b) != pg.BlockSize {
		return fmt.Errorf("pages of %d and %d bytes", len(a), len(b))
	}
	p, q := bufpage.Page(a), bufpage.Page(b)
	from, to := p.Lower(), p.Upper()
	// Maps say that all of the page is free.
	whole := p.IsNew() || q.IsNew() || fork == page.ForkVM || fork == page.ForkFSM
	counts := make([]bool, pg.BlockSize)
	for i := range counts {
		counts[i] = whole || i < from || i >= p.SpecialOffset()
	}
	if !whole {
		if from != q.Lower() || to != q.Upper() || p.SpecialOffset() != q.SpecialOffset() {
			return fmt.Errorf("lower, upper and special %d %d %d, and %d %d %d", from, to, p.SpecialOffset(), q.Lower(), q.Upper(), q.SpecialOffset())
		}
		markItems(p, counts)
		if at := gistFlags(p); at > 0 && a[at]&^gistTuplesDeleted == b[at]&^gistTuplesDeleted {
			counts[at] = false
		}
	}
	for i := range counts {
		if counts[i] && a[i] != b[i] {
			return fmt.Errorf("byte %d is %02X and %02X (lower %d, upper %d, special %d)", i, a[i], b[i], from, to, p.SpecialOffset())
		}
	}
	return nil
}

// gistTuplesDeleted is a flag that nobody reads. Older minor releases set it in redo, newer ones do not.
const gistTuplesDeleted = 1 << 2

// gistFlags gives where the flags of a GiST page lie, 0 for other pages (access/gist.h).
func gistFlags(p bufpage.Page) int {
	const size, flags, id = 16, 12, 0xFF81
	at := p.SpecialOffset()
	if at != pg.BlockSize-size || binary.LittleEndian.Uint16(p[pg.BlockSize-2:]) != id {
		return 0
	}
	return at + flags
}

// markItems marks the bytes of the items. Where the bytes behind the header are no line pointers there are none that
// point between upper and special.
func markItems(p bufpage.Page, counts []bool) {
	for n := 1; n <= p.MaxOffset(); n++ {
		id := p.ItemID(n)
		off, size := int(id.Offset()), int(id.Len())
		if size == 0 || off < p.Upper() || off+size > p.SpecialOffset() {
			continue
		}
		for i := off; i < off+size; i++ {
			counts[i] = true
		}
	}
}
