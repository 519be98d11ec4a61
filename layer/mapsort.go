package layer

// ranking is a permutation that words put in order, the least one first, each keeping the order so far among
// equals. It distributes by those bytes of the words that differ, which for the few that do in a map takes a
// fraction of what comparing takes.
type ranking struct {
	order, spare []ranked
}

// ranked is an element by the number it had at first, and the word that it is ordered by next.
type ranked struct {
	word uint64
	at   int32
}

func newRanking(n int) *ranking {
	r := &ranking{make([]ranked, n), make([]ranked, n)}
	for i := range r.order {
		r.order[i].at = int32(i)
	}
	return r
}

// sort orders by the words that have been set.
func (r *ranking) sort() {
	var counts [8][256]int32
	for i := range r.order {
		w := r.order[i].word
		for b := range counts {
			counts[b][byte(w>>(8*b))]++
		}
	}
	for b := range counts {
		if len(r.order) > 0 && int(counts[b][byte(r.order[0].word>>(8*b))]) < len(r.order) {
			r.distribute(&counts[b], 8*b)
		}
	}
}

func (r *ranking) distribute(counts *[256]int32, shift int) {
	next := int32(0)
	for i, n := range counts {
		counts[i] = next
		next += n
	}
	for i := range r.order {
		e := &r.order[i]
		to := &counts[byte(e.word>>(shift&63))]
		r.spare[*to] = *e
		*to++
	}
	r.order, r.spare = r.spare, r.order
}
