package compaction

import (
	"fmt"
	"slices"

	"github.com/stratapg/strata/page"
)

// point is an LSN at which reads are served.
type point struct {
	lsn page.LSN
	// above says that reads are served at every LSN above as well.
	above bool
	// released are the keys that nobody reads here.
	released page.Set
}

func (p point) String() string {
	if p.above {
		return fmt.Sprintf("%s and above", p.lsn)
	}
	return p.lsn.String()
}

// points lists those of a snapshot, in ascending order; the last is the cutoff.
func points(s *Snapshot) []point {
	ps := make([]point, 0, len(s.Retain)+1)
	for _, r := range s.Retain {
		if r.LSN < s.Cutoff {
			ps = append(ps, point{lsn: r.LSN, released: page.NewSet(r.Released...)})
		}
	}
	return append(ps, point{lsn: s.Cutoff, above: true})
}

// seeing gives those of ps that see facts of l. Images above the cutoff do not count for reads at it and above, which may also ask for the LSNs
// below them; so the lowest of these stands for all.
func seeing(ps []point, l *Layer) []point {
	from, _ := slices.BinarySearchFunc(ps, l.LSNs.Start, func(p point, lsn page.LSN) int {
		if p.lsn < lsn && !p.above {
			return -1
		}
		return 1
	})
	ps = ps[from:]
	if len(ps) == 1 {
		return []point{{lsn: max(ps[0].lsn, l.LSNs.Start), above: true}}
	}
	return ps
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

// needs is what reads take from one layer.
type needs []need

// newNeeds gives all that reads at ps could take of some keys from l if it were the only layer.
func newNeeds(ps []point, l *Layer, keys page.Set) needs {
	var ns needs
	if keys.Empty() {
		return nil
	}
	for _, p := range seeing(ps, l) {
		lsns := l.LSNs
		if !p.above {
			lsns.End = min(lsns.End, p.lsn+1)
		}
		if k := keys.Subtract(p.released); !k.Empty() {
			ns = append(ns, need{p, []piece{{k, lsns}}})
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
	return ns.without(func(n *need) {
		if at := image.LSNs.Start; at <= n.at.lsn {
			n.cut(keys, page.LSNRange{Start: 0, End: at + 1})
		}
	})
}

// minus takes out what outputs hold.
func (ns needs) minus(t taken, j *Job) needs {
	return ns.without(func(n *need) {
		var from page.LSN
		switch {
		case j.Kind == Retile:
		case n.at.above:
			// Below the horizon some of these reads are not served. Facts above are seen only by reads that are.
			if n.at.lsn < j.Fold.Horizon {
				from = j.Fold.Horizon
			}
		case !j.Fold.Serves(n.at.lsn):
			return
		}
		n.cut(t.keys, page.LSNRange{Start: from, End: page.MaxLSN})
		for _, r := range t.parts {
			if r.LSNs.Start = max(r.LSNs.Start, from); !r.LSNs.Empty() {
				n.cut(page.NewSet(r.Keys), r.LSNs)
			}
		}
	})
}

// without gives what is left after something has been taken out of each need.
func (ns needs) without(cut func(n *need)) needs {
	left := ns[:0]
	for _, n := range ns {
		cut(&n)
		if len(n.pieces) > 0 {
			left = append(left, n)
		}
	}
	return left
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

// taken is what outputs of a job hold of one of its inputs.
type taken struct {
	keys  page.Set // of which they hold every LSN of the input
	parts []Rect   // other pieces
}

// takenFrom looks which outputs answer for facts of l.
func takenFrom(l *Layer, outputs []Output) taken {
	var t taken
	var whole []page.Range
	for i := range outputs {
		switch r := outputs[i].Rect; {
		case !r.Keys.Overlaps(l.Keys) || !r.LSNs.Overlaps(l.LSNs):
		case r.LSNs.Start <= l.LSNs.Start && l.LSNs.End <= r.LSNs.End:
			whole = append(whole, r.Keys)
		default:
			t.parts = append(t.parts, r)
		}
	}
	t.keys = page.NewSet(whole...)
	return t
}

// moves reports whether the job's outputs take the place of an input. Deltas do not say which keys an image lacks, and what
// lies below a Fold has those keys perhaps.
func (j *Job) moves(l *Layer) bool {
	return j.Kind == Fold && j.Fold != nil && !(j.Fold.Below && l.Image) || j.Kind == Retile && !l.Image
}

// Serves reports whether what is folded by f reads at lsn as before.
func (f *FoldSpec) Serves(lsn page.LSN) bool {
	if lsn >= f.Horizon {
		return true
	}
	_, found := slices.BinarySearch(f.Retain, lsn)
	return found
}

// leftOf gives what reads at ps still need of an input, of the keys given, once outputs of j are live.
func leftOf(ps []point, l *Layer, keys page.Set, j *Job, outputs []Output) needs {
	if j == nil || !j.moves(l) {
		return newNeeds(ps, l, keys)
	}
	t := takenFrom(l, outputs)
	if j.Kind == Retile {
		keys = keys.Subtract(t.keys)
	}
	return newNeeds(ps, l, keys).minus(t, j)
}
