package testkit

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stratapg/strata/pg"
)

// Installation is a PostgreSQL of one major version on this machine.
type Installation struct {
	Version pg.Version
	// Bin is the folder of initdb and postgres.
	Bin string
}

// FindServer finds a server of version v: of the distribution, else of npm (scripts/servers.sh). It skips
// the test if there is none.
func FindServer(t testing.TB, v pg.Version) Installation {
	t.Helper()
	for _, bin := range serverDirs(v) {
		if isExecutable(filepath.Join(bin, "postgres")) && isExecutable(filepath.Join(bin, "initdb")) {
			return Installation{Version: v, Bin: bin}
		}
	}
	Skip(t, fmt.Sprintf("no PostgreSQL %d on this machine: run make servers", v))
	return Installation{}
}

func serverDirs(v pg.Version) []string {
	dirs := []string{fmt.Sprintf("/usr/lib/postgresql/%d/bin", v)}
	var caches []string
	if d := os.Getenv("STRATA_PG_DIR"); d != "" {
		caches = append(caches, d)
	}
	// Root's own cache is of no use: the user that servers run as may not read it.
	if d, err := os.UserCacheDir(); err == nil && os.Geteuid() != 0 {
		caches = append(caches, filepath.Join(d, "strata", "pg"))
	}
	caches = append(caches, "/var/cache/strata/pg")
	for _, d := range caches {
		dirs = append(dirs, filepath.Join(d, "node_modules", fmt.Sprintf("pg%d", v), "native", "bin"))
	}
	return dirs
}

// Tool gives the path of a client program that belongs to the installation, for example pg_checksums. The
// servers of npm have none; the test is skipped then.
func (i Installation) Tool(t testing.TB, name string) string {
	t.Helper()
	path := filepath.Join(i.Bin, name)
	if !isExecutable(path) {
		Skip(t, fmt.Sprintf("PostgreSQL %d in %s has no %s: as root on Debian or Ubuntu run make servers, which brings postgresql-15 with its tools",
			i.Version, i.Bin, name))
	}
	return path
}

// HasTool reports whether the installation has a client program.
func (i Installation) HasTool(name string) bool { return isExecutable(filepath.Join(i.Bin, name)) }

func isExecutable(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0
}
