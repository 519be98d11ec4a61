package timeline

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

// waves holds reads back until all of a round have come: none of them may wait for another.
type waves struct {
	mu   sync.Mutex
	full []chan struct{} // one for each round that is left
	left []int           // reads that it lacks
	over int             // reads behind the last round
}

func newWaves(sizes ...int) *waves {
	w := &waves{left: sizes}
	for range sizes {
		w.full = append(w.full, make(chan struct{}))
	}
	return w
}

// wait ends when the rest of the round has come, or with the context.
func (w *waves) wait(ctx context.Context) {
	w.mu.Lock()
	if len(w.left) == 0 {
		w.over++
		w.mu.Unlock()
		return
	}
	full := w.full[0]
	if w.left[0]--; w.left[0] == 0 {
		close(full)
		w.left, w.full = w.left[1:], w.full[1:]
	}
	w.mu.Unlock()
	select {
	case <-full:
	case <-ctx.Done():
	}
}

// TestColdReadTakesARoundPerLevel reads through twenty layers, half of them an ancestor's, that nobody has opened. The
// reads of a round end together or not at all.
func TestColdReadTakesARoundPerLevel(t *testing.T) {
	const keys, height, readers = 2500, 20, 4
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var w *waves
	held := &virtualfile.Fault{
		Op: virtualfile.OpRead, Effect: virtualfile.Delay, Sticky: true,
		Path:   func(name string) bool { return strings.Contains(name, "__") },
		Before: func() { w.wait(ctx) },
	}
	dir := "store"
	e := readEnv(t, virtualfile.NewFaulty(virtualfile.NewMem(), held), dir, func(c *Config) { c.IOEngine = virtualfile.EngineStd })
	parent := newTestTimeline(t, e, dir, "parent", readFirst, nil)
	for l := range height / 2 {
		putLayer(t, parent, keys, l == 0)
	}
	child := newTestTimeline(t, e, dir, "child", parent.LastRecordLSN(), parent)
	for range height / 2 {
		putLayer(t, child, keys, false)
	}
	read := func(key page.Key) (tr layer.Trace) {
		v, err := child.Get(layer.WithTrace(ctx, &tr), key, child.LastRecordLSN())
		if err != nil {
			t.Error(err)
		} else if n := strings.Count(string(v), "|"); n != height-1 {
			t.Errorf("%s has %d records", key, n)
		}
		return tr
	}

	// Both ends of the files; roots, with the checksums of all of the index; leaves; values, with their checksums.
	w = newWaves(2*height, 2*height, height, 2*height)
	held.Arm(1)
	tr := read(blockKey(7))
	require.NoError(t, ctx.Err(), "a read of a round waits for another: %v are left", w.left)
	require.Empty(t, w.left)
	require.Zero(t, w.over, "reads beside those that were to be expected")
	require.Equal(t, 2*height, tr.IndexLoads, "what was looked ahead for counts")
	require.Len(t, tr.Visited, height)

	// Several who want the same: the blocks are read once. Values are not kept.
	w = newWaves(height)
	var wg sync.WaitGroup
	for range readers {
		wg.Go(func() { read(blockKey(keys - 9)) })
	}
	wg.Wait()
	require.NoError(t, ctx.Err(), "%v are left", w.left)
	require.LessOrEqual(t, w.over, readers*2*height)
	require.Zero(t, read(blockKey(keys-9)).IndexLoads)
	w = newWaves()
	read(blockKey(keys - 9))
	require.Equal(t, height, w.over, "with all in memory, a read of each layer")
}
