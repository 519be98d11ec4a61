package compaction

import (
	"slices"

	"github.com/stratapg/strata/page"
)

// Distinct makes a cutter for a Retile over rect give no output with the name of a live or doomed layer of s: where one
// would have it, its first key becomes an output of its own, and a single key is divided at other LSNs.
// The outputs of a single key become no more by that, unless there was but one.
func Distinct(s *Snapshot, rect Rect, c Cutter) Cutter {
	d := &distinct{Cutter: c, taken: map[Rect]bool{}}
	d.pass = d.emit
	for i := range s.Layers {
		d.note(rect, &s.Layers[i].ID)
	}
	for i := range s.Doomed {
		d.note(rect, &s.Doomed[i])
	}
	if len(d.taken) == 0 {
		return c
	}
	return d
}

type distinct struct {
	Cutter
	taken map[Rect]bool
	// slices are the outputs of one key, of which all have to be known before one is given.
	slices []Rect
	// pass gives what Cutter emits to out; made once, since entries are many.
	pass, out func(Rect)
}

// note takes names of every generation: a timeline holds no two layers that differ in that alone.
func (d *distinct) note(rect Rect, id *ID) {
	if r := (Rect{id.Keys, id.LSNs}); !id.Image && rect.Covers(r) {
		d.taken[r] = true
	}
}

func (d *distinct) Add(e Entry, emit func(Rect)) {
	d.out = emit
	d.Cutter.Add(e, d.pass)
}

// Grain is that of the cutter.
func (d *distinct) Grain() int64 {
	if c, ok := d.Cutter.(CoarseCutter); ok {
		return c.Grain()
	}
	return 0
}

// Whole asks the cutter, which has a Grain.
func (d *distinct) Whole(keys page.Range) bool { return d.Cutter.(CoarseCutter).Whole(keys) }

func (d *distinct) AddWhole(keys page.Range, size int64, emit func(Rect)) {
	d.out = emit
	d.Cutter.(CoarseCutter).AddWhole(keys, size, d.pass)
}

func (d *distinct) Finish(emit func(Rect)) {
	d.out = emit
	d.Cutter.Finish(d.pass)
	d.endKey()
}

// emit gives r, or pieces of it.
func (d *distinct) emit(r Rect) {
	if len(d.slices) > 0 && d.slices[0].Keys != r.Keys {
		d.endKey()
	}
	switch next := r.Keys.Start.Next(); {
	case next == r.Keys.End:
		d.slices = append(d.slices, r)
	case d.taken[r]:
		first := r
		first.Keys.End, r.Keys.Start = next, next
		d.emit(first)
		d.emit(r)
	default:
		d.out(r)
	}
}

// endKey gives the outputs of one key. Where a name is taken the LSN between two outputs is another; a history that is
// one output is divided. If it is one LSN too it stays as it is: the check before publication refuses it.
func (d *distinct) endKey() {
	all := d.slices
	for i := 0; i < len(all)-1; i++ {
		for i < len(all)-1 && d.taken[all[i]] {
			all = move(all, i+1, all[i].LSNs.End+1)
		}
	}
	for i := len(all) - 1; i > 0 && (d.taken[all[i]] || d.taken[all[i-1]]); i = len(all) - 1 {
		all = move(all, i, all[i].LSNs.Start-1)
	}
	if len(all) == 1 && d.taken[all[0]] {
		all = d.divide(all[0])
	}
	d.slices = d.slices[:0]
	for _, r := range all {
		d.out(r)
	}
}

// move lets slice i begin at another LSN, and with it the one before end there. One that is empty then is left out.
func move(all []Rect, i int, at page.LSN) []Rect {
	all[i-1].LSNs.End, all[i].LSNs.Start = at, at
	if all[i].LSNs.Empty() {
		return slices.Delete(all, i, i+1)
	} else if all[i-1].LSNs.Empty() {
		return slices.Delete(all, i-1, i)
	}
	return all
}

// divide divides r, of one key, in two whose names are free: each taken name stands in the way of one LSN.
func (d *distinct) divide(r Rect) []Rect {
	n := r.LSNs.End - r.LSNs.Start
	for step := range n {
		at := r.LSNs.Start + (n/2+step)%n
		low, high := r, r
		low.LSNs.End, high.LSNs.Start = at, at
		if !d.taken[low] && !d.taken[high] { // which r itself is
			return []Rect{low, high}
		}
	}
	return []Rect{r}
}
