package layer

import "math/bits"

// ranking is a permutation that words put in order, the least one first, each keeping the order so far among
// equals. It distributes by those bits of the words that differ, which for the few that do in a map takes a
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

// rankBits is how many bits of the words one pass orders by: its counts fit the fastest cache.
const rankBits = 11

// sort orders by the words that have been set, from the lowest bit in which any differ to the highest.
func (r *ranking) sort() {
	var differ uint64
	for i := range r.order {
		differ |= r.order[i].word ^ r.order[0].word
	}
	for differ != 0 {
		shift := bits.TrailingZeros64(differ)
		r.distribute(shift)
		differ &^= (1<<rankBits - 1) << shift
	}
}

func (r *ranking) distribute(shift int) {
	const mask = 1<<rankBits - 1
	var places [1 << rankBits]int32
	for i := range r.order {
		places[r.order[i].word>>(shift&63)&mask]++
	}
	next := int32(0)
	for i, n := range places {
		places[i] = next
		next += n
	}
	for i := range r.order {
		e := &r.order[i]
		to := &places[e.word>>(shift&63)&mask]
		r.spare[*to] = *e
		*to++
	}
	r.order, r.spare = r.spare, r.order
}
