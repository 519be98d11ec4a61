package compaction

import (
	"slices"
	"testing"

	"github.com/stratapg/strata/page"
	"github.com/stretchr/testify/require"
)

func delta(a, b uint32, from, to page.LSN) Layer {
	return Layer{ID: ID{Keys: page.Range{Start: page.Key{F6: a}, End: page.Key{F6: b}}, LSNs: page.LSNRange{Start: from, End: to}, Generation: 7}}
}

func image(a, b uint32, at page.LSN) Layer {
	l := delta(a, b, at, at+1)
	l.Image = true
	return l
}

func l0(from, to page.LSN) Layer {
	l := delta(0, 1, from, to)
	l.Keys = page.FullRange
	return l
}

func rect(a, b uint32, from, to page.LSN) Rect {
	l := delta(a, b, from, to)
	return l.Rect()
}

// shelf is a timeline with everything in its place: two images, deltas between and above, and two L0s. Keys 0 to 100 are live.
func shelf() *Snapshot {
	return &Snapshot{
		Layers: []Layer{
			image(0, 100, 100), delta(0, 100, 101, 200), image(0, 100, 200), // 0, 1, 2
			delta(0, 50, 201, 300), delta(50, 100, 201, 300), // 3, 4
			l0(300, 350), l0(350, 400), // 5, 6
		},
		Doomed: []ID{delta(0, 50, 300, 400).ID}, Generation: 7,
		LastRecordLSN: 450, DiskConsistentLSN: 399, InitialLSN: 90, Cutoff: 250, LiveLSN: 399,
		Retain: []ReadPoint{{LSN: 150}},
		Live:   page.NewSet(page.Range{Start: page.Key{}, End: page.Key{F6: 100}}),
	}
}

// TestHarm has a broken planner of each kind.
func TestHarm(t *testing.T) {
	oneCut := func() Cutter { return nil } // for jobs that are only looked at
	fold := func(s *Snapshot, spec FoldSpec) *Job {
		return &Job{Kind: Fold, Inputs: []int{0, 1, 2, 3, 4}, Obsolete: []int{0, 1, 2, 3, 4}, Rect: rect(0, 100, 100, 300), Fold: &spec}
	}
	retile := func() *Job {
		return &Job{Kind: Retile, Inputs: []int{5, 6}, Obsolete: []int{5, 6}, Cut: oneCut, Rect: Rect{page.FullRange, page.LSNRange{Start: 300, End: 400}}}
	}
	for _, c := range []struct {
		harm string
		job  func(s *Snapshot) *Job
		want string // part of the error; empty: there is none
	}{
		{"none: retiling L0s", func(*Snapshot) *Job { return retile() }, ""},
		{"none: folding all below the cutoff", func(s *Snapshot) *Job { return fold(s, FoldSpec{Horizon: 250, Retain: []page.LSN{150}}) }, ""},
		{"none: dropping what a newer image hides", func(s *Snapshot) *Job {
			s.Retain = nil
			return &Job{Kind: Drop, Obsolete: []int{0, 1}}
		}, ""},
		{"none: retiling some keys", func(*Snapshot) *Job {
			j := retile()
			j.Rect.Keys = rect(0, 60, 0, 1).Keys
			return j
		}, ""},
		{"none: retiling the rest, beside a layer of which these keys have moved", func(s *Snapshot) *Job {
			s.Layers[5].Moved = []page.Range{rect(0, 60, 0, 1).Keys}
			return &Job{Kind: Retile, Inputs: []int{6}, Obsolete: []int{6}, Rect: rect(0, 60, 300, 400), Cut: oneCut}
		}, ""},
		{"none: an image behind keys of which nobody has made one", func(s *Snapshot) *Job {
			s.Layers = s.Layers[5:]
			s.Live = s.Live.Union(page.NewSet(page.Range{Start: page.Key{F6: 200}, End: page.Key{F6: 300}}))
			return &Job{Kind: Image, Rect: rect(200, 300, 399, 400)}
		}, ""},
		{"none: an image of what is durable", func(*Snapshot) *Job { return &Job{Kind: Image, Rect: rect(0, 60, 399, 400)} }, ""},

		{"drops a delta that the cutoff needs", func(*Snapshot) *Job { return &Job{Kind: Drop, Obsolete: []int{3}} }, "reads at 0/FA and above need"},
		{"drops a delta that a retained LSN needs", func(*Snapshot) *Job { return &Job{Kind: Drop, Obsolete: []int{1}} }, "reads at 0/96 need"},
		{"drops the image under a retained LSN", func(*Snapshot) *Job { return &Job{Kind: Drop, Obsolete: []int{0}} }, "reads at 0/96 need"},
		{"drops both of two twins", func(s *Snapshot) *Job {
			twin := image(0, 100, 200)
			twin.Generation = 6
			s.Layers = append(s.Layers, twin)
			return &Job{Kind: Drop, Obsolete: []int{2, 7}}
		}, "may not be removed"},
		{"drops a layer twice", func(*Snapshot) *Job { return &Job{Kind: Drop, Obsolete: []int{1, 1}} }, "twice"},
		{"drops a layer that is not there", func(*Snapshot) *Job { return &Job{Kind: Drop, Obsolete: []int{99}} }, "layer number 99"},
		{"drops with inputs", func(s *Snapshot) *Job {
			s.Retain = nil
			return &Job{Kind: Drop, Inputs: []int{3}, Obsolete: []int{0, 1}}
		}, "no inputs"},
		{"does something unknown", func(*Snapshot) *Job { return &Job{Kind: Kind(Kinds), Rect: rect(0, 60, 399, 400)} }, "unknown"},
		{"has a rectangle without keys", func(*Snapshot) *Job { return &Job{Kind: Image, Rect: rect(60, 60, 399, 400)} }, "empty"},
		{"has a rectangle without LSNs", func(*Snapshot) *Job { return &Job{Kind: Image, Rect: rect(0, 60, 399, 399)} }, "empty"},
		{"reads a layer that is not there", func(*Snapshot) *Job {
			j := retile()
			j.Inputs = []int{5, 6, 7}
			return j
		}, "input number 7"},
		{"reads a layer before the first", func(*Snapshot) *Job {
			j := retile()
			j.Inputs = []int{5, 6, -1}
			return j
		}, "input number -1"},
		{"reads a layer twice", func(*Snapshot) *Job {
			j := retile()
			j.Inputs = []int{5, 6, 5}
			return j
		}, "named twice"},
		{"reads nothing", func(*Snapshot) *Job { return &Job{Kind: Retile, Rect: rect(200, 300, 201, 300)} }, "it has no inputs"},
		{"makes an image of layers", func(*Snapshot) *Job { return &Job{Kind: Image, Inputs: []int{3}, Rect: rect(0, 60, 399, 400)} }, "has no inputs"},
		{"cuts an image", func(*Snapshot) *Job { return &Job{Kind: Image, Rect: rect(0, 60, 399, 400), Cut: oneCut} }, "no cutter"},
		{"makes an image of two LSNs", func(*Snapshot) *Job { return &Job{Kind: Image, Rect: rect(0, 60, 398, 400)} }, "of one LSN"},
		{"makes an image of what was before the timeline", func(s *Snapshot) *Job {
			s.Cutoff = 0
			return &Job{Kind: Image, Rect: rect(0, 60, 89, 90)}
		}, "the timeline begins at"},
		{"folds without saying what for", func(s *Snapshot) *Job {
			j := fold(s, FoldSpec{})
			j.Fold = nil
			return j
		}, "does not say what it keeps"},
		{"folds with a horizon that it retains", func(s *Snapshot) *Job { return fold(s, FoldSpec{Horizon: 250, Retain: []page.LSN{150, 250}}) }, "do not ascend"},
		{"folds with a horizon above its rectangle", func(s *Snapshot) *Job { return fold(s, FoldSpec{Horizon: 300, Retain: []page.LSN{150}}) }, "lies outside"},
		{"folds with a retained LSN below its rectangle", func(s *Snapshot) *Job {
			s.Retain = append([]ReadPoint{{LSN: 99}}, s.Retain...)
			return fold(s, FoldSpec{Horizon: 250, Retain: []page.LSN{99, 150}})
		}, "lies outside"},
		{"folds and forgets a retained LSN", func(s *Snapshot) *Job { return fold(s, FoldSpec{Horizon: 250}) }, "reads at 0/96 need"},
		{"folds above the cutoff", func(s *Snapshot) *Job { return fold(s, FoldSpec{Horizon: 280, Retain: []page.LSN{150}}) }, "reads at 0/FA and above need"},
		{"folds at an LSN that nobody reads", func(s *Snapshot) *Job { return fold(s, FoldSpec{Horizon: 250, Retain: []page.LSN{140, 150}}) }, "where nothing is read"},
		{"folds without a layer in between", func(s *Snapshot) *Job {
			j := fold(s, FoldSpec{Horizon: 250, Retain: []page.LSN{150}})
			j.Inputs, j.Obsolete = []int{0, 2, 3, 4}, []int{0, 2, 3, 4}
			return j
		}, "overlaps it and is no input"},
		{"folds without an image in between", func(s *Snapshot) *Job {
			j := fold(s, FoldSpec{Horizon: 250, Retain: []page.LSN{150}})
			j.Inputs, j.Obsolete = []int{0, 1, 3, 4}, []int{0, 1, 3, 4}
			return j
		}, "lies in it and is no input"},
		{"folds as if nothing lay below", func(s *Snapshot) *Job {
			return &Job{Kind: Fold, Inputs: []int{3, 4}, Obsolete: []int{3, 4}, Rect: rect(0, 100, 201, 300), Fold: &FoldSpec{Horizon: 250}}
		}, "lie below it"},
		{"folds as if there were no ancestor", func(s *Snapshot) *Job {
			s.AncestorLSN = 90
			return fold(s, FoldSpec{Horizon: 250, Retain: []page.LSN{150}})
		}, "ancestor"},
		{"folds an image of a branch, which says what the ancestor has no more", func(s *Snapshot) *Job {
			s.AncestorLSN = 90
			return fold(s, FoldSpec{Horizon: 250, Retain: []page.LSN{150}, Below: true})
		}, "may not be removed: reads at 0/96 need"},
		{"folds below an image that hides the end of what it folds", func(s *Snapshot) *Job {
			return &Job{Kind: Fold, Inputs: []int{0, 1}, Obsolete: []int{0, 1}, Rect: rect(0, 100, 100, 200), Fold: &FoldSpec{Horizon: 199, Retain: []page.LSN{150}}}
		}, "facts may be missing"},
		{"folds below an image at the cutoff", func(s *Snapshot) *Job {
			s.Cutoff = 200
			return &Job{Kind: Fold, Inputs: []int{0, 1}, Obsolete: []int{0, 1}, Rect: rect(0, 100, 100, 200), Fold: &FoldSpec{Horizon: 199, Retain: []page.LSN{150}}}
		}, "facts may be missing"},
		{"folds at LSNs that do not ascend", func(s *Snapshot) *Job { return fold(s, FoldSpec{Horizon: 250, Retain: []page.LSN{150, 150}}) }, "do not ascend"},
		{"moves an image into deltas", func(*Snapshot) *Job {
			return &Job{Kind: Retile, Inputs: []int{1, 2}, Obsolete: []int{1, 2}, Rect: rect(0, 100, 101, 201)}
		}, "may not be removed"},
		{"takes away an input that it leaves out", func(s *Snapshot) *Job {
			j := retile()
			j.Inputs = []int{5}
			j.Rect.LSNs.End = 350
			return j
		}, "reads at 0/15E and above need"},
		{"straddles an input", func(*Snapshot) *Job {
			j := retile()
			j.Rect.LSNs.End = 380
			return j
		}, "straddles"},
		{"straddles a delta that stays", func(*Snapshot) *Job {
			j := retile()
			j.Rect.LSNs.Start = 250
			return j
		}, "overlaps it and is no input"},
		{"leaves an input beside what was made of it", func(*Snapshot) *Job {
			j := retile()
			j.Obsolete = nil
			return j
		}, "would stay beside"},
		{"makes an L0", func(*Snapshot) *Job {
			j := retile()
			j.Cut = nil
			return j
		}, "look like an L0"},
		{"takes the name of a live layer", func(*Snapshot) *Job {
			return &Job{Kind: Retile, Inputs: []int{3}, Obsolete: []int{3}, Rect: rect(0, 50, 201, 300)}
		}, "name of a live layer"},
		{"takes the name of a layer being deleted", func(*Snapshot) *Job {
			return &Job{Kind: Retile, Inputs: []int{5, 6}, Obsolete: []int{5, 6}, Rect: rect(0, 50, 300, 400)}
		}, "waits for its deletion"},
		{"makes an image that is not durable", func(*Snapshot) *Job { return &Job{Kind: Image, Rect: rect(0, 60, 400, 401)} }, "durable"},
		{"makes an image where nothing is read", func(*Snapshot) *Job { return &Job{Kind: Image, Rect: rect(0, 60, 249, 250)} }, "not retained"},
		{"makes an image of what is the ancestor's", func(s *Snapshot) *Job {
			s.Cutoff, s.AncestorLSN = 0, 95
			return &Job{Kind: Image, Rect: rect(0, 60, 94, 95)}
		}, "the timeline begins at"},
		{"makes an image of released keys", func(s *Snapshot) *Job {
			s.Retain[0].Released = []page.Range{{Start: page.Key{F6: 10}, End: page.Key{F6: 11}}}
			return &Job{Kind: Image, Rect: rect(0, 60, 150, 151)}
		}, "not retained"},
		{"leaves a hole beside an image", func(s *Snapshot) *Job {
			s.Live = s.Live.Union(page.NewSet(page.Range{Start: page.Key{F6: 200}, End: page.Key{F6: 300}}))
			return &Job{Kind: Image, Rect: rect(200, 300, 399, 400)}
		}, "hole"},
		{"leaves a hole at the start", func(s *Snapshot) *Job {
			s.Layers = s.Layers[5:]
			s.Live = page.NewSet(page.Range{Start: page.Key{F6: 20}, End: page.Key{F6: 300}})
			return &Job{Kind: Image, Rect: rect(20, 300, 399, 400)}
		}, "hole"},
	} {
		t.Run(c.harm, func(t *testing.T) {
			s := shelf()
			err := CheckJob(s, c.job(s))
			if c.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, c.want)
		})
	}
}

// TestHarmAtPublication has an executor, or a cutter, that does not do what its job says.
func TestHarmAtPublication(t *testing.T) {
	job := &Job{Kind: Retile, Inputs: []int{5, 6}, Obsolete: []int{5, 6}, Rect: Rect{page.FullRange, page.LSNRange{Start: 300, End: 400}}}
	out := func(a, b uint32, from, to page.LSN) Output {
		l := delta(a, b, from, to)
		return Output{Layer: l, Rect: l.Rect()}
	}
	whole := func(l Layer) Output {
		return Output{Layer: l, Rect: Rect{page.FullRange, page.LSNRange{Start: 300, End: 400}}}
	}
	changed := func(o Output, change func(o *Output)) Output {
		change(&o)
		return o
	}
	for _, c := range []struct {
		harm        string
		before, add []Output
		remove      []int
		want        string
	}{
		{"none", nil, []Output{whole(delta(0, 90, 300, 400))}, []int{5, 6}, ""},
		{"none: nothing to write", nil, []Output{whole(Layer{})}, []int{5, 6}, ""},
		{"none: a part", nil, []Output{out(0, 40, 300, 400)}, nil, ""},
		{"removes what is covered in part", nil, []Output{out(0, 40, 300, 400)}, []int{5}, "need what it holds"},
		{"makes an L0", nil, []Output{whole(l0(300, 400))}, nil, "look like an L0"},
		{"makes overlapping outputs", nil, []Output{out(0, 40, 300, 400), out(30, 60, 300, 400)}, nil, "overlap"},
		{"makes an output over one published", []Output{out(0, 40, 300, 400)}, []Output{out(30, 60, 300, 400)}, nil, "overlap"},
		{"publishes a part of a key", nil, []Output{out(3, 4, 300, 340)}, nil, "only a part"},
		{"reaches beyond the job", nil, []Output{out(0, 40, 299, 400)}, nil, "beyond the job"},
		{"says more than it holds", nil, []Output{changed(out(0, 40, 300, 400), func(o *Output) { o.Rect.Keys.End.F6 = 30 })}, nil, "beyond it"},
		{"takes a name that is being deleted", nil, []Output{out(0, 50, 300, 400)}, nil, "waits for its deletion"},
		{"writes another generation", nil, []Output{changed(out(0, 40, 300, 400), func(o *Output) { o.Layer.Generation = 6 })}, nil, "generation"},
		{"folds in a retile", nil, []Output{changed(out(0, 40, 300, 400), func(o *Output) { o.Folded = true })}, nil, "folded"},
		{"makes an image in a retile", nil, []Output{{Layer: image(0, 40, 300), Rect: rect(0, 40, 300, 400)}}, nil, "kind"},
	} {
		t.Run(c.harm, func(t *testing.T) {
			err := CheckStep(shelf(), job, c.before, c.add, c.remove)
			if c.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, c.want)
		})
	}
}

// TestHarmOfOtherKinds has executors of other jobs than those above.
func TestHarmOfOtherKinds(t *testing.T) {
	out := func(l Layer, folded bool) []Output { return []Output{{Layer: l, Rect: l.Rect(), Folded: folded}} }
	for _, c := range []struct {
		harm string
		s    func(s *Snapshot)
		job  Job
		add  []Output
		want string
	}{
		{"none: an image", nil, Job{Kind: Image, Rect: rect(0, 60, 399, 400)}, out(image(0, 60, 399), false), ""},
		{"makes a delta where an image was wanted", nil, Job{Kind: Image, Rect: rect(0, 60, 399, 400)}, out(delta(0, 60, 399, 400), false), "kind"},
		{"makes a layer where layers were to go", nil, Job{Kind: Drop, Rect: rect(0, 60, 300, 400)}, out(delta(0, 60, 300, 400), false), "kind"},
		{"makes an image of two LSNs", nil, Job{Kind: Fold, Rect: rect(0, 100, 100, 102), Fold: &FoldSpec{Horizon: 101}}, []Output{{
			Layer: func() Layer { l := image(0, 100, 100); l.LSNs.End++; return l }(), Rect: rect(0, 100, 100, 102), Folded: true,
		}}, "more than one LSN"},
		{"makes what is not durable", nil, Job{Kind: Retile, Rect: rect(0, 100, 399, 401)}, out(delta(0, 100, 399, 401), false), "up to which all is durable"},
		{"overlaps a layer that it has not read", nil, Job{Kind: Retile, Inputs: []int{5}, Rect: rect(0, 60, 300, 400)}, out(delta(0, 60, 300, 400), false), "overlaps layer"},
		{"none: its keys have moved", func(s *Snapshot) { s.Layers[6].Moved = []page.Range{rect(0, 60, 0, 1).Keys} },
			Job{Kind: Retile, Inputs: []int{5}, Rect: rect(0, 60, 300, 400)}, out(delta(0, 60, 300, 400), false), ""},
	} {
		t.Run(c.harm, func(t *testing.T) {
			s := shelf()
			if c.s != nil {
				c.s(s)
			}
			err := CheckStep(s, &c.job, nil, c.add, nil)
			if c.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, c.want)
		})
	}
}

// TestPlanMakesOneNameOnce looks at what no job does by itself.
func TestPlanMakesOneNameOnce(t *testing.T) {
	p := &Plan{Jobs: []Job{{Kind: Image, Rect: rect(0, 60, 399, 400)}, {Kind: Image, Rect: rect(60, 100, 399, 400)}}}
	require.NoError(t, CheckPlan(shelf(), p))
	p.Jobs[1].Rect = p.Jobs[0].Rect
	require.ErrorContains(t, CheckPlan(shelf(), p), "both make")
}

// TestGCAtEachPoint shows that an old branch point keeps what it reads and nothing else, that keys it has released do not count, nor those that
// have moved, and that images at a retained LSN free the deltas around it (the staircase).
func TestGCAtEachPoint(t *testing.T) {
	drops := func(s *Snapshot) []int {
		if p := GC(s); len(p.Jobs) > 0 {
			return p.Jobs[0].Obsolete
		}
		return nil
	}
	s := shelf()
	require.Empty(t, drops(s), "150 needs the image at 100 and the delta above")
	s.Retain[0].LSN = 100
	require.Equal(t, []int{1}, drops(s), "100 needs the image there")
	s.Retain[0].LSN = 99
	require.Equal(t, []int{0, 1}, drops(s), "99 sees neither")
	s.Retain[0] = ReadPoint{LSN: 150, Released: []page.Range{{Start: page.Key{}, End: page.Key{F6: 100}}}}
	require.Equal(t, []int{0, 1}, drops(s), "nobody reads these keys at 150")
	s.Retain[0].Released[0].End.F6 = 99
	require.Empty(t, drops(s), "somebody reads key 99")
	for _, i := range []int{0, 1} {
		s.Layers[i].Moved = []page.Range{{Start: page.Key{F6: 99}, End: page.Key{F6: 100}}}
	}
	require.Equal(t, []int{0, 1}, drops(s), "key 99 has moved")

	s = shelf()
	s.Retain[0].LSN = 99
	slices.Reverse(s.Layers)
	require.Equal(t, []int{6, 5}, drops(s), "the oldest first, whatever order they are given in")

	s = shelf()
	s.Layers = append(s.Layers, image(0, 60, 150), image(60, 100, 150))
	require.Equal(t, []int{0, 1}, drops(s), "images at 150 hide what is older, and that at 200 the rest of the delta")
	s.Layers[8].Keys.Start.F6 = 61
	require.Empty(t, drops(s), "key 60 falls into a hole")
}

// TestWhatHasMovedGoes: an input of which nothing is needed any more goes with the first output, whatever that covers. What the job
// does not name as obsolete stays.
func TestWhatHasMovedGoes(t *testing.T) {
	s := shelf()
	s.Layers[5].Moved = []page.Range{page.FullRange}
	j := &Job{Kind: Retile, Inputs: []int{5, 6}, Obsolete: []int{5, 6}, Rect: Rect{page.FullRange, page.LSNRange{Start: 300, End: 400}}}
	some := delta(0, 40, 300, 400)
	published := []Output{{Layer: some, Rect: some.Rect()}}
	moved := []page.Range{some.Keys}
	require.Equal(t, []Progress{{Layer: 5, Moved: []page.Range{page.FullRange}, Gone: true}, {Layer: 6, Moved: moved}}, MovedBy(s, j, published))
	j.Obsolete = []int{6}
	require.Equal(t, []Progress{{Layer: 6, Moved: moved}}, MovedBy(s, j, published))
}

func TestTileRefusesBadCuts(t *testing.T) {
	job := rect(0, 100, 300, 400)
	tiles, err := Tile(job, []Rect{rect(10, 20, 300, 400), rect(30, 31, 310, 350), rect(30, 31, 350, 390), rect(40, 50, 300, 400)})
	require.NoError(t, err)
	require.Equal(t, []Rect{rect(0, 20, 300, 400), rect(20, 31, 300, 350), rect(20, 31, 350, 400), rect(31, 100, 300, 400)}, tiles)
	tiles, err = Tile(job, nil)
	require.NoError(t, err)
	require.Equal(t, []Rect{job}, tiles, "where there is no entry one output answers for all")
	for _, cuts := range [][]Rect{
		{rect(10, 20, 300, 400), rect(5, 8, 300, 400)}, {rect(10, 20, 300, 400), rect(19, 30, 300, 400)}, {rect(10, 101, 300, 400)},
		{rect(10, 12, 300, 350), rect(10, 12, 350, 400)}, {rect(10, 11, 300, 350), rect(10, 11, 340, 400)}, {rect(10, 11, 300, 401)}, {rect(10, 10, 300, 400)},
	} {
		_, err := Tile(job, cuts)
		require.Error(t, err, "%v", cuts)
	}
}
