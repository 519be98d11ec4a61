package sample_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/sample"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

var relFile = regexp.MustCompile(`^([0-9]+)(?:_(vm|init))?$`)

// digestDir makes the digests of a stopped data directory without tablespaces, straight from its files.
func digestDir(t testing.TB, dir string, lsn page.LSN) *sample.Pages {
	t.Helper()
	p := sample.NewPages(lsn)
	digestDatabase(t, p, filepath.Join(dir, "global"), sample.Database{Spc: pg.GlobalTablespace})
	for _, e := range entries(t, filepath.Join(dir, "base")) {
		oid, err := strconv.ParseUint(e, 10, 32)
		if err != nil {
			continue // pgsql_tmp
		}
		digestDatabase(t, p, filepath.Join(dir, "base", e), sample.Database{Spc: pg.DefaultTablespace, DB: uint32(oid)})
	}
	for _, kind := range page.SLRUs {
		for _, e := range entries(t, filepath.Join(dir, kind.String())) {
			n, err := strconv.ParseUint(e, 16, 32)
			require.NoError(t, err)
			p.AddSegment(sample.Segment{Kind: kind, Number: uint32(n)},
				digestFile(t, filepath.Join(dir, kind.String(), e), func(b []byte, _ uint32) sample.Digest { return sample.SLRUDigest(b) }))
		}
	}
	return p
}

func digestDatabase(t testing.TB, p *sample.Pages, dir string, db sample.Database) {
	t.Helper()
	for _, name := range entries(t, dir) {
		path := filepath.Join(dir, name)
		if name == "pg_filenode.map" {
			b, err := os.ReadFile(path)
			require.NoError(t, err)
			p.Maps[db] = sample.MapDigest(b)
			continue
		}
		m := relFile.FindStringSubmatch(name)
		if m == nil {
			continue
		}
		rel, err := strconv.ParseUint(m[1], 10, 32)
		require.NoError(t, err)
		tag := page.RelTag{Spc: db.Spc, DB: db.DB, Rel: uint32(rel)}
		for _, f := range []page.Fork{page.ForkVM, page.ForkInit} {
			if m[2] == f.String() {
				tag.Fork = f
			}
		}
		p.AddRel(tag, digestFile(t, path, func(b []byte, block uint32) sample.Digest {
			return sample.PageDigest(b, tag.Fork, block)
		}))
	}
	// What an unlogged relation holds is in no WAL: its init fork alone counts.
	for tag := range p.Rels {
		if tag.Fork == page.ForkInit {
			delete(p.Rels, tag.WithFork(page.ForkMain))
			delete(p.Rels, tag.WithFork(page.ForkVM))
		}
	}
}

func digestFile(t testing.TB, path string, digest func([]byte, uint32) sample.Digest) []sample.Digest {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Zero(t, len(b)%pg.BlockSize, path)
	require.Less(t, len(b), pg.RelSegBlocks*pg.BlockSize, "%s: a relation of several files", path)
	ds := make([]sample.Digest, len(b)/pg.BlockSize)
	for i := range ds {
		ds[i] = digest(b[i*pg.BlockSize:(i+1)*pg.BlockSize], uint32(i))
	}
	return ds
}

func entries(t testing.TB, dir string) []string {
	t.Helper()
	es, err := os.ReadDir(dir)
	require.NoError(t, err)
	names := make([]string, len(es))
	for i, e := range es {
		names[i] = e.Name()
	}
	return names
}
