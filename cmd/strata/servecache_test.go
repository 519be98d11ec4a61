package main

import (
	"bytes"
	"context"
	"io"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	strata "github.com/stratapg/strata"
)

// TestServeCache: the flags of the cache of base backups reach it, and what is wrong with them is said at once.
func TestServeCache(t *testing.T) {
	store := filepath.Join(t.TempDir(), "store")
	e, err := strata.Open(t.Context(), strata.Options{Dir: store, CreateIfMissing: true})
	require.NoError(t, err)
	require.NoError(t, e.Close())
	cache := filepath.Join(store, "..", "cache")
	args := func(more ...string) []string {
		return append([]string{"serve", "--store", store, "--listen", "127.0.0.1:0", "--basebackup-cache-dir", cache}, more...)
	}
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"--basebackup-cache-kinds", "compute,half"}, 2, `"half": want full, compute or standby`},
		{[]string{"--basebackup-cache-kinds", "full+replica"}, 2, "replica and no-slrus are for a compute"},
		{[]string{"--basebackup-cache-bytes", "some"}, 2, "as in 256MiB"},
		{[]string{"--basebackup-cache-entries", "-1"}, 1, "entries are limited to -1"},
	} {
		var out, errs bytes.Buffer
		code := run(t.Context(), args(c.args...), &out, &errs)
		require.Equal(t, c.code, code, errs.String())
		require.Contains(t, errs.String(), c.says)
	}
	require.NoDirExists(t, cache)

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	errs, told := io.Pipe()
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, args("--basebackup-cache-bytes", "64MiB", "--basebackup-cache-kinds", "compute+gzip,full"), io.Discard, told)
		told.Close()
	}()
	said := make([]byte, 1)
	_, err = io.ReadFull(errs, said) // it says where it listens once all is open
	require.NoError(t, err)
	go func() { _, _ = io.Copy(io.Discard, errs) }()
	require.DirExists(t, cache)
	stop()
	require.Zero(t, <-code)
}
