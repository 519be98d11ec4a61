package layer

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/page"
)

func l0(lo, hi page.LSN) Desc {
	return Desc{Keys: page.FullRange, LSNs: page.LSNRange{Start: lo, End: hi}, Size: 100}
}

func TestL0StackIsContiguous(t *testing.T) {
	m, err := NewMap([]Desc{l0(16, 24), l0(8, 16)})
	require.NoError(t, err)
	s := m.L0()
	require.Equal(t, 2, s.Height())
	require.Equal(t, page.LSNRange{Start: 8, End: 24}, s.LSNs())
	require.Equal(t, int64(200), s.Bytes())
	require.Equal(t, []Desc{l0(16, 24), l0(8, 16)}, slices.Collect(s.All()), "newest first")
	require.Empty(t, s.Faults())
	for end, want := range map[page.LSN]page.LSN{8: 0, 9: 8, 16: 8, 17: 16, 99: 16} {
		d, ok := s.Search(end)
		require.Equal(t, want > 0, ok)
		require.Equal(t, want, d.LSNs.Start)
	}
}

func TestL0StackNamesGapsAndOverlaps(t *testing.T) {
	m, err := NewMap([]Desc{l0(8, 16), l0(20, 30), l0(25, 40), l0(40, 50)})
	require.NoError(t, err)
	require.Equal(t, []L0Fault{
		{Below: l0(20, 30), Above: l0(25, 40), LSNs: page.LSNRange{Start: 25, End: 30}, Overlap: true},
		{Below: l0(8, 16), Above: l0(20, 30), LSNs: page.LSNRange{Start: 16, End: 20}},
	}, m.L0().Faults())
	require.Contains(t, m.L0().Faults()[0].String(), "share LSNs [0/19, 0/1E)")
	require.Contains(t, m.L0().Faults()[1].String(), "leave out LSNs [0/10, 0/14)")
}
