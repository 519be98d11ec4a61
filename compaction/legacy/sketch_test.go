package legacy

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/page"
)

// TestSketchRoom: each time that there is no room left grains become twice as coarse, up to a sixteenth of an output; then the room
// doubles. Half of it is free again whenever grains were joined, so that this costs little for each of them.
func TestSketchRoom(t *testing.T) {
	const target, room, n = 3000, 16, 20_000
	s := newSketch(target)
	s.most = room
	units, rooms := []int64{s.unit}, []int{s.most}
	for i := range n {
		held := len(s.all)
		s.add(grain{keys: page.Range{Start: key(i), End: key(i + 1)}, size: 1})
		require.LessOrEqual(t, len(s.all), s.most)
		if len(s.all) != held+1 {
			require.LessOrEqual(t, len(s.all)-1, s.most/2, "room for as many again")
		}
		units, rooms = append(units, s.unit), append(rooms, s.most)
	}
	require.Equal(t, []int64{2, 4, 8, 16, 32, 64, 128, target / coarsest}, slices.Compact(units))
	require.Equal(t, []int{room, 2 * room, 4 * room, 8 * room, 16 * room}, slices.Compact(rooms))
	var sum int64
	for i, g := range s.all {
		require.LessOrEqual(t, g.size, s.unit)
		require.EqualValues(t, g.size, g.keys.End.F6-g.keys.Start.F6)
		require.True(t, i == 0 || s.all[i-1].keys.End == g.keys.Start)
		sum += g.size
	}
	require.EqualValues(t, n, sum)
}

// TestSketchBest: of holes of one rank the first are cut at, however many there are.
func TestSketchBest(t *testing.T) {
	s := newSketch(3000)
	for i := range 100 {
		s.add(grain{keys: page.Range{Start: key(i), End: key(i + 1)}, size: 1, hole: 3 + i/50})
	}
	want := make([]bool, 100)
	for i := range 55 {
		want[(50+i)%100] = true
	}
	require.Equal(t, want, s.best(55), "all of the higher rank, and the first five of the other")
}
