package tenant

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/internal/timeline"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

// TestEveryFault runs one script over and over, and each time another operation on a file fails. Whatever
// fails: what was acknowledged is there afterwards, when the next process opens the store and after a crash;
// what that process then acknowledges is there after the next crash; and reads are right all the time. In the
// long form all operations have their turn, in the others some.
func TestEveryFault(t *testing.T) {
	noLeaks(t)
	rnd := testkit.Rand(t, 1)
	stride := testkit.Size(43, 2, 1)
	for _, c := range []struct {
		name  string
		fault *virtualfile.Fault
		torn  int // sizes of torn writes are multiples of it
	}{
		{"EIO once", &virtualfile.Fault{Err: syscall.EIO}, 37},
		{"EIO from there on", &virtualfile.Fault{Err: syscall.EIO, Sticky: true}, 1031},
		{"full disk once", &virtualfile.Fault{Err: syscall.ENOSPC}, 512},
		{"full disk", &virtualfile.Fault{Err: syscall.ENOSPC, Sticky: true}, 37},
		{"lost sync", &virtualfile.Fault{Op: virtualfile.OpSync, Effect: virtualfile.Lose, Err: syscall.EIO}, 0},
		{"short transfers", &virtualfile.Fault{Effect: virtualfile.Short}, 512},
	} {
		t.Run(c.name, func(t *testing.T) {
			for n := 1 + rnd.IntN(stride); ; n += stride {
				fault := &virtualfile.Fault{
					Op: c.fault.Op, Effect: c.fault.Effect, Err: c.fault.Err, Sticky: c.fault.Sticky, Nth: n, Torn: n * c.torn % 9000,
				}
				if !faultAt(t, n, fault) {
					t.Logf("of %d operations, one in %d was hit", n-1, stride)
					break
				}
			}
		})
	}
}

// faultAt runs the script with a fault, and reports whether it has hit anything.
func faultAt(t *testing.T, n int, fault *virtualfile.Fault) bool {
	defer func() {
		if t.Failed() {
			t.Logf("the fault hit operation %d", n)
		}
	}()
	mem := virtualfile.NewMem()
	r := faultRun{T: t, fault: fault, acked: map[string]page.LSN{}}
	r.script(virtualfile.NewFaulty(mem, fault))
	if fault.Hits() == 0 {
		require.Len(t, r.acked, 2)
	}
	crashed := mem.CrashClone(uint64(n))
	for _, after := range []*virtualfile.MemFS{crashed, mem} {
		hs := r.goOn(after)
		for seed := range uint64(testkit.Size(1, 1, 20)) {
			checkAll(t, after.CrashClone(seed+uint64(n)<<8), hs)
		}
	}
	return fault.Hits() > 0
}

// faultRun is a run of the script: what each timeline was put, and what of it was acknowledged as durable.
type faultRun struct {
	*testing.T
	fault *virtualfile.Fault
	hs    []*history
	acked map[string]page.LSN
}

// mayFail allows an error of the fault, or of what it has broken for good.
func (r *faultRun) mayFail(err error) bool {
	if err == nil {
		return false
	}
	require.Positive(r, r.fault.Hits(), "%v", err)
	require.NotNil(r, r.fault.Err, "%v", err)
	if !errors.Is(err, virtualfile.ErrBroken) {
		require.ErrorIs(r, err, r.fault.Err)
	}
	return true
}

func (r *faultRun) script(fs virtualfile.FS) {
	ctx := context.Background()
	s, err := Open(ctx, testOptions(fs))
	if r.mayFail(err) {
		return
	}
	defer s.Close()
	tn, err := s.DefaultTenant()
	require.NoError(r, err)
	main := newHistory("main", firstLSN, nil)
	r.hs = append(r.hs, main)
	tl, err := tn.Create(ctx, meta("main"))
	if r.mayFail(err) {
		if tl, err = tn.Create(ctx, meta("main")); r.mayFail(err) {
			return
		}
	}
	r.acked["main"] = firstLSN
	for i := range 12 {
		r.step(main, tl, i)
	}
	child := newHistory("child", main.last, main)
	r.hs = append(r.hs, child)
	c, err := tn.Branch(ctx, tl, "child", page.TimelineID{}, main.last)
	if !r.mayFail(err) {
		r.acked["child"], r.acked["main"] = main.last, main.last // what a branch relies on is durable
		for i := range 8 {
			r.step(child, c, i)
		}
	}
	r.recovers(main, tl)
	if r.mayFail(s.Close()) {
		return
	}
	for _, h := range r.hs {
		if _, ok := r.acked[h.name]; ok {
			r.acked[h.name] = h.last
		}
	}
}

// step puts a record, sometimes flushes, and reads.
func (r *faultRun) step(h *history, tl *timeline.Timeline, i int) {
	ctx := context.Background()
	kind := 2
	if i == 0 {
		kind = 0
	}
	if !r.put(h, tl, kind, bytes.Repeat([]byte{byte('a' + i)}, 700)) {
		return
	}
	if i%4 == 3 && !r.mayFail(tl.Flush(ctx)) {
		r.acked[h.name] = h.last
	}
	r.acked[h.name] = max(r.acked[h.name], tl.DiskConsistentLSN())
	v, err := tl.Get(ctx, modelKeys[0], h.last)
	if r.mayFail(err) {
		return // a layer that cannot be read now is an error, and no older page
	}
	want, _, _ := h.at(modelKeys[0], h.last)
	require.True(r, bytes.Equal(want, v))
}

func (r *faultRun) put(h *history, tl *timeline.Timeline, kind int, data []byte) bool {
	var b page.Batch
	lsn := h.last + 8
	trial := newHistory(h.name, h.initial, h.parent)
	trial.put(&b, modelKeys[0], lsn, kind, data)
	if r.mayFail(tl.Put(context.Background(), &b)) {
		return false
	}
	h.values[modelKeys[0]] = append(h.values[modelKeys[0]], trial.values[modelKeys[0]]...)
	h.last = lsn
	return true
}

// recovers: a fault that has passed is over, unless the timeline says that it can write no more.
func (r *faultRun) recovers(h *history, tl *timeline.Timeline) {
	if r.fault.Sticky {
		return
	}
	err := tl.Flush(context.Background())
	if err == nil {
		if r.put(h, tl, 2, []byte("after")) {
			err = tl.Flush(context.Background())
		}
	}
	if err == nil {
		require.Empty(r, tl.Info().WriteError)
		require.Equal(r, h.last, tl.DiskConsistentLSN())
		r.acked[h.name] = h.last
		return
	}
	if r.mayFail(err) && r.fault.Seen() > r.fault.Nth {
		err = tl.Flush(context.Background()) // the fault may have hit the last one
		if err == nil {
			return
		}
		require.ErrorIs(r, err, virtualfile.ErrBroken)
		require.NotErrorIs(r, r.fault.Err, syscall.ENOSPC, "a full disk breaks nothing for good: %v", err)
		require.NotEmpty(r, tl.Info().WriteError)
		h.same(r, tl, modelSets[0], h.last)
	}
}

// goOn opens the store as the next process does, looks at all of it, and has more acknowledged. It gives what
// must be there from now on.
func (r *faultRun) goOn(mem *virtualfile.MemFS) (hs []*history) {
	ctx := context.Background()
	s, err := Open(ctx, testOptions(mem))
	require.NoError(r, err)
	tn, err := s.DefaultTenant()
	require.NoError(r, err)
	copies := map[*history]*history{nil: nil}
	for _, h := range r.hs {
		tl, err := tn.Timeline(h.name)
		if _, ok := r.acked[h.name]; !ok && errors.Is(err, ErrTimelineNotFound) {
			continue
		}
		require.NoError(r, err)
		require.GreaterOrEqual(r, tl.LastRecordLSN(), r.acked[h.name])
		require.LessOrEqual(r, tl.LastRecordLSN(), h.last)
		c := newHistory(h.name, h.initial, copies[h.parent])
		for k, es := range h.values {
			c.values[k] = append([]entry(nil), es...)
		}
		c.cut(tl.LastRecordLSN())
		copies[h] = c
		for lsn := c.initial; lsn <= c.last; lsn += 8 {
			c.same(r, tl, modelSets[0], lsn)
		}
		hs = append(hs, c)
	}
	if len(hs) == 0 {
		_, err := tn.Create(ctx, meta("main"))
		require.NoError(r, err)
		hs = append(hs, newHistory("main", firstLSN, nil))
	}
	for _, h := range hs {
		tl, err := tn.Timeline(h.name)
		require.NoError(r, err)
		var b page.Batch
		h.put(&b, modelKeys[1], h.last+8, 0, []byte("more"))
		require.NoError(r, tl.Put(ctx, &b))
		h.last += 8
		require.NoError(r, tl.Flush(ctx))
	}
	// What is durable now is so without Close.
	clone := mem.CrashClone(uint64(len(hs)))
	require.NoError(r, s.Close())
	checkAll(r.T, clone, hs)
	return hs
}

// checkAll opens the store and wants all of hs.
func checkAll(t *testing.T, mem *virtualfile.MemFS, hs []*history) {
	s, err := Open(context.Background(), testOptions(mem))
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	tn, err := s.DefaultTenant()
	require.NoError(t, err)
	for _, h := range hs {
		tl, err := tn.Timeline(h.name)
		require.NoError(t, err)
		require.Equal(t, h.last, tl.LastRecordLSN())
		h.same(t, tl, modelSets[0], h.last)
	}
}

// TestFlippedTransfers flips a bit of one read or write after the other: a value is right, or there is an error
// that names the place; never a wrong one. What was flipped in reading is right when it is read again.
func TestFlippedTransfers(t *testing.T) {
	noLeaks(t)
	rnd := testkit.Rand(t, 1)
	for _, op := range []virtualfile.Op{virtualfile.OpRead, virtualfile.OpWrite} {
		failed := 0
		n := 1
		for ; ; n++ {
			mem := virtualfile.NewMem()
			fault := &virtualfile.Fault{Op: op, Effect: virtualfile.Flip, Nth: n, Bit: rnd.IntN(1 << 16)}
			if flipAt(t, mem, fault, op == virtualfile.OpRead) {
				failed++
			}
			if fault.Hits() == 0 {
				break
			}
		}
		require.Positive(t, failed)
		t.Logf("operation kind %d: each of %d was flipped once, %d gave errors, none a wrong value", op, n-1, failed)
	}
}

// flipAt reports whether the flip was seen.
func flipAt(t *testing.T, mem *virtualfile.MemFS, fault *virtualfile.Fault, reading bool) (seen bool) {
	ctx := context.Background()
	check := func(err error) bool {
		if err != nil {
			seen = true
			require.Positive(t, fault.Hits(), "%v", err)
			require.True(t, errors.Is(err, timeline.ErrCorrupt) || errors.Is(err, ErrCorruptStoreFile) || errors.Is(err, ErrNotAStore) ||
				errors.Is(err, ErrUnsupported), "%v", err)
		}
		return err == nil
	}
	fs := virtualfile.NewFaulty(mem, fault)
	h := newHistory("main", firstLSN, nil)
	for round := range 2 {
		s, err := Open(ctx, testOptions(fs))
		if !check(err) {
			break
		}
		tn, err := s.DefaultTenant()
		require.NoError(t, err)
		if round == 0 {
			tl, err := tn.Create(ctx, meta("main"))
			if !check(err) {
				_ = s.Close()
				break
			}
			for i := range 3 {
				var b page.Batch
				for j, k := range modelKeys {
					h.put(&b, k, h.last+8, 0, fmt.Appendf(nil, "%*d", 50*j, i))
				}
				require.NoError(t, tl.Put(ctx, &b))
				h.last += 8
				if !check(tl.Flush(ctx)) {
					break
				}
			}
		}
		tl, err := tn.Timeline("main")
		require.NoError(t, err)
		for lsn := h.initial; lsn <= h.last; lsn += 8 {
			for _, k := range modelKeys {
				want, ok, _ := h.at(k, lsn)
				v, err := tl.Get(ctx, k, lsn)
				if !ok {
					if !errors.Is(err, page.ErrNotFound) {
						check(err)
						require.Error(t, err)
					}
					continue
				}
				if check(err) {
					require.True(t, bytes.Equal(want, v), "%s at %s", k.Describe(), lsn)
				}
			}
		}
		_ = s.Close()
	}
	if reading && h.last > h.initial {
		checkAll(t, mem, []*history{h})
	}
	return seen
}

// TestWithdrawnTimeline: a timeline whose making fails after it has its name is not in the way of opening the
// store after a crash, whatever of its removal the crash leaves.
func TestWithdrawnTimeline(t *testing.T) {
	noLeaks(t)
	ctx := context.Background()
	for _, err := range []error{syscall.EIO, syscall.ENOSPC} {
		for seed := range uint64(testkit.Size(40, 100, 1000)) {
			var armed atomic.Bool
			mem := virtualfile.NewMem()
			o := testOptions(virtualfile.NewFaulty(mem, &virtualfile.Fault{Op: virtualfile.OpSyncDir, Err: err, Nth: 1,
				Path: func(name string) bool { return armed.Load() && filepath.Base(name) == timelinesName }}))
			s, e := Open(ctx, o)
			require.NoError(t, e)
			tn, e := s.DefaultTenant()
			require.NoError(t, e)
			tl, e := tn.Create(ctx, meta("main"))
			require.NoError(t, e)
			armed.Store(true)
			_, e = tn.Branch(ctx, tl, "branch", page.TimelineID{}, firstLSN)
			require.ErrorIs(t, e, err)
			_, e = tn.Timeline("branch")
			require.ErrorIs(t, e, ErrTimelineNotFound)
			after := mem.CrashClone(seed)
			require.NoError(t, s.Close())
			checkAll(t, after, []*history{newHistory("main", firstLSN, nil)})
		}
	}
}
