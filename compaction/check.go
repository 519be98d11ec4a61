package compaction

import (
	"errors"
	"fmt"
	"slices"

	"github.com/stratapg/strata/page"
)

// CheckJob refuses a job that, done as described, would do harm: lose a version that some read needs, make layers that
// overlap or straddle others, look like an L0, have the name of another, lie above what is
// durable, or leave a hole between images that nothing would ever close.
func CheckJob(s *Snapshot, j *Job) error {
	if err := checkJob(s, j); err != nil {
		return fmt.Errorf("%s job over %s: %w", j.Kind, j.Rect, err)
	}
	return nil
}

func checkJob(s *Snapshot, j *Job) error {
	if err := checkIndexes(s, j); err != nil {
		return err
	}
	if j.Kind == Drop {
		if len(j.Inputs) > 0 {
			return errors.New("a drop has no inputs")
		}
		return CheckRemoval(s, j.Obsolete, nil, j)
	}
	if j.Rect.Keys.Empty() || j.Rect.LSNs.Empty() {
		return errors.New("the rectangle is empty")
	}
	if j.Rect.LSNs.End > s.DiskConsistentLSN+1 {
		return fmt.Errorf("the rectangle reaches above %s, up to which all is durable", s.DiskConsistentLSN)
	}
	var err error
	switch j.Kind {
	case Image:
		err = checkImageJob(s, j)
	case Retile:
		err = checkGathering(s, j)
	case Fold:
		err = errors.Join(checkGathering(s, j), checkFold(s, j))
	default:
		err = fmt.Errorf("kind %d is unknown", j.Kind)
	}
	if err != nil {
		return err
	}
	whole := j.whole(s.Generation)
	if j.Cut == nil && j.Kind != Fold {
		if err := checkName(s, whole.Layer.ID); err != nil {
			return err
		}
	}
	return checkObsolete(s, j, whole)
}

// checkObsolete judges what the job would remove. Of inputs that it covers in part only that part counts, since only that
// moves.
func checkObsolete(s *Snapshot, j *Job, whole Output) error {
	c, err := newJudge(s, j.Obsolete, []Output{whole}, j)
	if err != nil {
		return err
	}
	for _, i := range j.Obsolete {
		within := page.FullRange
		if c.inputs[i] {
			within = j.Rect.Keys
		}
		if err := c.check(i, within); err != nil {
			return err
		}
	}
	return nil
}

// whole is the output of a job that makes one.
func (j *Job) whole(generation uint32) Output {
	l := Layer{ID: ID{Keys: j.Rect.Keys, LSNs: j.Rect.LSNs, Generation: generation}}
	if j.Kind == Image {
		l.Image, l.LSNs.End = true, l.LSNs.Start+1
	}
	return Output{Layer: l, Rect: j.Rect, Folded: j.Kind == Fold}
}

func checkIndexes(s *Snapshot, j *Job) error {
	seen := map[int]bool{}
	for _, i := range j.Inputs {
		if i < 0 || i >= len(s.Layers) {
			return fmt.Errorf("input number %d of %d layers", i, len(s.Layers))
		}
		if seen[i] {
			return fmt.Errorf("input %s is named twice", s.Layers[i].ID)
		}
		seen[i] = true
	}
	return nil
}

// checkName refuses a name that a live layer bears or one that waits for its deletion.
func checkName(s *Snapshot, id ID) error {
	if id.Generation != s.Generation {
		return fmt.Errorf("output %s is of generation %d, the timeline of %d", id, id.Generation, s.Generation)
	}
	if !id.Image && id.Keys == page.FullRange {
		return fmt.Errorf("output %s would look like an L0", id)
	}
	for i := range s.Layers {
		if s.Layers[i].ID == id {
			return fmt.Errorf("output %s has the name of a live layer", id)
		}
	}
	for _, d := range s.Doomed {
		if d == id {
			return fmt.Errorf("output %s has the name of a layer that waits for its deletion", id)
		}
	}
	return nil
}

// checkImageJob refuses images where no read is served, and holes beside them.
func checkImageJob(s *Snapshot, j *Job) error {
	at := j.Rect.LSNs.Start
	switch {
	case len(j.Inputs) > 0:
		return errors.New("an image job has no inputs: it reads as everybody does")
	case j.Cut != nil:
		return errors.New("an image job makes one layer and has no cutter")
	case j.Rect.LSNs.End != at+1:
		return fmt.Errorf("an image is of one LSN, not of %s", j.Rect.LSNs)
	case at < max(s.InitialLSN, s.AncestorLSN):
		return fmt.Errorf("there is no image at %s: the timeline begins at %s", at, max(s.InitialLSN, s.AncestorLSN))
	case !s.readable(at, j.Rect.Keys):
		return fmt.Errorf("no read of all the keys is served at %s: it is below the cutoff %s and not retained", at, s.Cutoff)
	}
	return checkHole(s, j.Rect.Keys.Start)
}

// readable reports whether all keys may be read at an LSN.
func (s *Snapshot) readable(at page.LSN, keys page.Range) bool {
	if at >= s.Cutoff {
		return true
	}
	for _, r := range s.Retain {
		if r.LSN == at {
			return !page.NewSet(r.Released...).Overlaps(keys)
		}
	}
	return false
}

// checkHole refuses an image that begins behind a hole.
func checkHole(s *Snapshot, start page.Key) error {
	if hole := holeBefore(s, start); !hole.Empty() {
		return fmt.Errorf("images would leave a hole at keys %s, which hold nothing that an image of their own would be made of", hole)
	}
	return nil
}

// checkGathering refuses to move facts where layers that are no inputs are in the way.
func checkGathering(s *Snapshot, j *Job) error {
	if len(j.Inputs) == 0 {
		return errors.New("it has no inputs")
	}
	inputs, goes := marks(s, j.Inputs), marks(s, j.Obsolete)
	for i := range s.Layers {
		l := &s.Layers[i]
		if !l.Rect().Overlaps(j.Rect) || !l.Rest().Overlaps(j.Rect.Keys) {
			continue
		}
		inside := j.Rect.LSNs.Start <= l.LSNs.Start && l.LSNs.End <= j.Rect.LSNs.End
		switch in := inputs[i]; {
		case in && !inside:
			return fmt.Errorf("input %s straddles it", l.ID)
		case in && !l.Image && !goes[i]:
			return fmt.Errorf("input %s would stay beside the outputs that overlap it", l.ID)
		case !in && !l.Image:
			return fmt.Errorf("layer %s overlaps it and is no input", l.ID)
		case !in && j.Kind == Fold:
			return fmt.Errorf("image layer %s lies in it and is no input", l.ID)
		}
	}
	return nil
}

// checkFold refuses to fold at LSNs where nothing may be read, or without what lies below.
func checkFold(s *Snapshot, j *Job) error {
	f := j.Fold
	if f == nil {
		return errors.New("it does not say what it keeps")
	}
	lowest := f.Horizon
	for i, r := range f.Retain {
		if r >= f.Horizon || i > 0 && r <= f.Retain[i-1] {
			return fmt.Errorf("its retained LSNs do not ascend to its horizon %s", f.Horizon)
		}
		if !s.retained(r) {
			return fmt.Errorf("it retains %s, where nothing is read", r)
		}
		lowest = min(lowest, r)
	}
	if !j.Rect.LSNs.Contains(lowest) || !j.Rect.LSNs.Contains(f.Horizon) {
		return fmt.Errorf("its horizon %s or lowest retained LSN %s lies outside", f.Horizon, lowest)
	}
	if !f.Below && s.AncestorLSN != 0 {
		return errors.New("facts of the ancestor lie below it")
	}
	for i := range s.Layers {
		l := &s.Layers[i]
		if l.LSNs.Start >= j.Rect.LSNs.Start {
			if l.Image && l.LSNs.Start > f.Horizon && l.LSNs.Start <= s.Cutoff && l.Keys.Overlaps(j.Rect.Keys) {
				return fmt.Errorf("its horizon %s lies below image layer %s, where facts may be missing", f.Horizon, l.ID)
			}
			continue
		}
		if !f.Below && l.Rest().Overlaps(j.Rect.Keys) {
			return fmt.Errorf("facts of layer %s lie below it", l.ID)
		}
	}
	return nil
}

func (s *Snapshot) retained(at page.LSN) bool {
	if at >= s.Cutoff {
		return true
	}
	for _, r := range s.Retain {
		if r.LSN == at {
			return true
		}
	}
	return false
}

// CheckStep refuses the publication of outputs that would do harm. s is the timeline as it is now, under the lock under
// which it is published, and j names its layers; before are the outputs that j has published earlier, add those
// that are published now and remove the layers that go now.
func CheckStep(s *Snapshot, j *Job, before, add []Output, remove []int) error {
	for i := range add {
		o := &add[i]
		if err := checkOutput(s, j, o); err != nil {
			return fmt.Errorf("%s job over %s: output of %s: %w", j.Kind, j.Rect, o.Rect, err)
		}
		for _, others := range [][]Output{before, add[:i]} {
			for k := range others {
				if others[k].Rect.Overlaps(o.Rect) {
					return fmt.Errorf("%s job over %s: outputs of %s and %s overlap", j.Kind, j.Rect, others[k].Rect, o.Rect)
				}
			}
		}
	}
	if err := checkTogether(j, add); err != nil {
		return err
	}
	return CheckRemoval(s, remove, append(before[:len(before):len(before)], add...), j)
}

// checkTogether refuses outputs that are not all that the job makes of their keys: a key of which a part is published would
// be in the way of the plan that has to do the rest.
func checkTogether(j *Job, add []Output) error {
	for i := range add {
		keys, lsns := add[i].Rect.Keys, page.LSNRange{}
		var height page.LSN
		for k := range add {
			if add[k].Rect.Keys == keys {
				lsns = add[k].Rect.LSNs
				height += lsns.End - lsns.Start
			}
		}
		if whole := j.Rect.LSNs; height != whole.End-whole.Start {
			return fmt.Errorf("%s job over %s: of keys %s only a part of the LSNs is published, %s", j.Kind, j.Rect, keys, add[i].Rect.LSNs)
		}
	}
	return nil
}

func checkOutput(s *Snapshot, j *Job, o *Output) error {
	if !j.Rect.Covers(o.Rect) {
		return errors.New("it reaches beyond the job")
	}
	if o.Folded != (j.Kind == Fold) {
		return fmt.Errorf("that it is folded is %t", o.Folded)
	}
	if o.None() {
		return nil
	}
	l := &o.Layer
	switch {
	case !o.Rect.Covers(l.Rect()):
		return fmt.Errorf("layer %s reaches beyond it", l.ID)
	case j.Kind == Image && !l.Image, j.Kind == Retile && l.Image, j.Kind == Drop:
		return fmt.Errorf("layer %s is not of the job's kind", l.ID)
	case l.Image && l.LSNs.End != l.LSNs.Start+1:
		return fmt.Errorf("image %s is of more than one LSN", l.ID)
	case l.LSNs.End > s.DiskConsistentLSN+1:
		return fmt.Errorf("layer %s reaches above %s, up to which all is durable", l.ID, s.DiskConsistentLSN)
	}
	if err := checkName(s, l.ID); err != nil {
		return err
	}
	for i := range s.Layers {
		c := &s.Layers[i]
		if !l.Image && !c.Image && c.Rect().Overlaps(l.Rect()) && c.Rest().Overlaps(l.Keys) && !slices.Contains(j.Inputs, i) {
			return fmt.Errorf("layer %s overlaps layer %s", l.ID, c.ID)
		}
	}
	return nil
}
