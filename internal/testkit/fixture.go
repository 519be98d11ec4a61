package testkit

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// maxWindow admits what zstd --long writes, whose window is larger than the decoder's default limit.
const maxWindow = 1 << 31

// Skip ends the test because something that it uses is not on this machine. The reason names what is
// missing and the command that brings it. With STRATA_REQUIRE_ALL set the test fails.
func Skip(t testing.TB, reason string) {
	t.Helper()
	if os.Getenv("STRATA_REQUIRE_ALL") != "" {
		t.Fatalf("STRATA_REQUIRE_ALL is set and this test would skip: %s", reason)
	}
	t.Skip(reason)
}

// Fixture gives the path of a file or folder of the shared fixtures, for example
// "neon-pg17/base-pgdata.tar.zst". They lie in STRATA_FIXTURES, or in ../shared/fixtures beside the
// repository.
func Fixture(t testing.TB, rel string) string {
	t.Helper()
	dir := os.Getenv("STRATA_FIXTURES")
	if dir == "" {
		dir = filepath.Join(filepath.Dir(RepoRoot(t)), "shared", "fixtures")
	}
	name := filepath.Join(dir, filepath.FromSlash(rel))
	if _, err := os.Stat(name); err != nil {
		Skip(t, "no fixture "+name+": set STRATA_FIXTURES to the folder of fixtures, or put it at ../shared/fixtures beside the repository")
	}
	return name
}

// FixtureZstd gives the decompressed content of a fixture whose name ends in .zst.
func FixtureZstd(t testing.TB, rel string) []byte {
	t.Helper()
	name := Fixture(t, rel)
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	d, err := zstd.NewReader(f, zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	b, err := io.ReadAll(d)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return b
}

// RepoRoot gives the folder of the module's go.mod.
func RepoRoot(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			t.Fatal("no go.mod above the test's folder")
		}
		dir = up
	}
}
