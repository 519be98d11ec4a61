package main

import (
	"bytes"
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
