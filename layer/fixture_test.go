package layer

import (
	"testing"

	"github.com/stratapg/strata/internal/testkit"
)

// fixture gives the path of a shared fixture, or skips and names it.
func fixture(t testing.TB, rel string) string {
	t.Helper()
	return testkit.Fixture(t, rel)
}
