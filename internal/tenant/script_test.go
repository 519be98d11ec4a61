package tenant

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/compaction/catalog"
	"github.com/stratapg/strata/internal/timeline"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

// script does random things to a store and compares it with its model. What it does depends on its random
// numbers alone, but where things go wrong.
type script struct {
	require.TestingT
	rnd     *rand.Rand
	options Options            // FS is set at each opening
	mem     *virtualfile.MemFS // nil: files of the operating system, and nothing goes wrong
	chaos   *chaos             // likewise
	// collects says that garbage is collected.
	collects          bool
	collected, folded int       // layers
	answers           hash.Hash // of all that was read; may be nil
	store             *Store
	hs                []*history
	snaps             []*snap
	names             int
	crashes           int
	spilled           int64
	// burst is how often a put or a read is done in one step; 0 is once.
	burst int
	done  scriptCounts
	// compacted counts jobs of explicit compactions.
	compacted int
	trace     []string // the last things that were done
}

// scriptCounts is what scripts have done. An operation is one call of a store, a timeline or a snapshot, whatever it gave: a put
// of a batch, a read of a key or of many, a flush, an opening and so on.
type scriptCounts struct{ operations, put, compared int }

func (c *scriptCounts) add(o scriptCounts) {
	c.operations += o.operations
	c.put += o.put
	c.compared += o.compared
}

func (c scriptCounts) String() string {
	return fmt.Sprintf("%d operations, %d values put, %d compared", c.operations, c.put, c.compared)
}

// snap is a snapshot with what it must say.
type snap struct {
	h   *history
	s   *timeline.Snapshot
	lsn page.LSN
	low page.LSN // that it can read
}

func (s *script) fs() virtualfile.FS {
	if s.mem == nil {
		return virtualfile.NewOS()
	}
	return s.chaos.wrap(s.mem)
}

// try opens the store.
func (s *script) try() error {
	o := s.options
	o.Config.FS = s.fs()
	s.done.operations++
	st, err := Open(context.Background(), o)
	if err == nil {
		s.store = st
	}
	return err
}

// begin makes the store, with one timeline.
func (s *script) begin() {
	require.NoError(s, s.try())
	tl, err := s.tenant().Create(context.Background(), meta("main"))
	require.NoError(s, err)
	root := newHistory("main", firstLSN, nil)
	root.id = tl.ID()
	s.hs = append(s.hs, root)
}

func (s *script) tenant() *Tenant {
	t, err := s.store.DefaultTenant()
	require.NoError(s, err)
	return t
}

func (s *script) timeline(h *history) *timeline.Timeline {
	tl, err := s.tenant().Timeline(h.id.String())
	require.NoError(s, err, h.name)
	return tl
}

func (s *script) some() *history { return s.hs[s.rnd.IntN(len(s.hs))] }

func (s *script) lsn(h *history) page.LSN {
	low := h.oldest() - 8
	return low + page.LSN(s.rnd.Uint64N(uint64(h.last-low)+1))
}

// failed reports a failure that was made; any other ends the test.
func (s *script) failed(err error) bool {
	if err == nil {
		return false
	}
	if s.chaos == nil {
		require.NoError(s, err)
	}
	return s.chaos.mayFail(s, err)
}

// do runs one step of a kind drawn by weight.
func (s *script) do() {
	type step struct {
		weight int
		name   string
		fn     func(h *history)
	}
	steps := []step{
		{300, "put", s.often(s.put)}, {300, "get", s.often(s.get)}, {60, "read", s.often(s.read)}, {60, "read snapshot", s.often(s.readSnap)},
		{12, "snapshot", s.snapshot}, {10, "end snapshot", s.endSnap}, {12, "flush", s.flush}, {8, "freeze", s.freeze},
		{8, "compact", s.compact}, {4, "strategy", s.strategy},
		{3, "branch", s.branch}, {2, "reopen", func(*history) { s.reopen() }},
	}
	if s.mem != nil {
		steps = append(steps, step{3, "crash", func(*history) { s.crash() }}, step{15, "fault", func(*history) { s.chaos.arm(s.rnd) }},
			step{3, "full", func(*history) { s.full() }})
	}
	if s.collects {
		steps = append(steps, step{6, "gc", s.gc}, step{6, "fold", s.fold}, step{6, "lease", s.lease}, step{20, "read leased", s.often(s.readLeased)})
	}
	total := 0
	for _, x := range steps {
		total += x.weight
	}
	n := s.rnd.IntN(total)
	for _, x := range steps {
		if n -= x.weight; n < 0 {
			h := s.some()
			if s.trace = append(s.trace, x.name+" "+h.name); len(s.trace) > 60 {
				s.trace = s.trace[1:]
			}
			x.fn(h)
			return
		}
	}
}

// often does something as often as a burst says.
func (s *script) often(fn func(h *history)) func(h *history) {
	return func(h *history) {
		for range max(s.burst, 1) {
			fn(h)
		}
	}
}

// full is a disk that has no room for a while.
func (s *script) full() {
	s.chaos.full++
	s.mem.SetCapacity(s.mem.Used() + int64(s.rnd.IntN(64<<10)))
	defer s.mem.SetCapacity(0)
	for range 5 {
		h := s.some()
		var b page.Batch
		lsn, trial := s.batch(h, &b)
		s.done.operations += 2
		if s.failed(s.timeline(h).Put(context.Background(), &b)) {
			return
		}
		s.done.put += b.Len()
		s.took(h, lsn, trial)
		s.failed(s.timeline(h).Flush(context.Background()))
		s.readFrom(h, s.timeline(h), h.last)
	}
}

// batch draws one: several keys, several values, at times of one key at one LSN.
func (s *script) batch(h *history, b *page.Batch) (page.LSN, *history) {
	lsn := h.last
	trial := newHistory(h.name, h.initial, h.parent)
	for range s.rnd.IntN(8) {
		prev := lsn
		lsn += page.LSN(8 * (1 + s.rnd.IntN(20)))
		for range s.rnd.IntN(4) {
			k := modelKeys[s.rnd.IntN(len(modelKeys))]
			kind := []int{0, 1, 2, 2, 2}[s.rnd.IntN(5)]
			if k.Sparse() {
				kind = 0
			}
			size := []int{0, 1, 20, 50, 900}[s.rnd.IntN(5)]
			if s.rnd.IntN(100) == 0 {
				size = 1000 + s.rnd.IntN(20000)
			}
			data := bytes.Repeat([]byte{byte('a' + s.rnd.IntN(26))}, size)
			trial.put(b, k, lsn, kind, data)
			if s.rnd.IntN(20) == 0 { // the last one wins
				trial.put(b, k, lsn, 0, []byte("again"))
			}
		}
		b.End, b.Prev = lsn, prev
	}
	if b.End == 0 {
		b.End = h.last
	}
	return b.End, trial
}

// took notes in the model that a batch was put.
func (s *script) took(h *history, lsn page.LSN, trial *history) {
	h.last = lsn
	for k, es := range trial.values {
		h.values[k] = append(h.values[k], es...)
	}
	require.Equal(s, h.last, s.timeline(h).LastRecordLSN())
}

func (s *script) put(h *history) {
	var b page.Batch
	lsn, trial := s.batch(h, &b)
	tl := s.timeline(h)
	put := tl.Put
	if s.chaos != nil && s.rnd.IntN(10) == 0 {
		put = tl.TryPut
	}
	s.done.operations++
	err := put(context.Background(), &b)
	switch {
	case errors.Is(err, timeline.ErrBackpressure) && s.chaos != nil:
	case s.failed(err):
		if errors.Is(err, virtualfile.ErrBroken) && s.rnd.IntN(4) == 0 {
			s.reopen()
			return
		}
	default:
		s.done.put += b.Len()
		s.took(h, lsn, trial)
		return
	}
	require.Equal(s, h.last, tl.LastRecordLSN(), "a batch that was not put has left something")
}

// answer adds to what all runs of the script must have in common.
func (s *script) answer(k page.Key, lsn page.LSN, v []byte) {
	if s.answers != nil {
		fmt.Fprintf(s.answers, "%s %s %d ", k, lsn, len(v))
		s.answers.Write(v)
	}
}

func (s *script) get(h *history) { s.getFrom(h, s.timeline(h), s.lsn(h)) }

func (s *script) getFrom(h *history, p pages, lsn page.LSN) {
	k := modelKeys[s.rnd.IntN(len(modelKeys))]
	s.done.operations++
	v, err := p.Get(context.Background(), k, lsn)
	want, ok, broken := h.at(k, lsn)
	switch {
	case s.refuses(h, p, lsn):
		require.ErrorIs(s, err, timeline.ErrBeforeHistory)
	case broken && errors.Is(err, timeline.ErrCorrupt), !ok && errors.Is(err, page.ErrNotFound):
	case err != nil:
		s.failed(err)
	default:
		require.True(s, ok && !broken, "%s at %s in %s is not to be found: %q", k.Describe(), lsn, h.name, v)
		if !bytes.Equal(want, v) {
			require.Fail(s, "a wrong value", "%s at %s in %s: want %q, got %q\n%s", k.Describe(), lsn, h.name, want, v, s.explain(h, p, k, lsn))
		}
		s.done.compared++
		s.answer(k, lsn, v)
	}
}

func (s *script) read(h *history) { s.readFrom(h, s.timeline(h), s.lsn(h)) }

func (s *script) readFrom(h *history, p pages, lsn page.LSN) {
	set := modelSets[s.rnd.IntN(len(modelSets))]
	s.done.operations++
	if s.refuses(h, p, lsn) {
		require.ErrorIs(s, p.GetVectored(context.Background(), set, lsn, nil), timeline.ErrBeforeHistory)
		return
	}
	got := map[page.Key]bool{}
	var before page.Key
	err := p.GetVectored(context.Background(), set, lsn, func(k page.Key, v []byte, err error) error {
		require.True(s, before.Less(k), "keys out of order")
		before, got[k] = k, true
		want, ok, broken := h.at(k, lsn)
		if !ok && s.failed(err) { // it says that the key is gone, but cannot be read
			delete(got, k)
			return nil
		}
		require.True(s, ok, "%s at %s in %s: %q", k.Describe(), lsn, h.name, v)
		switch {
		case broken:
			require.Error(s, err)
		case err != nil:
			s.failed(err)
		default:
			if !bytes.Equal(want, v) {
				require.Fail(s, "a wrong value", "%s at %s in %s: want %q, got %q\n%s", k.Describe(), lsn, h.name, want, v, s.explain(h, p, k, lsn))
			}
			s.done.compared++
			s.answer(k, lsn, v)
		}
		return nil
	})
	if s.failed(err) {
		return
	}
	for _, k := range modelKeys {
		_, ok, _ := h.at(k, lsn)
		if (ok && set.Contains(k)) != got[k] {
			require.Fail(s, "a key too many or too few", "%s at %s in %s: it is there: %v\n%s", k.Describe(), lsn, h.name, ok, s.explain(h, p, k, lsn))
		}
	}
}

func (s *script) snapshot(h *history) {
	lsn := max(s.lsn(h), h.oldest())
	s.done.operations++
	sn, err := s.timeline(h).Snapshot(context.Background(), lsn)
	require.NoError(s, err)
	s.snaps = append(s.snaps, &snap{h, sn, lsn, min(lsn, h.oldest())})
	if len(s.snaps) > 5 {
		s.endSnap(nil)
	}
}

func (s *script) readSnap(*history) {
	if len(s.snaps) == 0 {
		return
	}
	x := s.snaps[s.rnd.IntN(len(s.snaps))]
	lsn := x.low + page.LSN(s.rnd.Uint64N(uint64(x.lsn-x.low)+1))
	s.done.operations++
	_, err := x.s.Get(context.Background(), modelKeys[0], x.lsn+1)
	require.ErrorIs(s, err, timeline.ErrFutureLSN)
	if s.rnd.IntN(4) == 0 {
		s.readFrom(x.h, x.s, lsn)
	} else {
		s.getFrom(x.h, x.s, lsn)
	}
}

func (s *script) endSnap(*history) {
	if len(s.snaps) > 0 {
		s.snaps[0].s.Close()
		s.snaps = s.snaps[1:]
	}
}

func (s *script) flush(h *history) {
	s.done.operations++
	if !s.failed(s.timeline(h).Flush(context.Background())) {
		require.Equal(s, h.last, s.timeline(h).DiskConsistentLSN())
	}
}

func (s *script) freeze(h *history) {
	s.done.operations++
	require.NoError(s, s.timeline(h).Freeze(context.Background()))
}

func (s *script) branch(h *history) {
	if len(s.hs) == 8 {
		return
	}
	at := max(s.lsn(h), h.oldest())
	s.names++
	s.done.operations++
	name := fmt.Sprintf("branch%d", s.names)
	tl, err := s.tenant().Branch(context.Background(), s.timeline(h), name, page.TimelineID{}, at)
	if s.tooLate(h, at, err) || s.failed(err) {
		return
	}
	require.LessOrEqual(s, tl.Meta().AncestorLSN, at)
	child := newHistory(name, tl.Meta().AncestorLSN, h)
	child.id = tl.ID()
	s.hs = append(s.hs, child)
}

// drawStrategy gives one of those there are.
func (s *script) drawStrategy() compaction.Strategy {
	names := catalog.Names()
	return strategyNamed(s, names[s.rnd.IntN(len(names))])
}

// strategy has the background go on with another strategy.
func (s *script) strategy(h *history) { s.timeline(h).SetStrategy(s.drawStrategy()) }

// compact compacts under any strategy, whatever compacted before, and at times gives up on the way.
func (s *script) compact(h *history) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	req := timeline.CompactRequest{Strategy: s.drawStrategy(), Thorough: s.rnd.IntN(2) == 0}
	left := atomic.Int64{}
	left.Store(int64(s.rnd.IntN(20) - 10))
	given := left.Load() > 0
	if given {
		req.Progress = func(timeline.CompactionInfo) {
			if left.Add(-1) == 0 {
				cancel()
			}
		}
	}
	s.done.operations++
	r, err := s.timeline(h).Compact(ctx, req)
	s.compacted += r.Jobs
	if given && errors.Is(err, context.Canceled) {
		return
	}
	s.failed(err)
}

func (s *script) durable() map[*history]page.LSN {
	m := map[*history]page.LSN{}
	for _, h := range s.hs {
		m[h] = s.timeline(h).DiskConsistentLSN()
	}
	return m
}

// crash goes on with what a crash leaves.
func (s *script) crash() {
	s.crashes++
	durable := s.durable()
	mem := s.mem.CrashClone(s.rnd.Uint64())
	s.chaos.disarm()
	s.close()
	s.mem = mem
	s.settle(durable)
}

// reopen goes on with what the process has left, with all that it could not write lost.
func (s *script) reopen() {
	if s.chaos != nil && s.rnd.IntN(2) == 0 {
		s.chaos.disarm()
	}
	durable := s.durable()
	if s.close() == nil {
		for _, h := range s.hs {
			durable[h] = h.last
		}
	}
	s.settle(durable)
}

// close closes the store; some snapshots end before, some after.
func (s *script) close() error {
	s.spilled += s.store.Metrics().Mems.Written
	early := s.rnd.IntN(len(s.snaps) + 1)
	for _, x := range s.snaps[:early] {
		x.s.Close()
	}
	err := s.store.Close()
	s.failed(err)
	for _, x := range s.snaps[early:] {
		x.s.Close()
	}
	s.snaps = nil
	return err
}

// settle opens the store: each timeline must reach at least what was acknowledged.
func (s *script) settle(durable map[*history]page.LSN) {
	if s.chaos != nil {
		if s.rnd.IntN(2) == 0 {
			s.chaos.arm(s.rnd) // opening may fail once
		}
		if s.failed(s.try()) {
			s.chaos.disarm()
			require.NoError(s, s.try())
		}
		s.chaos.disarm()
	} else {
		require.NoError(s, s.try())
	}
	for _, h := range s.hs {
		last := s.timeline(h).LastRecordLSN()
		require.GreaterOrEqual(s, last, durable[h], "%s has lost what was durable", h.name)
		require.LessOrEqual(s, last, h.last)
		h.cut(last)
	}
	s.noteCutoffs()
	if s.chaos != nil {
		for _, h := range s.hs { // what a fault in opening has broken shows here
			s.failed(s.timeline(h).GetVectored(context.Background(), modelSets[0], h.last, func(page.Key, []byte, error) error { return nil }))
		}
		s.chaos.forget()
	}
	for _, h := range s.hs {
		h.same(s, s.timeline(h), modelSets[0], h.last)
		s.answer(page.Key{}, h.last, nil)
	}
}

// end closes the store after a last look at everything.
func (s *script) end() {
	if s.chaos != nil {
		s.chaos.disarm()
	}
	s.reopen()
	for _, h := range slices.Backward(s.hs) {
		for range 10 {
			s.read(h)
		}
	}
	require.NoError(s, s.store.Close())
}

func (s *script) String() string { return strings.Join(s.trace, "\n") }
