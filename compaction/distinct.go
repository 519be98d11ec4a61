package compaction

// Distinct makes a cutter for a Retile over rect give no output with the name of a live or doomed layer of s: where one
// would have it, its first key becomes an output of its own, and a single key is divided by LSN.
func Distinct(s *Snapshot, rect Rect, c Cutter) Cutter {
	return newDistinct(s, rect, c, func(r Rect) []ID { return []ID{{Keys: r.Keys, LSNs: r.LSNs}} })
}

// DistinctFold does the same for a Fold, whose outputs are an image layer at the lowest read point and a delta above or
// around it.
func DistinctFold(s *Snapshot, rect Rect, f *FoldSpec, c Cutter) Cutter {
	lowest := f.Horizon
	for _, r := range f.Retain {
		lowest = min(lowest, r)
	}
	return newDistinct(s, rect, c, func(r Rect) []ID {
		names := make([]ID, 4)
		for i := range names {
			names[i] = ID{Keys: r.Keys, LSNs: r.LSNs}
		}
		names[1].LSNs.Start, names[2].LSNs.Start = lowest, lowest+1
		names[3].LSNs.Start, names[3].LSNs.End, names[3].Image = lowest, lowest+1, true
		return names
	})
}

func newDistinct(s *Snapshot, rect Rect, c Cutter, names func(Rect) []ID) Cutter {
	d := &distinct{Cutter: c, taken: map[ID]bool{}, names: names}
	d.pass = func(r Rect) { d.emit(r, d.out) }
	for i := range s.Layers {
		d.note(s.Generation, rect, s.Layers[i].ID)
	}
	for _, id := range s.Doomed {
		d.note(s.Generation, rect, id)
	}
	if len(d.taken) == 0 {
		return c
	}
	return d
}

type distinct struct {
	Cutter
	taken map[ID]bool // without generations
	names func(Rect) []ID
	// pass gives what Cutter emits to out; made once, since entries are many.
	pass, out func(Rect)
}

func (d *distinct) note(generation uint32, rect Rect, id ID) {
	if id.Generation == generation && rect.Covers(Rect{id.Keys, id.LSNs}) {
		id.Generation = 0
		d.taken[id] = true
	}
}

func (d *distinct) Add(e Entry, emit func(Rect)) {
	d.out = emit
	d.Cutter.Add(e, d.pass)
}

func (d *distinct) Finish(emit func(Rect)) {
	d.out = emit
	d.Cutter.Finish(d.pass)
}

// emit gives r, or pieces of it. Each step makes a piece smaller, and names that are taken are finite in number.
func (d *distinct) emit(r Rect, emit func(Rect)) {
	for d.clashes(r) {
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

func (d *distinct) clashes(r Rect) bool {
	for _, id := range d.names(r) {
		if d.taken[id] {
			return true
		}
	}
	return false
}
