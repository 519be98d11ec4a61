package testkit

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// BackupTool finds one of PostgreSQL 17's programs for incremental backups, pg_combinebackup or pg_verifybackup: of the
// distribution, else as scripts/backuptools.sh brings them. It skips the test if there is none.
func BackupTool(t testing.TB, name string) string {
	t.Helper()
	dirs := []string{"/usr/lib/postgresql/17/bin"}
	if d := os.Getenv("STRATA_PG_TOOLS_DIR"); d != "" {
		dirs = append(dirs, filepath.Join(d, "bin"))
	}
	// Root's own cache is of no use, as with servers.
	if d, err := os.UserCacheDir(); err == nil && os.Geteuid() != 0 {
		dirs = append(dirs, filepath.Join(d, "strata", "pgtools", "bin"))
	}
	for _, d := range append(dirs, "/var/cache/strata/pgtools/bin") {
		if path := filepath.Join(d, name); isExecutable(path) {
			return path
		}
	}
	Skip(t, fmt.Sprintf("no %s of PostgreSQL 17 on this machine: run make servers", name))
	return ""
}
