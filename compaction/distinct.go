package compaction

// Distinct makes a cutter for a Retile over rect give no output with the name of a live or doomed layer of s: where one
// would have it, its first key becomes an output of its own, and a single key is divided by LSN.
func Distinct(s *Snapshot, rect Rect, c Cutter) Cutter {
	taken := map[Rect]bool{}
	note := func(id ID) {
		if r := (Rect{id.Keys, id.LSNs}); !id.Image && id.Generation == s.Generation && rect.Covers(r) {
			taken[r] = true
		}
	}
	for i := range s.Layers {
		note(s.Layers[i].ID)
	}
	for _, id := range s.Doomed {
		note(id)
	}
	if len(taken) == 0 {
		return c
	}
	return &distinct{c, taken}
}

type distinct struct {
	Cutter
	taken map[Rect]bool
}

func (d *distinct) Add(e Entry, emit func(Rect)) {
	d.Cutter.Add(e, func(r Rect) { d.emit(r, emit) })
}

func (d *distinct) Finish(emit func(Rect)) {
	d.Cutter.Finish(func(r Rect) { d.emit(r, emit) })
}

// emit gives r, or pieces of it. Each step makes a piece smaller, and names that are taken are finite in number.
func (d *distinct) emit(r Rect, emit func(Rect)) {
	for d.taken[r] {
		first := r
		if next := r.Keys.Start.Next(); next.Less(r.Keys.End) {
			first.Keys.End, r.Keys.Start = next, next
		} else if mid := r.LSNs.Start + (r.LSNs.End-r.LSNs.Start)/2; mid > r.LSNs.Start {
			first.LSNs.End, r.LSNs.Start = mid, mid
		} else {
			break // one LSN of one key, twice: the check before publication refuses it
		}
		d.emit(first, emit)
	}
	emit(r)
}
