package layer

import (
	"flag"
	"os"
	"strconv"
	"testing"

	"github.com/stratapg/strata/internal/testkit"
)

// TestMain gives the properties fewer examples under the race detector; they have all of them without.
func TestMain(m *testing.M) {
	flag.Parse()
	const name = "rapid.checks"
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == name })
	if f := flag.Lookup(name); f != nil && !given {
		if err := f.Value.Set(strconv.Itoa(testkit.Size(20, 100, 1000))); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}
