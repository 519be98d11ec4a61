package main

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/sample"
	"github.com/stratapg/strata/internal/testkit"
)

const sampleDir = "../../testdata/sample"

// A digest that is not the page's must end the demo with an error, and so with exit code 1.
func TestDamagedDigestFails(t *testing.T) {
	if !testkit.WithoutRace(t) {
		return
	}
	dir := filepath.Join(t.TempDir(), "sample")
	require.NoError(t, os.CopyFS(dir, os.DirFS(sampleDir)))
	s, err := sample.Open(dir)
	require.NoError(t, err)
	lsn := s.LSNs()[1]
	pages, err := s.Pages(lsn)
	require.NoError(t, err)
	damageOne(t, pages)

	name := filepath.Join(dir, sample.PagesName(lsn))
	require.NoError(t, os.Chmod(name, 0o644))
	f, err := os.Create(name)
	require.NoError(t, err)
	z, err := zstd.NewWriter(f)
	require.NoError(t, err)
	_, err = pages.WriteTo(z)
	require.NoError(t, err)
	require.NoError(t, z.Close())
	require.NoError(t, f.Close())

	err = run(context.Background(), dir, t.TempDir())
	require.ErrorContains(t, err, "1 pages are not PostgreSQL's")
}

func damageOne(t *testing.T, pages *sample.Pages) {
	for _, digests := range pages.Rels {
		if len(digests) > 0 {
			digests[0] ^= 1
			return
		}
	}
	t.Fatal("no relation has a page")
}
