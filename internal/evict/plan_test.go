package evict_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stratapg/strata/internal/evict"
)

// now is the time of all scripts.
var now = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)

// TestPlan runs scripts. Lines of input are layers: a name, the tenant, bytes, how long ago it was read, perhaps "covered".
func TestPlan(t *testing.T) {
	datadriven.RunTest(t, "testdata/plan", func(t *testing.T, d *datadriven.TestData) string {
		var l evict.Limits
		var disk evict.Disk
		var maxAge, coveredAge string
		for name, to := range map[string]any{"max-usage-pct": &l.MaxUsagePct, "min-avail": &l.MinAvailBytes, "max-bytes": &l.MaxBytes, "reserve": &l.ReserveBytes,
			"total": &disk.Total, "avail": &disk.Avail, "layers": &disk.Layers, "max-age": &maxAge, "covered-age": &coveredAge} {
			d.MaybeScanArgs(t, name, to)
		}
		for to, text := range map[*time.Duration]string{&l.MaxAge: maxAge, &l.CoveredAge: coveredAge} {
			if text != "" {
				var err error
				*to, err = time.ParseDuration(text)
				require.NoError(t, err)
			}
		}
		var names []string
		var layers []evict.Layer
		for line := range strings.Lines(d.Input) {
			f := strings.Fields(line)
			var x evict.Layer
			_, err := fmt.Sscan(f[1]+" "+f[2], &x.Tenant, &x.Size)
			require.NoError(t, err)
			ago, err := time.ParseDuration(f[3])
			require.NoError(t, err)
			x.Used, x.Covered = now.Add(-ago), slices.Contains(f, "covered")
			names, layers = append(names, f[0]), append(layers, x)
		}
		chosen, short := evict.Plan(layers, l, disk, now)
		var b strings.Builder
		fmt.Fprintf(&b, "excess %d\n", l.Excess(disk))
		for _, c := range chosen {
			fmt.Fprintf(&b, "%s %s\n", names[c.Layer], c.Reason)
		}
		if short > 0 {
			fmt.Fprintf(&b, "short of %d\n", short)
		}
		return b.String()
	})
}

// TestPlanProperties: nothing is chosen twice, no more for space than is needed, and of a tenant none for space before an equally
// covered one that was read earlier.
func TestPlanProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rnd := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		layers := make([]evict.Layer, rapid.IntRange(0, 60).Draw(t, "layers"))
		var all int64
		for i := range layers {
			layers[i] = evict.Layer{Tenant: rnd.IntN(4), Size: 1 + rnd.Int64N(100), Used: now.Add(-time.Duration(rnd.IntN(50)) * time.Minute), Covered: rnd.IntN(4) == 0}
			all += layers[i].Size
		}
		l := evict.Limits{MaxBytes: 1 + rnd.Int64N(all+1), ReserveBytes: rnd.Int64N(100)}
		if rapid.Bool().Draw(t, "age") {
			l.MaxAge, l.CoveredAge = 40*time.Minute, 20*time.Minute
		}
		chosen, short := evict.Plan(layers, l, evict.Disk{Layers: all}, now)
		gone := map[int]bool{}
		freed, before := int64(0), int64(0) // before the last one that goes for space
		for _, c := range chosen {
			require.False(t, gone[c.Layer])
			x := layers[c.Layer]
			if c.Reason != evict.Age {
				before = freed
				for i, y := range layers {
					if y.Tenant == x.Tenant && y.Covered == x.Covered && y.Used.Before(x.Used) {
						require.True(t, gone[i], "%d before %d", c.Layer, i)
					}
					if x.Covered != y.Covered && y.Covered {
						require.True(t, gone[i], "%d before %d, which is covered", c.Layer, i)
					}
				}
			}
			gone[c.Layer] = true
			freed += x.Size
		}
		excess := l.Excess(evict.Disk{Layers: all})
		require.Equal(t, max(excess-freed, 0), short)
		if short > 0 {
			require.Len(t, gone, len(layers))
		}
		if n := len(chosen); n > 0 && chosen[n-1].Reason != evict.Age {
			require.Less(t, before, excess)
		}
	})
}
