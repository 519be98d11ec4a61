package processes

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/walredo/pgworker"
)

// PGServer gives a stock server of a version that can be a redo worker. The test is skipped where there is none, or
// no library for it.
func PGServer(t testing.TB, v pg.Version) pgworker.Server {
	t.Helper()
	found := testkit.FindServer(t, v)
	// Where the account that servers run as can read it.
	dir := testkit.ServerDir(t)
	library := filepath.Join(dir, "strata_redo.so")
	b, err := os.ReadFile(builtLibrary(t, v))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(library, b, 0o755))
	testkit.Give(t, dir)
	s := pgworker.Server{Bin: found.Bin, Extension: library, Scratch: filepath.Join(dir, "scratch")}
	if os.Geteuid() == 0 {
		s.User = owner(t, dir)
	}
	return s
}

// owner is the account that Give gave a folder to.
func owner(t testing.TB, dir string) string {
	info, err := os.Stat(dir)
	require.NoError(t, err)
	u, err := user.LookupId(fmt.Sprint(info.Sys().(*syscall.Stat_t).Uid))
	require.NoError(t, err)
	return u.Username
}

// HasLibrary reports whether `make pgworker` found the headers of a version.
func HasLibrary(v pg.Version) bool {
	_, err := os.Stat(libraryName(v))
	return err == nil
}

// folder is where the extension lies.
func folder() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..", "pgworker")
}

func libraryName(v pg.Version) string {
	return filepath.Join(folder(), "build", fmt.Sprint(int(v)), "strata_redo.so")
}

// builtLibrary finds what `make pgworker` built from the sources as they are.
func builtLibrary(t testing.TB, v pg.Version) string {
	t.Helper()
	library := libraryName(v)
	built, err := os.Stat(library)
	if err != nil {
		testkit.Skip(t, fmt.Sprintf("no redo library for PostgreSQL %d (%v): run make servers pgworker", v, err))
	}
	sources, err := filepath.Glob(filepath.Join(folder(), "extension", "*"))
	require.NoError(t, err)
	require.NotEmpty(t, sources)
	for _, s := range sources {
		info, err := os.Stat(s)
		require.NoError(t, err)
		if info.ModTime().After(built.ModTime()) {
			testkit.Skip(t, fmt.Sprintf("%s is older than %s: run make pgworker", library, s))
		}
	}
	return library
}
