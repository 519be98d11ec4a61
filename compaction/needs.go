package compaction

import (
	"fmt"

	"github.com/stratapg/strata/page"
)

// point is an LSN at which reads are served.
type point struct {
	lsn page.LSN
	// above says that reads are served at every LSN above as well.
	above bool
	// released are the keys that nobody reads here.
	released []page.Range
}

func (p point) String() string {
	if p.above {
		return fmt.Sprintf("%s and above", p.lsn)
	}
	return p.lsn.String()
}

// points lists those that see facts of l, in ascending order.
func points(s *Snapshot, l *Layer) []point {
	var ps []point
	for _, r := range s.Retain {
		if r.LSN >= l.LSNs.Start && r.LSN < s.Cutoff {
			ps = append(ps, point{lsn: r.LSN, released: r.Released})
		}
	}
	return append(ps, point{lsn: max(s.Cutoff, l.LSNs.Start), above: true})
}

// need is a region of a layer from which reads at a point take facts.
type need struct {
	at     point
	pieces []piece
}

// piece is a region of keys and LSNs.
type piece struct {
	keys page.Set
	lsns page.LSNRange
}

// needs is what the reads take from one layer.
type needs []need

// newNeeds gives all that reads of some keys could take from l if it were the only layer.
func newNeeds(s *Snapshot, l *Layer, within page.Range) needs {
	rest := l.Rest().Intersect(within)
	var ns needs
	for _, p := range points(s, l) {
		lsns := l.LSNs
		if !p.above {
			lsns.End = min(lsns.End, p.lsn+1)
		}
		keys := rest.Subtract(page.NewSet(p.released...))
		if !keys.Empty() {
			ns = append(ns, need{p, []piece{{keys, lsns}}})
		}
	}
	return ns
}

// cut takes a rectangle out of the region.
func (n *need) cut(keys page.Set, lsns page.LSNRange) {
	var out []piece
	for _, p := range n.pieces {
		if !p.lsns.Overlaps(lsns) {
			out = append(out, p)
			continue
		}
		rest := p.keys.Subtract(keys)
		if !rest.Empty() {
			out = append(out, piece{rest, p.lsns})
		}
		inside := p.keys.Subtract(rest)
		if inside.Empty() {
			continue
		}
		if p.lsns.Start < lsns.Start {
			out = append(out, piece{inside, page.LSNRange{Start: p.lsns.Start, End: lsns.Start}})
		}
		if lsns.End < p.lsns.End {
			out = append(out, piece{inside, page.LSNRange{Start: lsns.End, End: p.lsns.End}})
		}
	}
	n.pieces = out
}

// below takes out what an image layer hides: a read that meets it asks nothing older.
func (ns needs) below(image *Layer) needs {
	keys := image.Rest()
	var left needs
	for _, n := range ns {
		if at := image.LSNs.Start; at <= n.at.lsn {
			n.cut(keys, page.LSNRange{Start: 0, End: at + 1})
		}
		if len(n.pieces) > 0 {
			left = append(left, n)
		}
	}
	return left
}

// minus takes out what the outputs of a job hold of an input's facts.
func (ns needs) minus(j *Job, outputs []Output) needs {
	var left needs
	for _, n := range ns {
		for i := range outputs {
			if o := &outputs[i]; j.serves(o, n.at) {
				n.cut(page.NewSet(o.Rect.Keys), o.Rect.LSNs)
			}
		}
		if len(n.pieces) > 0 {
			left = append(left, n)
		}
	}
	return left
}

// serves reports whether the reads at p find in o all that they would find in the job's inputs inside o.Rect.
func (j *Job) serves(o *Output, p point) bool {
	switch {
	case j.Kind == Retile && !o.Folded:
		return true
	case j.Kind == Fold && j.Fold != nil:
		return j.Fold.Serves(p.lsn)
	}
	return false
}

// Serves reports whether what is folded by f reads at lsn as before.
func (f *FoldSpec) Serves(lsn page.LSN) bool {
	if lsn >= f.Horizon {
		return true
	}
	for _, r := range f.Retain {
		if r == lsn {
			return true
		}
	}
	return false
}

func (ns needs) empty() bool { return len(ns) == 0 }

// keys gives those of all regions.
func (ns needs) keys() page.Set {
	var all page.Set
	for _, n := range ns {
		for _, p := range n.pieces {
			all = all.Union(p.keys)
		}
	}
	return all
}
