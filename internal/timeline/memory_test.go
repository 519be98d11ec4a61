package timeline

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMemorySharesAreTheWhole(t *testing.T) {
	const total = 1 << 30
	m, err := newMemoryShares(total)
	require.NoError(t, err)
	sum, names := int64(0), map[string]bool{}
	for _, s := range m.Stats() {
		sum += s.Limit
		names[s.Name] = true
		require.Positive(t, s.Limit)
	}
	require.Equal(t, int64(total), sum)
	require.Len(t, names, len(memoryParts))
	for i, name := range MemoryShareNames() {
		require.Equal(t, name, m.Stats()[i].Name)
	}
	for _, p := range memoryParts {
		require.NotNil(t, *p.share(m), p.name)
	}
}
