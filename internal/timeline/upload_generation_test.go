package timeline

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestGenerationFile: what was not written so is refused.
func TestGenerationFile(t *testing.T) {
	b := encodeGeneration(77)
	require.Equal(t, "generation 77 crc32c", string(b[:20]))
	g, err := decodeGeneration(b)
	require.NoError(t, err)
	require.Equal(t, uint32(77), g)
	for i := range b {
		c := slices.Clone(b)
		c[i] ^= 1
		_, err := decodeGeneration(c)
		require.ErrorIs(t, err, ErrCorrupt)
		_, err = decodeGeneration(b[:i])
		require.ErrorIs(t, err, ErrCorrupt)
	}
}
