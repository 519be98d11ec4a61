package mock

// mergeAll merges sorted runs into one and leaves of entries for the same key and record one, the image if there is one.
// It may give back one of the runs itself.
func (s *scratch) mergeAll(runs [][]entry) []entry {
	ours := make([]bool, len(runs)) // whether a run is memory of s
	for len(runs) > 1 {
		var half [][]entry
		var made []bool
		for i := 0; i+1 < len(runs); i += 2 {
			n := len(runs[i]) + len(runs[i+1])
			last := len(runs) == 2 // which layers will keep
			var out []entry
			if last {
				out = make([]entry, n)
			} else {
				out = s.take(n)
			}
			mergeTwo(out, runs[i], runs[i+1])
			half, made = append(half, out), append(made, !last)
		}
		if n := len(runs) - 1; n%2 == 0 {
			half, made = append(half, runs[n]), append(made, ours[n])
			ours[n] = false
		}
		for i, is := range ours {
			if is {
				s.give(runs[i])
			}
		}
		runs, ours = half, made
	}
	if len(runs) == 0 {
		return nil
	}
	return dedup(runs[0])
}

// mergeTwo merges a and b into out: the lower and the upper half in turns, as each step of a merge waits for the one before.
func mergeTwo(out, a, b []entry) {
	i := halve(a, b, len(out)/2)
	j := len(out)/2 - i
	low, lowA, lowB := out[:i+j], a[:i], b[:j]
	out, a, b = out[i+j:], a[i:], b[j:]
	for {
		n := min(len(lowA), len(lowB), len(a), len(b)) // steps in which none of them can come to its end
		if n == 0 {
			break
		}
		i, j := steps(low[:n], lowA[:n], lowB[:n], out[:n], a[:n], b[:n])
		low, lowA, lowB = low[n:], lowA[i:], lowB[n-i:]
		out, a, b = out[n:], a[j:], b[n-j:]
	}
	mergeRest(low, lowA, lowB)
	mergeRest(out, a, b)
}

// halve gives how many of the first n entries of a and b together are of a.
func halve(a, b []entry, n int) int {
	lo, hi := max(0, n-len(b)), min(n, len(a))
	for lo < hi {
		if i := lo + (hi-lo)/2; a[i] < b[n-i-1] {
			lo = i + 1
		} else {
			hi = i
		}
	}
	return lo
}

// steps does as many steps of two merges as all of these have entries, and says how many of a and of c were taken. It has no branches
// that a processor would guess wrongly half of the time.
func steps(ab, a, b, cd, c, d []entry) (i, j int) {
	for k := range ab {
		x, y, z, w := a[i], b[k-i], c[j], d[k-j]
		ab[k], cd[k] = min(x, y), min(z, w)
		first, third := 0, 0
		if x <= y {
			first = 1
		}
		if z <= w {
			third = 1
		}
		i += first
		j += third
	}
	return i, j
}

// mergeRest merges what is left when one of the two merges has come to an end of a or b.
func mergeRest(out, a, b []entry) {
	for len(a) > 0 && len(b) > 0 {
		i := 0
		if a[0] <= b[0] {
			i = 1
		}
		out[0] = min(a[0], b[0])
		out, a, b = out[1:], a[i:], b[1-i:]
	}
	copy(out[copy(out, a):], b)
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
