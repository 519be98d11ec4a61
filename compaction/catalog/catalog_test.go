package catalog_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/compaction/catalog"
	"github.com/stratapg/strata/compaction/plannertest"
	"github.com/stratapg/strata/internal/testkit"
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
func TestSuite(t *testing.T) {
	plannertest.Lives(t, testkit.Size(25, 80, 1000)) // planners have one goroutine
	plannertest.Run(t, all(t)...)
}

// TestBounds has the strategies that promise how much a read takes keep to it under any ingest.
func TestBounds(t *testing.T) {
	plannertest.Lives(t, testkit.Size(3, 30, 1000))
	for _, s := range all(t) {
		if by, ok := s.(compaction.Flusher); ok {
			t.Run(s.Name(), func(t *testing.T) {
				rapid.Check(t, func(t *rapid.T) { plannertest.Bounded(t, by) })
			})
		}
	}
}
