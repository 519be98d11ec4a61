package scenario

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/compaction/tiered"
	sim "github.com/stratapg/strata/simulator"
)

// BenchmarkRecords runs uniform-20GB-5GB as Neon's simulator does and reports the records ingested a second, with all compaction.
func BenchmarkRecords(b *testing.B) {
	for _, bench := range []struct {
		name   string
		checks bool
	}{{"checks=off", false}, {"checks=on", true}} {
		b.Run(bench.name, func(b *testing.B) {
			c, err := Get("uniform-20GB-5GB")
			require.NoError(b, err)
			c.Checks.Off = !bench.checks
			for b.Loop() {
				_, err := sim.Run(b.Context(), c, tiered.New(), sim.Observer{})
				require.NoError(b, err)
			}
			b.ReportMetric(float64(c.Records())*float64(b.N)/b.Elapsed().Seconds(), "records/s")
		})
	}
}
