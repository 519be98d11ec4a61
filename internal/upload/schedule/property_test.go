package schedule_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stratapg/strata/internal/upload/schedule"
)

// world is a remote storage and what an honest history of calls expects of it.
type world struct {
	t     *rapid.T
	s     *schedule.Schedule
	limit int
	// named are the layers that the next index names, at each version those of that version.
	named   map[string]bool
	at      map[uint64]map[string]bool
	version uint64
	// over are versions that name a layer which was forgotten before it was up: they need not be uploaded any more.
	over map[uint64]bool
	// stored are the objects, index the one that is up, seen whether a layer's upload has ever begun.
	stored map[string]bool
	index  map[string]bool
	up     uint64
	begun  map[string]bool
	gone   []string // forgotten, and not deleted
	left   map[string]bool
	runs   []schedule.Op
	marks  map[uint64]mark
	next   int
}

// mark is what a barrier waits for.
type mark struct {
	layers, deletes []string
	version         uint64
}

func (w *world) layer() {
	name := fmt.Sprintf("l%d", w.next)
	w.next++
	require.NoError(w.t, w.s.Layer(name))
	require.ErrorIs(w.t, w.s.Layer(name), schedule.ErrTaken)
	w.named[name] = true
}

func (w *world) forget() {
	names := slices.Sorted(maps.Keys(w.named))
	if len(names) == 0 {
		return
	}
	name := rapid.SampledFrom(names).Draw(w.t, "forget")
	dropped := w.s.Forget(name)
	require.Equal(w.t, !w.begun[name], dropped, "%s", name)
	for v, names := range w.at {
		if names[name] && !w.stored[name] {
			w.over[v] = true
		}
	}
	delete(w.named, name)
	w.gone = append(w.gone, name)
	w.askIndex()
}

func (w *world) askIndex() {
	w.version = w.s.Index()
	w.at[w.version] = maps.Clone(w.named)
}

func (w *world) remove() {
	if len(w.gone) == 0 {
		return
	}
	i := rapid.IntRange(0, len(w.gone)-1).Draw(w.t, "gone")
	w.s.Delete(w.gone[i])
	w.s.Delete(w.gone[i])
	w.left[w.gone[i]] = true
	w.gone = slices.Delete(w.gone, i, i+1)
}

func (w *world) barrier() {
	m := mark{version: w.version, deletes: slices.Sorted(maps.Keys(w.left))}
	for name := range w.named {
		if !w.stored[name] {
			m.layers = append(m.layers, name)
		}
	}
	w.marks[w.s.Barrier()] = m
	w.passed()
}

// passed checks the barriers that the schedule lets through.
func (w *world) passed() {
	last := w.s.Passed()
	for at, m := range w.marks {
		if at > last {
			continue
		}
		delete(w.marks, at)
		require.GreaterOrEqual(w.t, w.up, m.version)
		for _, name := range m.deletes {
			require.False(w.t, w.left[name], "%s is not deleted", name)
		}
		for _, name := range m.layers {
			require.True(w.t, w.stored[name] || !w.named[name], "%s is not up", name)
		}
	}
}

// begin takes everything that may begin, and checks that it may.
func (w *world) begin() {
	for {
		op, ok := w.s.Next()
		if !ok {
			return
		}
		w.check(op)
		w.runs = append(w.runs, op)
	}
}

func (w *world) running(kind schedule.Kind) (n int) {
	for _, op := range w.runs {
		if op.Kind == kind {
			n++
		}
	}
	return n
}

func (w *world) check(op schedule.Op) {
	switch op.Kind {
	case schedule.Layer:
		name := op.Names[0]
		require.False(w.t, w.begun[name], "%s twice", name)
		require.True(w.t, w.named[name], "%s was forgotten", name)
		require.Less(w.t, w.running(schedule.Layer), w.limit)
		w.begun[name] = true
	case schedule.Index:
		require.Zero(w.t, w.running(schedule.Index))
		require.Greater(w.t, op.Version, w.up)
		for name := range w.at[op.Version] {
			require.True(w.t, w.stored[name], "index %d names %s", op.Version, name)
		}
		// No newer one could have begun.
		for v, names := range w.at {
			complete := v > op.Version && !w.over[v]
			for name := range names {
				complete = complete && w.stored[name]
			}
			require.False(w.t, complete, "index %d could have begun instead of %d", v, op.Version)
		}
	case schedule.Delete:
		for _, name := range op.Names {
			require.False(w.t, w.index[name], "%s is named", name)
			require.True(w.t, w.left[name])
			for _, r := range w.runs {
				require.False(w.t, r.Kind == schedule.Layer && r.Names[0] == name, "%s is being uploaded", name)
				require.False(w.t, r.Kind == schedule.Index && w.at[r.Version][name], "%s is about to be named", name)
			}
		}
	}
}

func (w *world) end() {
	if len(w.runs) == 0 {
		return
	}
	i := rapid.IntRange(0, len(w.runs)-1).Draw(w.t, "ends")
	op := w.runs[i]
	w.runs = slices.Delete(w.runs, i, i+1)
	w.s.Done(op)
	switch op.Kind {
	case schedule.Layer:
		w.stored[op.Names[0]] = true
	case schedule.Index:
		w.up, w.index = op.Version, w.at[op.Version]
	case schedule.Delete:
		for _, name := range op.Names {
			delete(w.stored, name)
			delete(w.left, name)
		}
	}
	w.passed()
}

// TestScheduleAgainstModel: nothing begins that must not, and all comes to an end.
func TestScheduleAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(1, 4).Draw(t, "limit")
		w := &world{t: t, s: schedule.New(limit), limit: limit, named: map[string]bool{}, over: map[uint64]bool{}, at: map[uint64]map[string]bool{}, stored: map[string]bool{},
			begun: map[string]bool{}, left: map[string]bool{}, marks: map[uint64]mark{}}
		t.Repeat(map[string]func(*rapid.T){
			"layer":   func(*rapid.T) { w.layer() },
			"forget":  func(*rapid.T) { w.forget() },
			"index":   func(*rapid.T) { w.askIndex() },
			"delete":  func(*rapid.T) { w.remove() },
			"barrier": func(*rapid.T) { w.barrier() },
			"begin":   func(*rapid.T) { w.begin() },
			"end":     func(*rapid.T) { w.end() },
		})
		w.askIndex()
		last := w.s.Barrier()
		for w.begin(); len(w.runs) > 0; w.begin() {
			w.end()
		}
		require.True(t, w.s.Debt().Idle(), "%+v", w.s.Debt())
		require.Equal(t, w.named, w.index)
		require.Equal(t, w.version, w.up)
		require.Empty(t, w.left)
		for name := range w.named {
			require.True(t, w.stored[name], "%s", name)
		}
		for at := range w.marks {
			require.Equal(t, last, at)
		}
	})
}
