package layer

import "github.com/stratapg/strata/page"

// Has reports whether the layer holds a version of k, at whatever LSN.
func (m *Mem) Has(k page.Key) bool {
	if m.Len() == 0 {
		return false
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	x := &m.mu.index
	id, ok := x.prefixes.find(prefixOf(k))
	return ok && x.slots.dir != nil && x.head(id, k.F6) != 0
}
