package main

import (
	"bytes"
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/testkit"
)

// TestPackaging: what the unit and the container call is a command with those flags, and systemd, where it is here, finds no
// fault with the unit.
func TestPackaging(t *testing.T) {
	dir := filepath.Join(testkit.RepoRoot(t), "packaging")
	var help, errs bytes.Buffer
	require.Zero(t, run(t.Context(), []string{"serve", "--help"}, &help, &errs), errs.String())
	flag := regexp.MustCompile(`--[a-z][a-z-]*`)
	for name, line := range map[string]string{"strata.service": "ExecStart=/usr/local/bin/strata serve ", "Containerfile": `CMD ["serve", `} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		_, command, found := strings.Cut(string(text), "\n"+line)
		require.True(t, found, name)
		command, _, _ = strings.Cut(command, "\n")
		flags := flag.FindAllString(command, -1)
		require.Contains(t, flags, "--store")
		for _, f := range flags {
			require.Regexp(t, regexp.QuoteMeta(f)+` `, help.String(), name)
		}
	}
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		return
	}
	// It looks for the program too, which is elsewhere here.
	text, err := os.ReadFile(filepath.Join(dir, "strata.service"))
	require.NoError(t, err)
	unit := filepath.Join(t.TempDir(), "strata.service")
	require.NoError(t, os.WriteFile(unit, bytes.ReplaceAll(text, []byte("/usr/local/bin/strata"), []byte("/bin/true")), 0o600))
	out, err := exec.CommandContext(t.Context(), analyze, "verify", unit).CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.NotContains(t, string(out), "strata.service:", "%s", out)
}

// TestContainersBuild runs the build of the container file, and what comes of it, which has to do without libraries. It makes all
// packages anew, and belongs to long runs for that.
func TestContainersBuild(t *testing.T) {
	if testkit.Size(0, 0, 1) == 0 {
		return
	}
	root := testkit.RepoRoot(t)
	text, err := os.ReadFile(filepath.Join(root, "packaging", "Containerfile"))
	require.NoError(t, err)
	m := regexp.MustCompile(`(?m)^RUN (CGO_ENABLED=0 go build .*)-o /strata (\./cmd/strata)$`).FindSubmatch(text)
	require.NotNil(t, m)
	version := regexp.MustCompile(`(?m)^FROM .*golang:([0-9.]+)-`).FindSubmatch(text)
	require.NotNil(t, version)
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	require.NoError(t, err)
	require.Regexp(t, `(?m)^go `+regexp.QuoteMeta(string(version[1])), string(mod), "the image's Go is the module's")
	program := filepath.Join(t.TempDir(), "strata")
	build := exec.CommandContext(t.Context(), "sh", "-c", string(m[1])+`-o "$1" `+string(m[2]), "sh", program)
	build.Dir = root
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	f, err := elf.Open(program)
	require.NoError(t, err)
	defer f.Close()
	for _, p := range f.Progs {
		require.NotEqual(t, elf.PT_INTERP, p.Type, "it wants a loader")
	}
	out, err = exec.CommandContext(t.Context(), program, "serve", "--help").CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "--store")
}
