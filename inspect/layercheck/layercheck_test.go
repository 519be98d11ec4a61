package layercheck_test

import (
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/inspect/layercheck"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

// store makes a store with one delta of many values and gives its directory and the delta's path.
func store(t *testing.T) (dir, delta string) {
	t.Helper()
	ctx := context.Background()
	dir = t.TempDir()
	e, err := strata.Open(ctx, strata.Options{Dir: dir, CreateIfMissing: true})
	require.NoError(t, err)
	tenant, err := e.DefaultTenant(ctx)
	require.NoError(t, err)
	tl, err := tenant.Create(ctx, strata.CreateOptions{Name: "main", Version: pg.V15, InitialLSN: 0x1000})
	require.NoError(t, err)
	rel := page.RelTag{Spc: pg.DefaultTablespace, DB: 5, Rel: 16384}
	var b page.Batch
	for n := range uint32(100) {
		b.PutImage(rel.Block(n), 0x1008, make([]byte, pg.BlockSize))
	}
	require.NoError(t, tl.Put(ctx, &b))
	require.NoError(t, tl.Flush(ctx))
	require.NoError(t, e.Close())
	require.NoError(t, filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if strings.Contains(path, "__") {
			delta = path
		}
		return err
	}))
	require.NotEmpty(t, delta)
	return dir, delta
}

func run(t *testing.T, dir string) layercheck.Report {
	t.Helper()
	ctx := context.Background()
	e, err := strata.Open(ctx, strata.Options{Dir: dir, ReadOnly: true, AllowDamaged: true})
	require.NoError(t, err)
	defer func() { require.NoError(t, e.Close()) }()
	r, err := layercheck.Run(ctx, e, layercheck.Options{Decode: true})
	require.NoError(t, err)
	return r
}

func TestWholeStoreHolds(t *testing.T) {
	dir, delta := store(t)
	info, err := os.Stat(delta)
	require.NoError(t, err)
	r := run(t, dir)
	require.Equal(t, layercheck.Report{Files: 1, Bytes: info.Size(), Entries: 100}, r)
}

func TestDamageIsNamed(t *testing.T) {
	dir, delta := store(t)
	whole, err := os.ReadFile(delta)
	require.NoError(t, err)
	const indexStart = 88 // offset of index_start_blk in a delta's summary
	index := int(binary.BigEndian.Uint32(whole[indexStart:])) * pg.BlockSize
	for name, at := range map[string]int{
		"summary":           4,
		"padding of footer": len(whole) - pg.BlockSize + 4000,
		"footer":            len(whole) - 4,
		"value tag":         pg.BlockSize + 4 + 3,
		"length of value":   pg.BlockSize + 1,
		"children of node":  index,
		"level of node":     index + 2,
		"offset of a value": index + 5 + 100*(page.KeySize+8) + 2,
	} {
		bad := append([]byte(nil), whole...)
		bad[at] ^= 0x40
		require.NoError(t, os.WriteFile(delta, bad, 0o600))
		r := run(t, dir)
		require.Equal(t, 1, r.Corrupt, name)
		require.ErrorIs(t, r.Corruptions[0], layer.ErrCorrupt, name)
		require.ErrorContains(t, r.Corruptions[0], filepath.Base(delta), name)
	}
}

// requireBroken demands that the store opens, and its timeline does not.
func requireBroken(t *testing.T, dir string) {
	t.Helper()
	e, err := strata.Open(t.Context(), strata.Options{Dir: dir})
	require.NoError(t, err)
	defer func() { require.NoError(t, e.Close()) }()
	tn, err := e.DefaultTenant(t.Context())
	require.NoError(t, err)
	_, err = tn.Timeline(t.Context(), "main")
	require.ErrorIs(t, err, strata.ErrBroken)
	require.ErrorIs(t, err, strata.ErrCorrupt)
}

// TestWhatIsNoLayerAnyMore: files that are cut, empty or gone are corrupt ones too, and the others are still
// read.
func TestWhatIsNoLayerAnyMore(t *testing.T) {
	for name, damage := range map[string]func(file string) error{
		"gone":  os.Remove,
		"empty": func(file string) error { return os.Truncate(file, 0) },
		"cut":   func(file string) error { return os.Truncate(file, pg.BlockSize) },
	} {
		dir, delta := store(t)
		require.NoError(t, damage(delta))
		r := run(t, dir)
		require.Equal(t, 1, r.Files, name)
		require.Equal(t, 1, r.Corrupt, name)
		require.ErrorContains(t, r.Corruptions[0], filepath.Base(delta), name)
		_, err := strata.Open(t.Context(), strata.Options{Dir: dir, Strict: true})
		require.ErrorIs(t, err, strata.ErrCorrupt, "a store that is to be written must be sound")
		requireBroken(t, dir)
	}
}
