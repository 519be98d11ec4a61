package layer

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// fixture gives the path of a shared fixture, or skips and names it.
func fixture(t testing.TB, rel string) string {
	t.Helper()
	root := os.Getenv("STRATA_FIXTURES")
	if root == "" {
		dir, err := os.Getwd()
		require.NoError(t, err)
		for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
			if p := filepath.Join(dir, "shared", "fixtures"); exists(p) {
				root = p
				break
			}
		}
	}
	p := filepath.Join(root, rel)
	if root == "" || !exists(p) {
		t.Skipf("SKIPPED: fixture %s is missing; set STRATA_FIXTURES to the folder of fixtures", rel)
	}
	return p
}

func exists(p string) bool {
	_, err := os.Stat(p)
	return err == nil
}
