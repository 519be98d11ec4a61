package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// An output is whole or not there; what is no file is written to, and not replaced by one.
func TestOutputs(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	say := func(w io.Writer) error { _, err := io.WriteString(w, "said"); return err }
	content := func(name string) string {
		b, err := os.ReadFile(at(name))
		require.NoError(t, err)
		return string(b)
	}

	require.NoError(t, writeWhole(at("new"), say))
	require.Equal(t, "said", content("new"))
	require.NoError(t, os.WriteFile(at("old"), []byte("as it was"), 0o600))
	require.Error(t, writeWhole(at("old"), func(w io.Writer) error { return errors.Join(say(w), io.ErrUnexpectedEOF) }))
	require.Equal(t, "as it was", content("old"))

	require.NoError(t, os.Symlink("old", at("link")))
	require.NoError(t, writeWhole(at("link"), say))
	require.Equal(t, "said", content("old"))
	target, err := os.Readlink(at("link"))
	require.NoError(t, err)
	require.Equal(t, "old", target)

	require.NoError(t, syscall.Mkfifo(at("pipe"), 0o600))
	got := make(chan string)
	go func() {
		b, _ := os.ReadFile(at("pipe"))
		got <- string(b)
	}()
	require.NoError(t, writeWhole(at("pipe"), say))
	require.Equal(t, "said", <-got)
	st, err := os.Stat(at("pipe"))
	require.NoError(t, err)
	require.NotZero(t, st.Mode()&os.ModeNamedPipe, "the pipe is a pipe still")

	require.ErrorContains(t, writeWhole(dir, say), dir, "a directory")
	names, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, names, 4, "nothing temporary is left")
}
