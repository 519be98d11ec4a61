package mock

// mergeAll merges sorted runs into one and leaves of entries for the same key and record one, the image if there is one.
// It may give back one of the runs itself.
func mergeAll(runs [][]entry) []entry {
	for len(runs) > 1 {
		half := make([][]entry, 0, (len(runs)+1)/2)
		for i := 0; i < len(runs); i += 2 {
			if i+1 == len(runs) {
				half = append(half, runs[i])
				break
			}
			half = append(half, mergeTwo(runs[i], runs[i+1]))
		}
		runs = half
	}
	if len(runs) == 0 {
		return nil
	}
	return dedup(runs[0])
}

// mergeTwo merges without branches that a processor would guess wrongly half of the time.
func mergeTwo(a, b []entry) []entry {
	out := make([]entry, len(a)+len(b))
	i, j, k := 0, 0, 0
	for i < len(a) && j < len(b) && k < len(out) {
		x, y := a[i], b[j]
		out[k] = min(x, y)
		k++
		first := 0
		if x <= y {
			first = 1
		}
		i += first
		j += 1 - first
	}
	k += copy(out[k:], a[i:])
	copy(out[k:], b[j:])
	return out
}

// dedup copies only if there is something to leave out.
func dedup(es []entry) []entry {
	for i := 1; i < len(es); i++ {
		if es[i]>>recordPos == es[i-1]>>recordPos {
			out := append(make([]entry, 0, len(es)), es[:i]...)
			for _, e := range es[i:] {
				if n := len(out) - 1; e>>recordPos == out[n]>>recordPos {
					out[n] = e // an image sorts behind its record
					continue
				}
				out = append(out, e)
			}
			return out
		}
	}
	return es
}

// span is a range of key numbers.
type span struct{ lo, hi uint32 }

func (s span) has(key uint32) bool { return s.lo <= key && key < s.hi }

// chains gives the entries of sources as few sorted runs: those whose keys follow each other are put into one.
func chains(parts [][]entry) [][]entry {
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
			if c := &all[i]; c.last < p[0].key() {
				c.parts, c.last, c.n = append(c.parts, p), p[len(p)-1].key(), c.n+len(p)
				continue next
			}
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
