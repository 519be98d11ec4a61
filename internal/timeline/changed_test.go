package timeline

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

// changedKeys gathers what EachChanged gives of blocks.
func changedKeys(t *testing.T, tl *Timeline, from, to page.LSN) map[page.Key]bool {
	t.Helper()
	out := map[page.Key]bool{}
	require.NoError(t, tl.EachChanged(t.Context(), page.FullRange, from, to, func(k page.Key) error {
		if _, _, ok := k.RelBlock(); ok {
			out[k] = true
		}
		return nil
	}))
	return out
}

func blocksOf(blocks ...int) map[page.Key]bool {
	out := map[page.Key]bool{}
	for _, b := range blocks {
		out[blockKey(b)] = true
	}
	return out
}

// TestEachChanged asks for changes of a timeline and a branch: in memory, in L0 deltas, after images were made, and after
// collection has folded what lies between a held LSN and the cutoff.
func TestEachChanged(t *testing.T) {
	ctx := t.Context()
	clock := newHandClock()
	e := readEnv(t, virtualfile.NewMem(), "store", func(c *Config) { c.Clock = clock.Now })
	tl := newTestTimeline(t, e, "store", "main", readFirst, nil)
	put := func(x *Timeline, blocks ...int) page.LSN {
		for _, b := range blocks {
			require.NoError(t, putOne(x, blockKey(b), []byte("a page")))
		}
		return x.LastRecordLSN()
	}
	begin := put(tl, 1, 2, 3)
	first := put(tl, 2, 4)
	require.Equal(t, blocksOf(2, 4), changedKeys(t, tl, begin, first), "of what was in memory")
	second := put(tl, 5)
	require.NoError(t, tl.Flush(ctx))
	third := put(tl, 1)
	require.Equal(t, blocksOf(2, 4, 5, 1), changedKeys(t, tl, begin, third))
	require.Equal(t, blocksOf(5), changedKeys(t, tl, first, second))
	require.Equal(t, blocksOf(2), changedKeys(t, tl, begin, begin+8))
	require.Empty(t, changedKeys(t, tl, second, second))
	makeImage(t, tl, third, page.FullRange)
	require.Equal(t, blocksOf(5, 1), changedKeys(t, tl, first, third), "an image says nothing of what has changed")

	branch, err := tl.Branch(ctx, "store", "branch", page.TimelineID{9}, second)
	require.NoError(t, err)
	defer func() { require.NoError(t, branch.Close()) }()
	tip := put(branch, 7)
	require.Equal(t, blocksOf(5, 7), changedKeys(t, branch, first, tip), "without what its ancestor did later")
	require.Equal(t, blocksOf(7), changedKeys(t, branch, second, tip))

	_, err = tl.Lease(ctx, begin, time.Hour)
	require.NoError(t, err)
	last := put(tl, 3)
	foldAtEnd(t, tl)
	got := changedKeys(t, tl, begin, last)
	for k := range blocksOf(1, 2, 3, 4, 5) {
		require.True(t, got[k], "%s has changed since what is held", k)
	}
	again := put(tl, 4)
	require.Equal(t, blocksOf(4), changedKeys(t, tl, last, again))

	fn := func(page.Key) error { return nil }
	require.ErrorIs(t, tl.EachChanged(ctx, page.FullRange, first, again, fn), ErrBeforeHistory, "which nobody holds")
	require.ErrorIs(t, tl.EachChanged(ctx, page.FullRange, last, again+8, fn), ErrFutureLSN)
	require.ErrorContains(t, tl.EachChanged(ctx, page.FullRange, again, last, fn), "the first lies above")
	require.ErrorIs(t, tl.EachChanged(ctx, page.FullRange, last, again, func(page.Key) error { return ErrRefused }), ErrRefused)
}

// TestEachChangedByImages: what changed between a held LSN and the cutoff is in an image alone.
func TestEachChangedByImages(t *testing.T) {
	ctx := t.Context()
	clock := newHandClock()
	e := readEnv(t, virtualfile.NewMem(), "store", func(c *Config) { c.Clock = clock.Now })
	tl := newTestTimeline(t, e, "store", "main", readFirst, nil)
	for _, b := range []int{1, 2, 3} {
		require.NoError(t, putOne(tl, blockKey(b), []byte("a page")))
	}
	require.NoError(t, tl.Flush(ctx))
	begin := tl.LastRecordLSN()
	_, err := tl.Lease(ctx, begin, time.Hour)
	require.NoError(t, err)
	require.NoError(t, putOne(tl, blockKey(2), []byte("another page")))
	require.NoError(t, tl.Flush(ctx))
	end := tl.LastRecordLSN()
	makeImage(t, tl, end, page.FullRange)
	deltas := len(tl.Layers())
	_, err = tl.GC(ctx, GCRequest{})
	require.NoError(t, err)
	require.Less(t, len(tl.Layers()), deltas, "the delta with the change has been collected")
	require.Contains(t, changedKeys(t, tl, begin, end), blockKey(2))
}
