package suite_test

import (
	"encoding/xml"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/compaction/partitioned"
	"github.com/stratapg/strata/compaction/tiered"
	"github.com/stratapg/strata/page"
	sim "github.com/stratapg/strata/simulator"
	"github.com/stratapg/strata/simulator/scenario"
	"github.com/stratapg/strata/simulator/suite"
)

// careless drops the oldest layer once there are a few, whoever needs it.
type careless struct{ compaction.Strategy }

func (careless) Name() string { return "careless" }

func (careless) Plan(s *compaction.Snapshot) (p compaction.Plan) {
	if len(s.Layers) > 4 {
		p.Jobs = []compaction.Job{{Kind: compaction.Drop, Obsolete: []int{0}, Rect: compaction.Rect{Keys: page.FullRange, LSNs: s.Layers[0].LSNs}, Reason: "a fault"}}
	}
	return p
}

func small(t *testing.T) sim.Config {
	c, err := scenario.Get("uniform")
	require.NoError(t, err)
	c = c.Scale(4096)
	c.Seed, c.Reads.Number, c.Phases[0].Records = 77, 4, 800
	return c
}

// TestFailureLeavesPicture: of a run that a checker ends the picture of the last state is kept, and the error names the seed; the
// other runs go on.
func TestFailureLeavesPicture(t *testing.T) {
	dir := t.TempDir()
	results, err := suite.Run(t.Context(), suite.Options{
		Scenarios: []sim.Config{small(t)}, Strategies: []compaction.Strategy{careless{tiered.New()}, tiered.New()}, Dir: dir,
	})
	require.NoError(t, err)
	require.Len(t, results, 2)
	require.Contains(t, results[0].Error, "seed 77")
	require.Contains(t, results[0].Error, "may not be removed")
	require.Empty(t, results[1].Error)
	require.NoError(t, suite.Write(dir, results))
	for _, name := range []string{"careless.svg", "careless.html", "tiered.svg"} {
		raw, err := os.ReadFile(filepath.Join(dir, "uniform", name))
		require.NoError(t, err)
		require.Contains(t, string(raw), "77", "%s does not name the seed", name)
		if strings.HasSuffix(name, ".svg") {
			require.Greater(t, strings.Count(string(raw), "<rect"), 4, "%s shows no layers", name)
			for d := xml.NewDecoder(strings.NewReader(string(raw))); err != io.EOF; {
				if _, err = d.Token(); err != io.EOF {
					require.NoError(t, err)
				}
			}
		}
	}
	index, err := os.ReadFile(filepath.Join(dir, "index.html"))
	require.NoError(t, err)
	require.Contains(t, string(index), "seed 77")
	var text strings.Builder
	require.NoError(t, suite.Text(&text, results))
	require.Contains(t, text.String(), "FAILED")
}

// TestCompareAndMatch: a folder compared with itself does not differ, and a strategy with a bound is run with those that the others
// came to.
func TestCompareAndMatch(t *testing.T) {
	dir := t.TempDir()
	results, err := suite.Run(t.Context(), suite.Options{
		Scenarios: []sim.Config{small(t)}, Strategies: []compaction.Strategy{tiered.New(), partitioned.New()}, Matched: "partitioned", Dir: dir,
	})
	require.NoError(t, err)
	require.Len(t, results, 3)
	require.Equal(t, "partitioned@tiered", results[2].Strategy)
	require.Equal(t, max(results[0].ReadAmpP99, 2), results[2].Bound)
	require.NoError(t, suite.Write(dir, results))
	again, err := suite.Read(dir)
	require.NoError(t, err)
	var out strings.Builder
	n, err := suite.Compare(&out, results, again)
	require.NoError(t, err)
	require.Zero(t, n, out.String())
	again[0].WriteAmp, again[0].Hash = 2*again[0].WriteAmp, "another"
	n, err = suite.Compare(&out, results, again)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	compared, _, err := suite.Matched(&out, results)
	require.NoError(t, err)
	require.Equal(t, 1, compared)
	require.Contains(t, out.String(), "| uniform | tiered |")
}
