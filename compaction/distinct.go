package compaction

// Distinct makes a cutter for a Retile over rect give no output with the name of a live or doomed layer of s: where one
// would have it, its first key becomes an output of its own, and a single key is divided by LSN.
func Distinct(s *Snapshot, rect Rect, c Cutter) Cutter {
	d := &distinct{Cutter: c, taken: map[Rect]bool{}}
	d.pass = func(r Rect) { d.emit(r, d.out) }
	for i := range s.Layers {
		d.note(s.Generation, rect, &s.Layers[i].ID)
	}
	for i := range s.Doomed {
		d.note(s.Generation, rect, &s.Doomed[i])
	}
	if len(d.taken) == 0 {
		return c
	}
	return d
}

type distinct struct {
	Cutter
	taken map[Rect]bool
	// pass gives what Cutter emits to out; made once, since entries are many.
	pass, out func(Rect)
}

func (d *distinct) note(generation uint32, rect Rect, id *ID) {
	if r := (Rect{id.Keys, id.LSNs}); !id.Image && id.Generation == generation && rect.Covers(r) {
		d.taken[r] = true
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
