package catalog_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/compaction/catalog"
	"github.com/stratapg/strata/compaction/plannertest"
)

func all(t testing.TB) []compaction.Strategy {
	var found []compaction.Strategy
	for _, name := range catalog.Names() {
		s, err := catalog.New(name)
		require.NoError(t, err)
		require.Equal(t, name, s.Name())
		found = append(found, s)
	}
	return found
}

func TestNew(t *testing.T) {
	s, err := catalog.New("")
	require.NoError(t, err)
	require.Equal(t, catalog.Names()[0], s.Name())
	_, err = catalog.New("levelled")
	require.ErrorContains(t, err, "legacy, tiered")
	require.NotEmpty(t, all(t))
}

// TestSuite has every strategy pass what planners must, each by itself and all in turns.
func TestSuite(t *testing.T) { plannertest.Run(t, all(t)...) }
