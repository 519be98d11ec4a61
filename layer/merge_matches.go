package layer

// mergeMatches is a tournament of the inputs that are being read: each match was lost by the input that is noted at
// its place, and who has won them all has the least entry. After its next entry only the matches on its way up
// are played again. Keys lie together, as words, since they are all that most matches look at.
type mergeMatches struct {
	inputs []*mergeInput
	keys   []treeKey // of the entry that each is at
	lost   []int     // lost[0] has won; the rest are matches, each one's winner playing in that of half its number
}

// before orders inputs by their entries: key, LSN; images; the order in which layers were given.
func (t *mergeMatches) before(a, b int) bool {
	x, y := &t.keys[a], &t.keys[b]
	for i := range x {
		if x[i] != y[i] {
			return x[i] < y[i]
		}
	}
	if p, q := t.inputs[a], t.inputs[b]; p.image != q.image {
		return p.image
	} else {
		return p.number < q.number
	}
}

// add lets an input take part, from its first entry on.
func (t *mergeMatches) add(in *mergeInput) {
	t.inputs = append(t.inputs, in)
	t.keys = append(t.keys, in.window.entries[in.at].key)
	t.play()
}

// remove takes out an input, which has ended.
func (t *mergeMatches) remove(i int) {
	n := len(t.inputs) - 1
	t.inputs[i], t.keys[i] = t.inputs[n], t.keys[n]
	t.inputs[n] = nil
	t.inputs, t.keys = t.inputs[:n], t.keys[:n]
	t.play()
}

// play plays all matches.
func (t *mergeMatches) play() {
	n := len(t.inputs)
	t.lost = t.lost[:0]
	for range n {
		t.lost = append(t.lost, -1)
	}
	for i := range n {
		t.replay(i)
	}
}

// least gives the input with the least entry, and false if there is none.
func (t *mergeMatches) least() (i int, ok bool) {
	if len(t.lost) == 0 {
		return 0, false
	}
	return t.lost[0], true
}

// replay plays the matches of input i. One who comes to a place where nobody was waits there.
func (t *mergeMatches) replay(i int) {
	for at := (i + len(t.lost)) / 2; at > 0; at /= 2 {
		switch o := t.lost[at]; {
		case o < 0:
			t.lost[at] = i
			return
		case t.before(o, i):
			t.lost[at], i = i, o
		}
	}
	t.lost[0] = i
}
