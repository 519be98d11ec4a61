package e2e

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/internal/clock"
	"github.com/stratapg/strata/internal/tenant"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/internal/timeline"
	"github.com/stratapg/strata/internal/upload/index"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/virtualfile"
	"github.com/stratapg/strata/walredo/native"
)

// Neon's tenant, its timeline, and the branch that has no layers of its own.
var (
	neonTenant = page.TenantID(repeated(0x33))
	neonMain   = page.TimelineID(repeated(0x44))
	neonBranch = page.TimelineID(repeated(0x55))
)

func repeated(b byte) (id [16]byte) {
	for i := range id {
		id[i] = b
	}
	return id
}

// neonRemote is the fixture's remote storage, unpacked.
type neonRemote string

func (r neonRemote) path(id page.TimelineID, name string) string {
	return filepath.Join(string(r), "tenants", neonTenant.String(), "timelines", id.String(), name)
}

func (r neonRemote) index(t *testing.T, id page.TimelineID, generation int) *index.Part {
	b, err := os.ReadFile(r.path(id, fmt.Sprintf("index_part.json-%08x", generation)))
	require.NoError(t, err)
	p, err := index.Parse(b)
	require.NoError(t, err)
	return p
}

// place copies a layer under its local name.
func (r neonRemote) place(id page.TimelineID, fs virtualfile.FS) func(ctx context.Context, dir string, d layer.Desc) error {
	return func(_ context.Context, dir string, d layer.Desc) error {
		b, err := os.ReadFile(r.path(id, fmt.Sprintf("%s-%08x", d.Name(), d.Generation)))
		if err != nil {
			return err
		}
		return virtualfile.WriteFileAtomic(fs, filepath.Join(dir, d.FileName()), b)
	}
}

// adopt makes a store of Neon's timelines as one generation's index has them.
func (r neonRemote) adopt(t *testing.T, dir string, generation int, branch bool) {
	ctx := t.Context()
	fs := virtualfile.NewOS()
	redoer := native.New()
	defer redoer.Close()
	s, err := tenant.Open(ctx, tenant.Options{Dir: dir, CreateIfMissing: true, Config: timeline.Config{
		FS: fs, CheckpointDistance: mib, MaxFrozen: 2, MinManifestRewrite: mib, Memory: 64 * mib, ValidateIO: true,
		Redoer: redoer, Logger: slog.New(slog.DiscardHandler), Clock: clock.System,
	}})
	require.NoError(t, err)
	tn, err := s.CreateTenant(ctx, neonTenant)
	require.NoError(t, err)
	main, err := tn.Adopt(ctx, timeline.Adoption{Tenant: neonTenant, ID: neonMain, Name: "main",
		Index: r.index(t, neonMain, generation), Place: r.place(neonMain, fs)})
	require.NoError(t, err)
	if branch {
		p := r.index(t, neonBranch, generation)
		_, err = tn.Adopt(ctx, timeline.Adoption{Tenant: neonTenant, ID: neonBranch, Name: "orphan", Index: p})
		require.ErrorContains(t, err, "ancestor")
		_, err = tn.Adopt(ctx, timeline.Adoption{Tenant: neonTenant, ID: neonBranch, Name: "branch", Index: p, Ancestor: main})
		require.NoError(t, err)
	}
	require.NoError(t, s.Close())
}

// TestNeonsOwnLayers opens timelines over the layer files that Neon wrote, read-only, and compares every page
// that Neon answered, on the branch too, and the final cluster.
func TestNeonsOwnLayers(t *testing.T) {
	if !testkit.WithoutRace(t) {
		return
	}
	dir := t.TempDir()
	testkit.UntarFixture(t, filepath.Join(dir, "remote"), neonFixture+"/remote.tar.zst")
	remote := neonRemote(filepath.Join(dir, "remote"))
	open := func(t *testing.T, store string) *strata.Tenant {
		e, err := strata.Open(t.Context(), strata.Options{Dir: store, ReadOnly: true, ValidateIO: true})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, e.Close()) })
		tn, err := e.Tenant(t.Context(), neonTenant)
		require.NoError(t, err)
		return tn
	}
	const first, second, third = "0/2432748", "0/25E23A8", "0/2E770A0"
	t.Run("newest index", func(t *testing.T) {
		store := filepath.Join(dir, "newest")
		remote.adopt(t, store, 2, true)
		tn := open(t, store)
		main, err := tn.Timeline(t.Context(), "main")
		require.NoError(t, err)
		info := main.Info()
		require.Equal(t, third, info.LastRecordLSN.String())
		require.Equal(t, 89, info.Layers)
		require.True(t, info.Checksums, "from the control file in the layers")
		require.Equal(t, uint32(16*mib), info.WALSegSize)
		require.Equal(t, pg.V17, info.Version)
		for _, at := range []string{first, second, third} {
			compareAnswers(t, main, at)
		}
		branch, err := tn.Timeline(t.Context(), neonBranch.String())
		require.NoError(t, err)
		require.Zero(t, branch.Info().Layers)
		require.Equal(t, info.SystemID, branch.Info().SystemID)
		for _, at := range []string{first, second} {
			compareAnswers(t, branch, at)
		}
		_, err = branch.Get(t.Context(), page.ControlFileKey, branch.LastRecordLSN()+8)
		require.ErrorIs(t, err, strata.ErrFutureLSN)
		final := filepath.Join(dir, "final")
		testkit.UntarFixture(t, final, neonFixture+"/final-pgdata.tar.zst")
		requireSameCluster(t, main, pg.V17, final, main.LastRecordLSN(), 0)
	})
	t.Run("older index", func(t *testing.T) {
		store := filepath.Join(dir, "older")
		remote.adopt(t, store, 1, false)
		main, err := open(t, store).Timeline(t.Context(), "main")
		require.NoError(t, err)
		require.Equal(t, 55, main.Info().Layers)
		require.GreaterOrEqual(t, main.LastRecordLSN().String(), second)
		for _, at := range []string{first, second} {
			compareAnswers(t, main, at)
		}
	})
}
