package timeline

import (
	"context"
	"fmt"
	"slices"

	"github.com/stratapg/strata/internal/timeline/manifest"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
)

// Commit makes the branch a timeline without ancestor, durably and in one step. After an error it is a branch as before;
// if that could not be written either, the next start finds one or the other.
//
// Until Settled, nothing is collected of the timeline, and the ancestor keeps for it what it had: remote storage may have it as a
// branch yet.
func (d *Detachment) Commit(ctx context.Context) error {
	err := d.t.whileOpen(ctx, d.commit)
	if err != nil {
		err = fmt.Errorf("timeline %s: detaching from %s: %w", d.t.meta.Name, d.a.meta.Name, err)
	}
	return err
}

func (d *Detachment) commit(ctx context.Context) (err error) {
	t := d.t
	if err := t.compact.turn.take(ctx); err != nil {
		return err
	}
	defer t.compact.turn.give()
	defer func() {
		if err != nil { // before the branch makes images with the names of these
			d.discard()
		}
	}()
	if err := t.settleSuspects(ctx); err != nil {
		return err
	}
	if t.from() != d.from {
		return fmt.Errorf("%w: it comes from elsewhere by now", ErrNoAncestor)
	}
	if err := d.bringLate(ctx); err != nil {
		return err
	}
	if err := t.flusher.take(ctx); err != nil {
		return err
	}
	defer t.flusher.give()
	outs := make([]output, len(d.outs))
	for i := range d.outs {
		outs[i] = d.outs[i].output
	}
	if err := t.placeOutputs(outs); err != nil {
		return err
	}
	return d.publish()
}

// bringLate makes the images at the branch LSN, but those that the branch has made itself, which say the same of its state. The caller has
// the compactor's turn, so that nobody makes any meanwhile.
func (d *Detachment) bringLate(ctx context.Context) error {
	lacks := func(keys page.Range) bool {
		_, there := d.t.view.Load().layers.Find(layer.Desc{Keys: keys, LSNs: page.LSNRange{Start: d.from.lsn, End: d.from.lsn + 1}, Image: true})
		return !there
	}
	for _, l := range d.late {
		if l.Keys == page.NotInherited || !lacks(l.Keys) {
			continue
		}
		if err := d.adopt(ctx, l, d.image); err != nil {
			return err
		}
	}
	if !lacks(page.NotInherited) {
		return nil
	}
	out, err := d.tombstones(ctx)
	d.outs = append(d.outs, out)
	return err
}

// publish makes the step. The caller has both turns.
func (d *Detachment) publish() error {
	t, lsn := d.t, d.from.lsn
	next := &descent{initial: d.a.from().initial, lineage: d.from.lineage}
	next.lineage.Original, next.lineage.OriginalLSN, next.lineage.Unsettled = d.from.id, lsn, true
	next.lineage.DetachedAt = t.env.Clock().UTC()
	e := manifest.Edit{Descent: next.edit()}
	cutoff := t.ownCutoff()
	if cutoff == 0 && d.state.Cutoff > 0 {
		cutoff = min(d.state.Cutoff, lsn)
		e.Cutoff = cutoff
	}
	var away, bytes int64
	for i := range d.outs {
		o := &d.outs[i]
		if o.desc.Size == 0 {
			continue
		}
		e.Add = append(e.Add, o.desc)
		e.Chains = append(e.Chains, o.chains...)
		bare := o.desc
		bare.Size = 0
		if !o.moved.Empty() {
			e.Moved = append(e.Moved, manifest.Moved{Layer: bare, Keys: o.moved.Ranges()})
		}
		if o.remote != nil {
			e.Remote = append(e.Remote, *o.remote)
		}
		if o.away {
			away++
		}
		bytes += o.desc.Size
	}
	t.files.absent.Add(away)
	t.kept.settling.Store(true)
	d.a.keepFor(t, lsn)
	d.done = true // a crash may bring the edit back, whatever comes of it here
	err := t.publishDescent(&e, next, func() {
		t.planCutoff(cutoff)
		t.kept.cutoff.Store(uint64(cutoff))
	})
	if err != nil {
		t.kept.settling.Store(false)
		return err
	}
	d.a.dropChild(t)
	t.inheritHeld(d.a, lsn)
	c := &t.env.counters
	c.detached.Add(1)
	c.adopted.Add(int64(len(e.Add)))
	c.adoptedBytes.Add(bytes)
	return nil
}

// publishDescent publishes where the timeline comes from, with layers that are in place, and shows it. ready is called between.
// The caller has the flusher's turn, and the compactor's if there are layers.
func (t *Timeline) publishDescent(e *manifest.Edit, next *descent, ready func()) error {
	return t.publishStep(e, func(v *view) { v.from = next }, ready)
}

// inheritHeld holds here what is held in the ancestor of what has become the timeline's own history: leases for as long as
// there, work that runs for as long as Neon's leases are.
func (t *Timeline) inheritHeld(a *Timeline, lsn page.LSN) {
	now := t.env.Clock()
	a.kept.mu.Lock()
	var all []held
	for _, h := range a.kept.mu.held {
		if h.lsn <= lsn && h.live(now) {
			x := held{lsn: h.lsn, top: min(h.top, lsn), until: h.until}
			if h.works > 0 && x.until.Before(now.Add(heldWorks)) {
				x.until = now.Add(heldWorks)
			}
			all = append(all, x)
		}
	}
	a.kept.mu.Unlock()
	k := &t.kept
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, h := range all {
		i, there := k.findLocked(h.lsn)
		if !there {
			k.mu.held = slices.Insert(k.mu.held, i, &held{lsn: h.lsn})
		}
		x := k.mu.held[i]
		if x.top = max(x.top, h.top); h.until.After(x.until) {
			x.until = h.until
		}
	}
}

// Reparent has the timeline, a branch, branch from another one at the same LSN, which has the same history up to there. What it branched from
// keeps what it had for it until Forget. ErrBeforeHistory says that the other one's history there was collected.
func (t *Timeline) Reparent(ctx context.Context, to *Timeline) error {
	err := t.whileOpen(ctx, func(ctx context.Context) error { return t.reparent(ctx, to) })
	if err != nil {
		err = fmt.Errorf("timeline %s: branching from %s instead: %w", t.meta.Name, to.meta.Name, err)
	}
	return err
}

func (t *Timeline) reparent(ctx context.Context, to *Timeline) error {
	if err := t.flusher.take(ctx); err != nil {
		return err
	}
	defer t.flusher.give()
	d := t.from()
	switch old := d.ancestor; {
	case old == to:
		return nil
	case old == nil:
		return ErrNoAncestor
	case old.id.Timeline != to.from().lineage.Original || d.lsn > to.from().lineage.OriginalLSN:
		return fmt.Errorf("it branches at LSN %s from %s, which is another history", d.lsn, old.meta.Name)
	}
	if !to.Unsettled() {
		release, err := to.holdState(d.lsn, d.lsn)
		if err != nil {
			return err
		}
		defer release()
	}
	next := &descent{ancestor: to, id: to.meta.Timeline, lsn: d.lsn, initial: d.initial, lineage: d.lineage.After(d.id)}
	to.addChild(t)
	d.ancestor.keepFor(t, d.lsn)
	if err := t.publishDescent(&manifest.Edit{Descent: next.edit()}, next, nil); err != nil {
		return err
	}
	d.ancestor.dropChild(t)
	return nil
}

// Unsettled says whether the timeline was detached from its ancestor, and that has not ended.
func (t *Timeline) Unsettled() bool { return t.from().lineage.Unsettled }

// Settled ends a detachment: remote storage has it, and all that branched from original, which may be nil, have become branches of the timeline.
func (t *Timeline) Settled(ctx context.Context, original *Timeline) error {
	if err := t.flusher.take(ctx); err != nil {
		return err
	}
	defer t.flusher.give()
	d := *t.from()
	if d.lineage.Unsettled {
		d.lineage.Unsettled = false
		if err := t.publishDescent(&manifest.Edit{Descent: d.edit()}, &d, nil); err != nil {
			return fmt.Errorf("timeline %s: %w", t.meta.Name, err)
		}
	}
	t.kept.settling.Store(false)
	if original != nil {
		for id := range t.neededOf(original, d.lineage.OriginalLSN) {
			original.Forget(id)
		}
	}
	t.wakeCompactor()
	return nil
}

// KeepUnsettled has original keep what remote storage may say yet that it is the ancestor of.
func (t *Timeline) KeepUnsettled(original *Timeline) {
	original.keepFor(t, t.from().lineage.OriginalLSN)
}

// keepFor keeps what a timeline, which may come from elsewhere soon, and what descends from it, need of a at lsn.
func (a *Timeline) keepFor(t *Timeline, lsn page.LSN) {
	needed := t.neededOf(a, lsn)
	a.kept.mu.Lock()
	defer a.kept.mu.Unlock()
	if a.kept.mu.absent == nil {
		a.kept.mu.absent = map[page.TimelineID]page.LSN{}
	}
	for id, lsn := range needed {
		a.kept.mu.absent[id] = lsn
	}
}

// neededOf gives the LSNs at which the timeline, and what descends from it, comes to another one if it branches from that at lsn.
func (t *Timeline) neededOf(a *Timeline, lsn page.LSN) map[page.TimelineID]page.LSN {
	out := map[page.TimelineID]page.LSN{t.meta.Timeline: lsn}
	t.addNeeded(a, lsn, out)
	return out
}

func (t *Timeline) addNeeded(a *Timeline, lsn page.LSN, out map[page.TimelineID]page.LSN) {
	for _, c := range t.branches() {
		below := lsn
		if at := c.from().lsn; at <= lsn {
			out[c.meta.Timeline], below = at, at
		}
		c.addNeeded(a, below, out)
	}
	t.kept.mu.Lock()
	defer t.kept.mu.Unlock()
	for id, at := range t.kept.mu.absent {
		if _, there := out[id]; !there && at <= lsn {
			out[id] = at
		}
	}
}

// dropChild forgets a branch that comes from elsewhere now.
func (a *Timeline) dropChild(t *Timeline) {
	a.kept.mu.Lock()
	defer a.kept.mu.Unlock()
	a.dropChildLocked(t.meta.Timeline)
}
