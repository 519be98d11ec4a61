package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"
)

// command runs a command line in-process.
func command(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(context.Background(), args, &out, &errs)
	return code, out.String(), errs.String()
}

func TestWrongUsageExitsWith2(t *testing.T) {
	for _, args := range [][]string{
		{"nonsense"},
		{"verify", "nonsense"},
		{"import"},
		{"import", "--pgdata", "x", "--flavour", "sweet"},
		{"import", "--pgdata", "x", "extra"},
		{"import", "--pgdata", "x", "--tar", "y"}, {"import", "--pgdata", "x", "--slot", "s"},
		{"ingest"},
		{"ingest", "--wal", "x", "--until", "16B3748"},
		{"ingest", "--wal", "x", "--checkpoint-distance", "256MB"},
		{"ingest", "--wal", "x", "--strategy", "wild"},
		{"receive", "--slot", "s"},
		{"at"},
		{"at", "noon"},
		{"branch", "--time", "yesterday", "x"},
		{"branch", "--time", "2026-01-01", "--at", "0/10", "x"},
		{"rels", "--fork", "fsn"},
		{"size", "--svg", "x.svg"},
		{"size", "--model", "--lsn", "0/10"},
		{"rels", "--largest", "-1"},
		{"rels", "--min-size", "1GB"},
		{"page", "--rel", "1663/5", "--block", "0"},
		{"page", "--rel", "1663/5/16384"},
		{"page", "--rel", "1663/5/16384", "--block", "-1"},
		{"page", "--rel", "1663/5/16384", "--block", "0", "--fork", "toast"},
		{"page", "--rel", "1663/5/16384", "--block", "0", "--raw", "--hex"},
		{"basebackup"},
		{"basebackup", "--output", "x", "--format", "nonsense"}, {"basebackup", "--output", "x", "--replica"}, {"basebackup", "--output", "x", "--compress", "gzip:10"},
		{"basebackup", "--output", "x", "--manifest", "--format", "standby"}, {"basebackup", "--output", "x", "--wal", "d"}, {"combinebackup", "a.tar"}, {"combinebackup", "--output", "x"},
		{"branch"},
		{"branch", "a", "b"},
		{"layers", "draw"},
		{"verify", "cluster"},
		{"verify", "redo", "--wal", "x"},
		{"verify", "redo", "--wal", "x", "--pg", "13"},
		{"verify", "redo", "--wal", "x", "--pg", "15", "--redo", "magic"},
		{"verify", "redo", "--wal", "x", "--pg", "15", "--worker", "/bin/x"},
		{"verify", "redo", "--wal", "x", "--pg", "15", "--redo", "pool", "--worker", "postgres"},
		{"redo-worker"},
		{"redo-worker", "--pg", "15", "--flavour", "sweet"},
		{"info", "--no-such-flag"},
	} {
		code, out, errs := command(t, args...)
		require.Equal(t, exitUsage, code, "strata %s\n%s", strings.Join(args, " "), errs)
		require.Empty(t, out)
		require.Contains(t, errs, "--help")
	}
}

func TestMissingThingsExitWith1AndSayWhich(t *testing.T) {
	empty := t.TempDir()
	for _, args := range [][]string{
		{"info", "--store", filepath.Join(empty, "none")},
		{"layers", "--store", empty},
		{"ingest", "--store", empty, "--wal", empty},
		{"import", "--store", filepath.Join(empty, "new"), "--pgdata", filepath.Join(empty, "nowhere")},
		{"verify", "redo", "--wal", filepath.Join(empty, "nowhere"), "--pg", "15"},
	} {
		code, _, errs := command(t, args...)
		require.Equal(t, exitFailed, code, "strata %s", strings.Join(args, " "))
		require.Contains(t, errs, empty, "the error of strata %s should name the place", strings.Join(args, " "))
	}
}

// Everything that looks at a store must not make one, nor an import of what cannot be imported.
func TestLookingMakesNoStore(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "none")
	for _, args := range [][]string{{"info"}, {"layers"}, {"import", "--pgdata", t.TempDir()}} {
		code, _, _ := command(t, append(args, "--store", dir)...)
		require.Equal(t, exitFailed, code)
	}
	_, err := os.Stat(dir)
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestEveryCommandTeaches(t *testing.T) {
	var visit func(c *cobra.Command)
	visit = func(c *cobra.Command) {
		require.NotEmpty(t, c.Short, c.CommandPath())
		if c.HasAvailableSubCommands() && c.Example == "" {
			for _, s := range c.Commands() {
				visit(s)
			}
			return
		}
		require.NotEmpty(t, c.Example, "%s has no example", c.CommandPath())
		code, out, _ := command(t, append(strings.Fields(c.CommandPath())[1:], "--help")...)
		require.Zero(t, code)
		require.Contains(t, out, strings.TrimSpace(strings.Split(c.Example, "\n")[0]))
		for _, s := range c.Commands() {
			visit(s)
		}
	}
	root := newRoot()
	for _, c := range root.Commands() {
		if c.Name() != "help" {
			visit(c)
		}
	}
}

// A full disk fails what is written, and then what Close still has to write: one cause, said once.
func TestOneCauseIsSaidOnce(t *testing.T) {
	write := fmt.Errorf("write layer: %w", &os.PathError{Op: "write", Path: "a", Err: syscall.ENOSPC})
	again := errors.Join(fmt.Errorf("close: %w", &os.PathError{Op: "write", Path: "b", Err: syscall.ENOSPC}))
	require.Equal(t, write, andAlso(write, again))
	other := fmt.Errorf("close: %w", syscall.EIO)
	require.ErrorIs(t, andAlso(write, other), syscall.EIO)
	require.ErrorIs(t, andAlso(nil, other), syscall.EIO)
	require.ErrorIs(t, andAlso(write, nil), syscall.ENOSPC)
	require.NoError(t, andAlso(nil, nil))
}

func TestClosingLine(t *testing.T) {
	c := closing{name: "import"}.add("lsn", "0/10").add("pages", 3).add("note", "two words")
	var b bytes.Buffer
	require.NoError(t, c.write(&b, false))
	require.Equal(t, "import: lsn=0/10 pages=3 note=two_words\n", b.String())
	b.Reset()
	require.NoError(t, c.write(&b, true))
	var back map[string]any
	require.NoError(t, json.Unmarshal(b.Bytes(), &back))
	require.Equal(t, map[string]any{"lsn": "0/10", "pages": 3.0, "note": "two words"}, back)
}

func TestSizes(t *testing.T) {
	for in, want := range map[string]int64{"1": 1, "8KiB": 8 << 10, "256MiB": 256 << 20, "2GiB": 2 << 30, "1TiB": 1 << 40} {
		var v sizeValue
		require.NoError(t, v.Set(in))
		require.Equal(t, want, int64(v))
		require.Equal(t, in, v.String())
	}
	for _, bad := range []string{"", "0", "-1", "1MB", "1.5GiB", "MiB", "9223372036854775807GiB", "16777216TiB"} {
		var v sizeValue
		require.Error(t, v.Set(bad), bad)
	}
}
