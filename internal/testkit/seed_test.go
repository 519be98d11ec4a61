package testkit

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSeedDrawsTheSameAgain(t *testing.T) {
	t.Setenv("STRATA_SEED", "18446744073709551615")
	require.Equal(t, Rand(t, 1).Uint64(), Rand(t, 1).Uint64())
	require.NotEqual(t, Rand(t, 1).Uint64(), Rand(t, 2).Uint64(), "streams differ")
	t.Setenv("STRATA_SEED", "")
	require.NotEqual(t, Rand(t, 1).Uint64(), Rand(t, 1).Uint64(), "without it seeds are drawn")
}
