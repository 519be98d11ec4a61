package tiered

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/page"
)

func key(n uint32) page.Key { return page.Key{F1: 1, F6: n} }

func delta(from, to uint32, start, end page.LSN) compaction.Layer {
	return compaction.Layer{ID: compaction.ID{Keys: page.Range{Start: key(from), End: key(to)}, LSNs: page.LSNRange{Start: start, End: end}}}
}

func wide(start, end page.LSN) compaction.Layer {
	return compaction.Layer{ID: compaction.ID{Keys: page.FullRange, LSNs: page.LSNRange{Start: start, End: end}}}
}

func image(from, to uint32, at page.LSN) compaction.Layer {
	l := delta(from, to, at, at+1)
	l.Image = true
	return l
}

// TestIdentify has the vectors of Neon's identify_levels.rs.
func TestIdentify(t *testing.T) {
	six := []compaction.Layer{
		wide(0x8000, 0x9000), wide(0x5000, 0x7000), wide(0x4000, 0x5000),
		wide(0x3000, 0x4000), wide(0x2000, 0x3000), wide(0x1000, 0x2000),
	}
	overlapping := []compaction.Layer{
		wide(0x4000, 0x5000), wide(0x3000, 0x4000), wide(0x2500, 0x3500), wide(0x2000, 0x3000), wide(0x1000, 0x2500),
	}
	for _, c := range []struct {
		name      string
		layers    []compaction.Layer
		end       page.LSN
		maxHeight int64
		depth     int
	}{
		{"all", six, 0x10000, 0x2000, 6},
		{"down to the tall one", six, 0x10000, 0x1000, 1},
		{"from an end on", six, 0x3000, 0x1000, 2},
		{"overlaps force the tall one in", overlapping, 0x5000, 0x1000, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			v, err := identify(c.layers, order(c.layers), c.end, c.maxHeight)
			require.NoError(t, err)
			require.Equal(t, c.depth, v.depth(c.layers))
			require.Equal(t, c.end, v.lsns.End)
			for _, i := range v.layers {
				require.GreaterOrEqual(t, c.layers[i].LSNs.Start, v.lsns.Start)
			}
		})
	}
	_, err := identify(six, order(six), 0x6000, 0x1000)
	require.ErrorContains(t, err, "straddles")
	v, err := identify(six, order(six), 0x9000, 0xFFF)
	require.NoError(t, err)
	require.Nil(t, v, "the newest is too tall")
	v, err = identify(nil, nil, 0x9000, 0x1000)
	require.NoError(t, err)
	require.Nil(t, v)
}

// TestDepth has the vectors of Neon's identify_levels.rs, and what lies above and below an image of one LSN.
func TestDepth(t *testing.T) {
	apart := []compaction.Layer{
		delta(0x4000, 0x5000, 0x8000, 0x9000), delta(0x3000, 0x4000, 0x7000, 0x8000), delta(0x1000, 0x2000, 0x6000, 0x7000),
	}
	staggered := []compaction.Layer{
		delta(0x1000, 0x2000, 0x8000, 0x9000), delta(0x1500, 0x2500, 0x7000, 0x8000), delta(0x2000, 0x3000, 0x6000, 0x7000),
	}
	for _, c := range []struct {
		name   string
		layers []compaction.Layer
		depth  int
	}{
		{"apart", apart, 1},
		{"staggered", staggered, 2},
		{"an image above", append([]compaction.Layer{image(0x1500, 0x2500, 0x9000)}, staggered...), 1},
		{"an image of the newest LSN", append([]compaction.Layer{image(0x1500, 0x2500, 0x8FFF)}, staggered...), 1},
		{"an image below the newest LSN", append([]compaction.Layer{image(0x1500, 0x2500, 0x8FFE)}, staggered...), 1},
		{"an image below the newest delta", append([]compaction.Layer{image(0, 0x9000, 0x7FFF)}, staggered...), 1},
		{"an image in the middle of it", append([]compaction.Layer{image(0, 0x9000, 0x7FFE)}, staggered...), 2},
		{"single keys", []compaction.Layer{delta(1, 2, 1, 2), delta(1, 2, 2, 3), delta(1, 2, 3, 4)}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			all := make([]int, len(c.layers))
			for i := range all {
				all[i] = i
			}
			require.Equal(t, c.depth, (&level{layers: all}).depth(c.layers))
		})
	}
}
