package plannertest

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/page"
)

// work is a job that is being done, its layers by name, since indexes change with every publication.
type work struct {
	job      compaction.Job
	inputs   []compaction.ID
	obsolete []compaction.ID
	done     []compaction.Output
}

func newWork(s *compaction.Snapshot, j *compaction.Job) *work {
	k := &work{job: *j}
	for _, i := range j.Inputs {
		k.inputs = append(k.inputs, s.Layers[i].ID)
	}
	for _, i := range j.Obsolete {
		k.obsolete = append(k.obsolete, s.Layers[i].ID)
	}
	return k
}

// in gives the job as of a snapshot in which some of its layers may be gone.
func (k *work) in(s *compaction.Snapshot) *compaction.Job {
	at := map[compaction.ID]int{}
	for i := range s.Layers {
		at[s.Layers[i].ID] = i
	}
	find := func(ids []compaction.ID) []int {
		var all []int
		for _, id := range ids {
			if i, ok := at[id]; ok {
				all = append(all, i)
			}
		}
		return all
	}
	j := k.job
	j.Inputs, j.Obsolete = find(k.inputs), find(k.obsolete)
	return &j
}

// made is an output with what is to be written.
type made struct {
	compaction.Output
	facts []fact
}

// Do does a job and publishes its outputs one by one, but those of the same keys in one step. After limit steps it ends as after a crash.
func (w *World) Do(s *compaction.Snapshot, j *compaction.Job, limit int) error {
	k := newWork(s, j)
	if j.Kind == compaction.Drop {
		return w.publish(k, nil, true)
	}
	outputs, err := w.make(s, j)
	if err != nil {
		return err
	}
	for ; len(outputs) > 0; limit-- {
		if limit == 0 {
			return nil
		}
		n := 1
		for n < len(outputs) && outputs[n].Rect.Keys == outputs[0].Rect.Keys {
			n++
		}
		if err := w.publish(k, outputs[:n], n == len(outputs)); err != nil {
			return err
		}
		outputs = outputs[n:]
	}
	return nil
}

// publish makes one step: outputs become live, inputs that it completes go, of others it is noted what has moved.
func (w *World) publish(k *work, outputs []made, last bool) error {
	s := w.Snapshot(nil)
	j := k.in(s)
	var add []compaction.Output
	for _, o := range outputs {
		add = append(add, o.Output)
	}
	all := append(slices.Clone(k.done), add...)
	var remove []int
	moved := compaction.MovedBy(s, j, all)
	for _, p := range moved {
		if p.Gone {
			remove = append(remove, p.Layer)
		}
	}
	if last {
		for _, i := range j.Obsolete {
			if !slices.Contains(j.Inputs, i) {
				remove = append(remove, i)
			}
		}
	}
	if err := compaction.CheckStep(s, j, k.done, add, remove); err != nil {
		return err
	}
	for _, o := range outputs {
		if !o.None() {
			w.add(o.Layer.ID, o.facts)
		}
	}
	k.done = all
	for _, p := range moved {
		w.files[s.Layers[p.Layer].ID].Moved = p.Moved
	}
	for _, i := range remove {
		w.remove(s.Layers[i].ID)
	}
	return nil
}

// make does a job up to what is published of it.
func (w *World) make(s *compaction.Snapshot, j *compaction.Job) ([]made, error) {
	if j.Kind == compaction.Image {
		return []made{w.image(j)}, nil
	}
	facts := w.gather(s, j)
	cuts := []compaction.Rect{j.Rect}
	if j.Cut != nil {
		cuts = cutUp(j.Cut(), facts)
		if err := checkCuts(facts, cuts); err != nil {
			return nil, fmt.Errorf("%s job over %s: %w", j.Kind, j.Rect, err)
		}
	}
	tiles, err := compaction.Tile(j.Rect, cuts)
	if err != nil {
		return nil, err
	}
	if len(cuts) == 0 {
		return []made{{Output: compaction.Output{Rect: j.Rect, Folded: j.Kind == compaction.Fold}}}, nil
	}
	if j.Kind == compaction.Fold {
		return w.fold(s, j, facts, cuts, tiles)
	}
	facts = w.withImages(facts, j.MaxRecords)
	var all []made
	for i, c := range cuts {
		c.LSNs = tiles[i].LSNs
		all = append(all, w.delta(c, tiles[i], within(facts, c)))
	}
	return all, nil
}

// gather merges the inputs of a job inside its rectangle, each (key, LSN) once.
func (w *World) gather(s *compaction.Snapshot, j *compaction.Job) []fact {
	var all []fact
	for _, i := range j.Inputs {
		l := &s.Layers[i]
		rest := l.Rest()
		for _, f := range within(w.files[l.ID].facts, j.Rect) {
			if rest.Contains(f.key) {
				all = append(all, f)
			}
		}
	}
	slices.SortStableFunc(all, func(a, b fact) int {
		if c := compareFacts(&a, &b); c != 0 || a.image == b.image {
			return c
		} else if a.image {
			return -1
		}
		return 1
	})
	return slices.CompactFunc(all, func(a, b fact) bool { return compareFacts(&a, &b) == 0 })
}

// cutUp runs a cutter.
func cutUp(c compaction.Cutter, facts []fact) []compaction.Rect {
	var cuts []compaction.Rect
	emit := func(r compaction.Rect) { cuts = append(cuts, r) }
	for _, f := range facts {
		c.Add(compaction.Entry{Key: f.key, LSN: f.lsn, Size: f.size}, emit)
	}
	c.Finish(emit)
	return cuts
}

// checkCuts reports an entry that lies in no output. That they are disjoint and in order Tile sees.
func checkCuts(facts []fact, cuts []compaction.Rect) error {
	for _, f := range facts {
		in := func(r compaction.Rect) bool { return r.Keys.Contains(f.key) && r.LSNs.Contains(f.lsn) }
		if !slices.ContainsFunc(cuts, in) {
			return fmt.Errorf("the cutter left out key %s at %s", f.key, f.lsn)
		}
	}
	return nil
}

func (w *World) delta(rect, tile compaction.Rect, facts []fact) made {
	m := made{Output: compaction.Output{Rect: tile}, facts: facts}
	if len(facts) > 0 {
		m.Layer.ID = compaction.ID{Keys: rect.Keys, LSNs: rect.LSNs, Generation: w.generation}
	}
	return m
}

// imageSize is that of a page in an image layer.
const imageSize = 8192

// image makes an image layer by reading every key.
func (w *World) image(j *compaction.Job) made {
	at := j.Rect.LSNs.Start
	m := made{Output: compaction.Output{Rect: j.Rect}}
	live := w.liveAt(at)
	for _, k := range w.keys() {
		if !j.Rect.Keys.Contains(k) || !k.Sparse() && !live.Contains(k) {
			continue
		}
		if state := w.truths[k].at(at); state != 0 {
			m.facts = append(m.facts, fact{key: k, lsn: at, size: imageSize, image: true, state: state})
		}
	}
	if len(m.facts) > 0 {
		m.Layer.ID = compaction.ID{Keys: j.Rect.Keys, LSNs: j.Rect.LSNs, Image: true, Generation: w.generation}
	}
	return m
}

// fold makes image layers at the lowest read point of the job and deltas above.
func (w *World) fold(s *compaction.Snapshot, j *compaction.Job, facts []fact, cuts, tiles []compaction.Rect) ([]made, error) {
	lowest := j.Fold.Horizon
	if len(j.Fold.Retain) > 0 {
		lowest = j.Fold.Retain[0]
	}
	var all []made
	for i := 0; i < len(cuts); i++ {
		c, tile := cuts[i], tiles[i]
		for i+1 < len(cuts) && cuts[i+1].Keys == c.Keys {
			i++
		}
		c.LSNs, tile.LSNs = j.Rect.LSNs, j.Rect.LSNs
		kept, err := w.foldKeys(s, j, within(facts, compaction.Rect{Keys: tile.Keys, LSNs: tile.LSNs}), tile.Keys)
		if err != nil {
			return nil, err
		}
		if !j.Fold.Below {
			low := compaction.Rect{Keys: tile.Keys, LSNs: page.LSNRange{Start: tile.LSNs.Start, End: lowest + 1}}
			m := made{Output: compaction.Output{Rect: low, Folded: true}}
			for _, f := range within(kept, low) {
				if f.state != 0 {
					m.facts = append(m.facts, f)
				}
			}
			if len(m.facts) > 0 {
				m.Layer.ID = compaction.ID{Keys: tile.Keys, LSNs: page.LSNRange{Start: lowest, End: lowest + 1}, Image: true, Generation: w.generation}
			}
			all = append(all, m)
			c.LSNs.Start, tile.LSNs.Start = lowest+1, lowest+1
		}
		if !tile.LSNs.Empty() {
			m := w.delta(c, tile, within(kept, tile))
			m.Folded = true
			all = append(all, m)
		}
	}
	return all, nil
}

// foldKeys folds the history of some keys by Retention, as the engine does, with digests for values.
func (w *World) foldKeys(s *compaction.Snapshot, j *compaction.Job, facts []fact, keys page.Range) ([]fact, error) {
	byKey := map[page.Key][]fact{}
	for _, f := range facts {
		byKey[f.key] = append(byKey[f.key], f)
	}
	for _, i := range j.Inputs {
		if l := &s.Layers[i]; l.Image {
			for k := range w.truths {
				if keys.Contains(k) && l.Rest().Contains(k) && len(w.files[l.ID].of(k)) == 0 {
					byKey[k] = append(byKey[k], fact{key: k, lsn: l.LSNs.Start, image: true})
				}
			}
		}
	}
	r := compaction.NewRetention(j.Fold, compaction.FoldThreshold, j.MaxRecords)
	var kept []fact
	for _, k := range slices.SortedFunc(maps.Keys(byKey), page.Key.Compare) {
		h := byKey[k]
		slices.SortStableFunc(h, func(a, b fact) int { return compareFacts(&a, &b) })
		var released []page.LSN
		for _, p := range s.Retain {
			if page.NewSet(p.Released...).Contains(k) {
				released = append(released, p.LSN)
			}
		}
		out, err := foldKey(r, h, released, w.below(k, j.Rect.LSNs.Start))
		if err != nil {
			return nil, fmt.Errorf("key %s: %w", k, err)
		}
		kept = append(kept, out...)
	}
	return kept, nil
}

// below reads what a key holds just below a fold. What fails to read there is not needed.
func (w *World) below(k page.Key, start page.LSN) State {
	state, err := w.readLayers(k, start-1)
	if err != nil {
		return 0
	}
	return state
}

// foldKey does the steps of a Retention.
func foldKey(r *compaction.Retention, history []fact, released []page.LSN, state State) ([]fact, error) {
	r.Reset(released)
	var held, kept []fact
	do := func(steps []compaction.Step, err error) error {
		if err != nil {
			return err
		}
		for _, step := range steps {
			if step.Do != compaction.PutImage && step.N > len(held) {
				return errors.New("retention takes what is not held")
			}
			switch step.Do {
			case compaction.Skip:
				held = held[:len(held)-step.N]
			case compaction.Forget:
				held = held[step.N:]
			case compaction.Apply, compaction.Write:
				for _, f := range held[:step.N] {
					state = f.after(state)
					if step.Do == compaction.Write {
						kept = append(kept, f)
					}
				}
				held = held[step.N:]
			case compaction.PutImage:
				kept = append(kept, fact{key: history[0].key, lsn: step.LSN, size: imageSize, image: true, state: state})
			}
		}
		return nil
	}
	for _, f := range history {
		held = append(held, f)
		if err := do(r.Add(compaction.Version{LSN: f.lsn, Image: f.image, WillInit: f.willInit})); err != nil {
			return nil, err
		}
	}
	if err := do(r.Finish()); err != nil {
		return nil, err
	}
	if len(held) > 0 {
		return nil, errors.New("retention left versions undecided")
	}
	return kept, nil
}
