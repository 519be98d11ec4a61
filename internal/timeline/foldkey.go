package timeline

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
)

// foldKey folds the history of one key after the other.
type foldKey struct {
	f     *folding
	out   *foldOutput
	rules *compaction.Retention

	key      page.Key
	any      bool // there is a key
	absent   []page.LSN
	held     []foldVersion // that the rules have not decided about; the oldest first
	state    pageState
	released releases
	last     page.LSN // of the newest version
	some     bool     // anything was written of the key
}

// foldVersion is a version that is held.
type foldVersion struct {
	lsn      page.LSN
	value    []byte // serialized; owned
	image    bool
	willInit bool
	absent   bool // an image layer says that the key does not exist here
}

func newFoldKey(f *folding, out *foldOutput) *foldKey {
	k := &foldKey{f: f, out: out, rules: compaction.NewRetention(f.r.job.Fold, compaction.FoldThreshold, f.r.job.MaxRecords)}
	if k.state.t = f.t; !f.images() {
		k.state.below = f.pageBelow
	}
	k.released.of(f)
	return k
}

// begin takes the next key. images are the inputs' image layers, by LSN.
func (k *foldKey) begin(key page.Key, images []*layer.Desc) {
	k.key, k.any, k.some, k.last = key, true, false, 0
	k.rules.Reset(k.released.at(key))
	k.state.begin(key)
	k.absent = k.absent[:0]
	for _, d := range images {
		if d.Keys.Contains(key) && (len(k.absent) == 0 || k.absent[len(k.absent)-1] != d.LSNs.Start) {
			k.absent = append(k.absent, d.LSNs.Start)
		}
	}
}

// add takes the key's next version.
func (k *foldKey) add(ctx context.Context, m *layer.Merged) error {
	if err := k.addAbsent(ctx, m.LSN, m.Image); err != nil {
		return err
	}
	v := foldVersion{lsn: m.LSN, image: m.Image, willInit: m.WillInit}
	if m.Image {
		v.value = (&page.Value{Kind: page.KindImage, Bytes: m.Value}).Append(k.state.take())
	} else {
		image, err := imageOf(m.Value)
		if err != nil {
			return &brokenKey{k.key, fmt.Errorf("%w: value at LSN %s: %w", ErrCorrupt, m.LSN, err)}
		}
		v.image = image != nil || err == nil && isImage(m.Value)
		v.value = append(k.state.take(), m.Value...)
	}
	return k.push(ctx, v)
}

// isImage reports whether a serialized value is an image, also an empty one.
func isImage(b []byte) bool {
	v, err := page.DecodeValue(b)
	return err == nil && v.Kind == page.KindImage
}

// addAbsent adds what image layers below lsn that do not have the key say. At lsn itself an image tells for a record;
// found says that an image layer there has the key.
func (k *foldKey) addAbsent(ctx context.Context, lsn page.LSN, found bool) error {
	for len(k.absent) > 0 && k.absent[0] <= lsn {
		at := k.absent[0]
		k.absent = k.absent[1:]
		if at == lsn && found {
			continue
		}
		if err := k.push(ctx, foldVersion{lsn: at, image: true, absent: true}); err != nil {
			return err
		}
	}
	return nil
}

// push has the rules decide.
func (k *foldKey) push(ctx context.Context, v foldVersion) error {
	k.held = append(k.held, v)
	k.last = max(k.last, v.lsn)
	steps, err := k.rules.Add(compaction.Version{LSN: v.lsn, Image: v.image, WillInit: v.willInit})
	if err != nil {
		return &brokenKey{k.key, err}
	}
	return k.do(ctx, steps)
}

// finish ends the key.
func (k *foldKey) finish(ctx context.Context) error {
	if !k.any {
		return nil
	}
	k.any = false
	if err := k.addAbsent(ctx, page.MaxLSN, false); err != nil {
		return err
	}
	steps, err := k.rules.Finish()
	if err != nil {
		return &brokenKey{k.key, err}
	}
	if len(steps) > 0 && k.f.gone(k.key, k.last) {
		// It exists no more wherever what is left would be read.
		k.drop(len(k.held))
		if !k.some {
			k.f.t.env.counters.foldKeys.Add(1)
		}
		return nil
	}
	return k.do(ctx, steps)
}

// do carries out what the rules say.
func (k *foldKey) do(ctx context.Context, steps []compaction.Step) error {
	for _, s := range steps {
		var err error
		switch s.Do {
		case compaction.Skip:
			n := len(k.held) - s.N
			k.f.t.env.counters.foldDropped.Add(int64(s.N))
			for _, v := range k.held[n:] {
				k.state.give(v.value)
			}
			k.held = k.held[:n]
		case compaction.Forget:
			k.drop(s.N)
		case compaction.Apply:
			k.f.t.env.counters.foldDropped.Add(int64(s.N))
			err = k.apply(ctx, s.N)
		case compaction.Write:
			err = k.write(ctx, s.N)
		case compaction.PutImage:
			err = k.putImage(ctx, s.LSN)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// drop lets go of the oldest n.
func (k *foldKey) drop(n int) {
	k.f.t.env.counters.foldDropped.Add(int64(n))
	for _, v := range k.held[:n] {
		k.state.give(v.value)
	}
	k.held = slices.Delete(k.held, 0, n)
}

func (k *foldKey) apply(ctx context.Context, n int) error {
	for i := range n {
		if err := k.state.apply(ctx, &k.held[i]); err != nil {
			return err
		}
	}
	k.held = slices.Delete(k.held, 0, n)
	return nil
}

// write writes the oldest n as they are.
func (k *foldKey) write(ctx context.Context, n int) error {
	for i := range n {
		v := &k.held[i]
		if err := k.writeVersion(ctx, v); err != nil {
			return err
		}
		if k.rules.Above() {
			k.state.give(v.value)
		} else if err := k.state.apply(ctx, v); err != nil {
			return err
		}
	}
	k.held = slices.Delete(k.held, 0, n)
	return nil
}

func (k *foldKey) writeVersion(ctx context.Context, v *foldVersion) error {
	if v.absent {
		return k.writeAbsent(ctx, v.lsn)
	}
	k.some = true
	return k.out.delta(ctx, k.key, v.lsn, v.image || v.willInit, v.value)
}

// writeAbsent says that the key does not exist from an LSN on. Of keys that are not metadata the directories say that.
func (k *foldKey) writeAbsent(ctx context.Context, lsn page.LSN) error {
	if !k.key.Sparse() {
		return nil
	}
	return k.out.delta(ctx, k.key, lsn, true, (&page.Value{Kind: page.KindImage}).Append(nil))
}

// putImage writes the state as of an LSN.
func (k *foldKey) putImage(ctx context.Context, lsn page.LSN) error {
	v, exists, err := k.state.page(ctx, lsn)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return &brokenKey{k.key, err}
	}
	if lsn == k.f.low && k.f.images() {
		if !exists || len(v) == 0 && k.key.Sparse() {
			return nil // an image layer says so by not having it
		}
		k.some = true
		k.f.t.env.counters.foldImages.Add(1)
		return k.out.image(ctx, k.key, v)
	}
	if !exists {
		return k.writeAbsent(ctx, lsn)
	}
	k.some = true
	k.f.t.env.counters.foldImages.Add(1)
	buf := (&page.Value{Kind: page.KindImage, Bytes: v}).Append(k.state.take())
	defer k.state.give(buf)
	return k.out.delta(ctx, k.key, lsn, true, buf)
}

// errAbsent says that records were to be applied to a page that does not exist.
var errAbsent = errors.New("there is no page to begin with")
