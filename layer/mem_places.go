package layer

import (
	"context"

	"github.com/stratapg/strata/page"
)

// placesBetween is after how many values it is looked whether the caller has given up.
const placesBetween = 64 << 10

// Sizes gives where all values lie, in (key, LSN) order, and how many bytes each has, without reading them. An error
// of fn ends the walk and is returned. Puts into a layer that is still open wait until the walk is over.
func (m *Mem) Sizes(ctx context.Context, fn func(k page.Key, lsn page.LSN, size int) error) error {
	if !m.frozen() {
		m.writer.Lock()
		defer m.writer.Unlock()
	}
	x := &m.mu.index
	if x.records.n == 0 {
		return ctx.Err()
	}
	until := 0
	each := func(ids []uint32) error {
		if until -= len(ids); until <= 0 {
			until = placesBetween
			if err := ctx.Err(); err != nil {
				return err
			}
		}
		for _, id := range ids {
			r := x.records.at(id)
			k := x.prefixes.keys[r.prefix]
			k.F6 = r.last
			if err := fn(k, r.at(), placeLength(r.where())); err != nil {
				return err
			}
		}
		return nil
	}
	s, ordered := newMemSort(x)
	if ordered {
		return inNumbers(s.n, each)
	}
	defer s.free()
	return s.sorted(each)
}
