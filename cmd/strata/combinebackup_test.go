package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/testkit"
)

// What a chain of backups comes to is the full backup of its last state, before and after compaction.
func TestCombineBackup(t *testing.T) {
	if !testkit.WithoutRace(t) {
		return
	}
	at := ingested(t)
	dir := t.TempDir()
	name := func(n string) string { return filepath.Join(dir, n+".tar") }
	lsn := regexp.MustCompile(`lsn=(\S+)`)
	backup := func(n string, args ...string) string {
		out := must(t, at(append([]string{"basebackup", "--output", name(n)}, args...)...)...)
		return lsn.FindStringSubmatch(lastLine(out))[1]
	}
	same := func(want string, chain ...string) {
		args := []string{"combinebackup", "--output", name("whole")}
		for _, c := range chain {
			args = append(args, name(c))
		}
		require.Regexp(t, `^combinebackup: lsn=\S+ files=\d+ bytes=\d+ seconds=\S+$`, lastLine(must(t, args...)))
		a, err := os.ReadFile(name(want))
		require.NoError(t, err)
		b, err := os.ReadFile(name("whole"))
		require.NoError(t, err)
		require.True(t, bytes.Equal(a, b), "%v", chain)
	}
	begin := backup("begin", "--manifest", "--lsn", "0/1C000A0")
	middle := backup("middle", "--incremental-from", begin, "--lsn", "0/2000000")
	last := backup("last", "--incremental-from", middle)
	backup("want", "--manifest")
	same("want", "begin", "middle", "last")
	backup("nothing", "--incremental-from", last)
	same("want", "begin", "middle", "last", "nothing")

	must(t, at("compact", "--strategy", "legacy")...)
	backup("compacted", "--incremental-from", middle)
	same("want", "begin", "middle", "compacted")
	must(t, at("gc", "--horizon", "0", "--pitr", "0")...)
	code, _, stderr := command(t, at("basebackup", "--output", name("late"), "--incremental-from", middle)...)
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "incremental backup")
	require.NoFileExists(t, name("late"))
}
