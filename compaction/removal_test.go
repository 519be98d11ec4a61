package compaction

import (
	"flag"
	"slices"
	"strconv"
	"testing"

	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/page"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// The model below knows keys 0 to gridKeys-1 and LSNs 1 to gridLSNs only, so that every fact that a layer could hold can be
// looked at by itself.
const (
	gridKeys = 6
	gridLSNs = 14
)

// checkMany tries a property that takes microseconds more often than rapid's hundred times, each time with other random numbers, also
// where the seed is given.
func checkMany(t *testing.T, property func(t *rapid.T)) {
	checks := flag.Lookup("rapid.checks").Value
	before := checks.String()
	n, err := strconv.Atoi(before)
	require.NoError(t, err)
	require.NoError(t, checks.Set(strconv.Itoa(n*testkit.Size(10, 20, 2000))))
	defer func() { require.NoError(t, checks.Set(before)) }()
	rapid.Check(t, property)
}

func gridKey(k int) page.Key { return page.Key{F6: uint32(k)} }

func drawKeys(t *rapid.T, name string) page.Range {
	a := rapid.IntRange(0, gridKeys-1).Draw(t, name)
	return page.Range{Start: gridKey(a), End: gridKey(rapid.IntRange(a+1, gridKeys).Draw(t, name+" end"))}
}

func drawLSNs(t *rapid.T, name string) page.LSNRange {
	a := rapid.Uint64Range(1, gridLSNs-1).Draw(t, name)
	return page.LSNRange{Start: page.LSN(a), End: page.LSN(rapid.Uint64Range(a+1, gridLSNs).Draw(t, name+" end"))}
}

func drawLayer(t *rapid.T) Layer {
	l := Layer{ID: ID{Keys: drawKeys(t, "keys"), LSNs: drawLSNs(t, "LSNs"), Image: rapid.Bool().Draw(t, "image"), Generation: 1}}
	if l.Image {
		l.LSNs.End = l.LSNs.Start + 1
	}
	if rapid.IntRange(0, 3).Draw(t, "moved") == 0 {
		l.Moved = []page.Range{drawKeys(t, "moved keys").Intersect(l.Keys)}
	}
	return l
}

func drawSnapshot(t *rapid.T) *Snapshot {
	s := &Snapshot{Generation: 1, LastRecordLSN: gridLSNs, DiskConsistentLSN: gridLSNs,
		Cutoff: page.LSN(rapid.Uint64Range(1, gridLSNs).Draw(t, "cutoff"))}
	for range rapid.IntRange(1, 16).Draw(t, "layers") {
		l := drawLayer(t)
		l.Generation += uint32(len(s.Layers)) // names differ
		s.Layers = append(s.Layers, l)
	}
	for lsn := page.LSN(1); lsn < gridLSNs; lsn++ {
		if rapid.IntRange(0, 4).Draw(t, "retain") == 0 {
			p := ReadPoint{LSN: lsn}
			if rapid.IntRange(0, 2).Draw(t, "released") == 0 {
				p.Released = []page.Range{drawKeys(t, "released keys")}
			}
			s.Retain = append(s.Retain, p)
		}
	}
	return s
}

// drawJob gives a job over some layers, and outputs of it that are where they like to be.
func drawJob(t *rapid.T, s *Snapshot) (*Job, []Output) {
	j := &Job{Kind: rapid.SampledFrom([]Kind{Retile, Fold, Image}).Draw(t, "kind")}
	for i := range s.Layers {
		if j.Kind != Image && rapid.Bool().Draw(t, "input") {
			j.Inputs = append(j.Inputs, i)
		}
	}
	if j.Kind == Fold {
		j.Fold = &FoldSpec{Horizon: page.LSN(rapid.Uint64Range(1, gridLSNs).Draw(t, "horizon")), Below: rapid.Bool().Draw(t, "below")}
		for _, r := range s.Retain {
			if r.LSN < j.Fold.Horizon && rapid.Bool().Draw(t, "kept") {
				j.Fold.Retain = append(j.Fold.Retain, r.LSN)
			}
		}
	}
	var out []Output
	for range rapid.IntRange(0, 4).Draw(t, "outputs") {
		o := Output{Rect: Rect{drawKeys(t, "output"), drawLSNs(t, "output LSNs")}, Folded: j.Kind == Fold}
		o.Layer.ID = ID{Keys: o.Rect.Keys, LSNs: o.Rect.LSNs, Generation: 99}
		if j.Kind == Image || j.Kind == Fold && rapid.Bool().Draw(t, "image output") {
			o.Layer.Image, o.Layer.LSNs.End = true, o.Layer.LSNs.Start+1
		}
		out = append(out, o)
	}
	return j, out
}

// needed is the model: whether some read needs one fact of layer i when the layers of gone are gone.
func needed(s *Snapshot, i int, k page.Key, lsn page.LSN, gone []int, add []Output, j *Job) bool {
	l := &s.Layers[i]
	for _, m := range l.Moved {
		if m.Contains(k) {
			return false
		}
	}
	hides := func(c *Layer, r page.LSN) bool {
		if !c.Image || !c.Keys.Contains(k) || c.LSNs.Start < lsn || c.LSNs.Start > r {
			return false
		}
		return !slices.ContainsFunc(c.Moved, func(m page.Range) bool { return m.Contains(k) })
	}
	reads := func(r page.LSN, released []page.Range) bool {
		if slices.ContainsFunc(released, func(m page.Range) bool { return m.Contains(k) }) {
			return false
		}
		// A fact at the LSN of an image above the cutoff counts as needed, as if the image were a little newer.
		upTo := r
		if r >= s.Cutoff {
			upTo = min(r, max(s.Cutoff, l.LSNs.Start))
		}
		for c := range s.Layers {
			if !slices.Contains(gone, c) && hides(&s.Layers[c], upTo) {
				return false
			}
		}
		for n := range add {
			if hides(&add[n].Layer, upTo) {
				return false
			}
			o := &add[n]
			if j == nil || !slices.Contains(j.Inputs, i) || !o.Rect.Keys.Contains(k) || !o.Rect.LSNs.Contains(lsn) {
				continue
			}
			if j.Kind == Retile && !l.Image || j.Kind == Fold && !(j.Fold.Below && l.Image) && (r >= j.Fold.Horizon || r < s.Cutoff && slices.Contains(j.Fold.Retain, r)) {
				return false
			}
		}
		return true
	}
	for _, r := range s.Retain {
		if r.LSN >= lsn && r.LSN < s.Cutoff && reads(r.LSN, r.Released) {
			return true
		}
	}
	for r := max(lsn, s.Cutoff); r <= gridLSNs+1; r++ {
		if reads(r, nil) {
			return true
		}
	}
	return false
}

// anyNeeded tries every fact of a layer.
func anyNeeded(s *Snapshot, i int, gone []int, add []Output, j *Job) bool {
	l := &s.Layers[i]
	for k := range gridKeys {
		for lsn := l.LSNs.Start; l.Keys.Contains(gridKey(k)) && lsn < l.LSNs.End; lsn++ {
			if needed(s, i, gridKey(k), lsn, gone, add, j) {
				return true
			}
		}
	}
	return false
}

// TestRemovalAgainstModel shows that the checker refuses exactly what could lose a fact that a layer may hold.
func TestRemovalAgainstModel(t *testing.T) {
	accepted, refused := 0, 0
	checkMany(t, func(t *rapid.T) {
		s := drawSnapshot(t)
		var j *Job
		var add []Output
		if rapid.Bool().Draw(t, "job") {
			j, add = drawJob(t, s)
		}
		var remove []int
		for i := range s.Layers {
			if rapid.IntRange(0, 2).Draw(t, "remove") == 0 {
				remove = append(remove, i)
			}
		}
		want := slices.ContainsFunc(remove, func(i int) bool { return anyNeeded(s, i, remove, add, j) })
		err := CheckRemoval(s, remove, add, j)
		require.Equal(t, want, err != nil, "%v", err)
		if len(remove) > 0 && !want {
			accepted++
		} else if want {
			refused++
		}
	})
	require.NotZero(t, accepted)
	require.NotZero(t, refused)
}

// TestManyRemovalsAsOne shows that what decides for many layers at once decides as for each of them.
func TestManyRemovalsAsOne(t *testing.T) {
	checkMany(t, func(t *rapid.T) {
		s := drawSnapshot(t)
		var remove []int
		for i := range s.Layers {
			if rapid.Bool().Draw(t, "remove") {
				remove = append(remove, i)
			}
		}
		c, err := newJudge(s, remove, nil, nil)
		require.NoError(t, err)
		var want []int
		for _, i := range remove {
			if c.check(i, page.FullRange) != nil {
				want = append(want, i)
			}
		}
		require.Equal(t, want, c.notHidden(remove))
	})
}

// TestGCIsExact shows that what garbage collection drops may go, and that of what it leaves no layer up to the cutoff could.
func TestGCIsExact(t *testing.T) {
	dropped := 0
	checkMany(t, func(t *rapid.T) {
		s := drawSnapshot(t)
		plan := GC(s)
		if len(plan.Jobs) > 0 {
			drop := plan.Jobs[0].Obsolete
			dropped += len(drop)
			for _, i := range drop {
				require.LessOrEqual(t, s.Layers[i].LSNs.End, s.Cutoff+1, "%s is newer than the cutoff", s.Layers[i].ID)
			}
			require.NoError(t, CheckJob(s, &plan.Jobs[0]))
			for n := range drop { // an interrupted one does no harm
				require.NoError(t, CheckRemoval(s, drop[:n], nil, nil))
			}
			left := s.Layers[:0:0]
			for i := range s.Layers {
				if !slices.Contains(drop, i) {
					left = append(left, s.Layers[i])
				}
			}
			s.Layers = left
		}
		require.Empty(t, GC(s).Jobs)
		for i := range s.Layers {
			if twin(s, i) || s.Layers[i].LSNs.End > s.Cutoff+1 {
				continue
			}
			require.True(t, anyNeeded(s, i, []int{i}, nil, nil), "%s could have gone", s.Layers[i].ID)
		}
	})
	require.NotZero(t, dropped)
}

// twin reports whether another image of the same LSN has keys in common with layer i. Of such garbage collection may leave one
// more than it must.
func twin(s *Snapshot, i int) bool {
	l := &s.Layers[i]
	return l.Image && slices.ContainsFunc(s.Layers, func(o Layer) bool {
		return o.Image && o.ID != l.ID && o.LSNs == l.LSNs && o.Keys.Overlaps(l.Keys)
	})
}

// TestMovedByAgainstModel shows that a key is said to have moved only if no read needs a fact of it any more, and that an input goes when
// all of it has.
func TestMovedByAgainstModel(t *testing.T) {
	moved := 0
	checkMany(t, func(t *rapid.T) {
		s := drawSnapshot(t)
		j, out := drawJob(t, s)
		j.Obsolete = j.Inputs
		for i := range out {
			out[i].Layer = Layer{} // images are not what moves keys
		}
		for _, p := range MovedBy(s, j, out) {
			l := &s.Layers[p.Layer]
			bare := &Snapshot{Cutoff: s.Cutoff, Retain: s.Retain, Layers: []Layer{*l}}
			alone := *j
			alone.Inputs = []int{0}
			set := page.NewSet(p.Moved...)
			for k := range gridKeys {
				any := false
				for lsn := l.LSNs.Start; lsn < l.LSNs.End; lsn++ {
					any = any || needed(bare, 0, gridKey(k), lsn, nil, out, &alone)
				}
				if l.Image { // the model lets the image hide itself
					continue
				}
				require.Equal(t, l.Keys.Contains(gridKey(k)) && !any, set.Contains(gridKey(k)), "key %d", k)
			}
			require.Equal(t, p.Gone, page.NewSet(l.Keys).Subtract(set).Empty())
			moved++
		}
	})
	require.NotZero(t, moved)
}
