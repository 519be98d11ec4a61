package mock

// span is a range of key numbers.
type span struct{ lo, hi uint32 }

func (s span) has(key uint32) bool { return s.lo <= key && key < s.hi }

// inRow gives the entries of sources as few sorted runs: those whose keys follow each other are put into one.
func inRow(parts [][]entry) [][]entry {
	type chain struct {
		parts [][]entry
		last  uint32
		n     int
	}
	var all []chain
next:
	for _, p := range parts {
		if len(p) == 0 {
			continue
		}
		for i := range all {
			c := &all[i]
			if c.last >= p[0].key() {
				continue
			}
			if n := len(c.parts) - 1; beside(c.parts[n], p) {
				c.parts[n] = c.parts[n][:len(c.parts[n])+len(p)]
			} else {
				c.parts = append(c.parts, p)
			}
			c.last, c.n = p[len(p)-1].key(), c.n+len(p)
			continue next
		}
		all = append(all, chain{[][]entry{p}, p[len(p)-1].key(), len(p)})
	}
	out := make([][]entry, len(all))
	for i, c := range all {
		if out[i] = c.parts[0]; len(c.parts) > 1 {
			out[i] = make([]entry, 0, c.n)
			for _, p := range c.parts {
				out[i] = append(out[i], p...)
			}
		}
	}
	return out
}

// beside reports whether q, which is not empty, lies right behind p in memory, as outputs of one merge do.
func beside(p, q []entry) bool { return cap(p) >= len(p)+len(q) && &p[:len(p)+1][len(p)] == &q[0] }
