package e2e

import (
	"crypto/sha256"
	"hash"
	"io"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/internal/sample"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/page"
)

// interrupted sums what is written, and does something else once a part has been.
type interrupted struct {
	hash.Hash
	after     int
	meanwhile func()
}

func (w *interrupted) Write(p []byte) (int, error) {
	if w.after -= len(p); w.after < 0 && w.meanwhile != nil {
		meanwhile := w.meanwhile
		w.meanwhile = nil
		meanwhile()
	}
	return w.Hash.Write(p)
}

// TestBaseBackupBesideCollection: while a base backup is on its way, everything that it reads is compacted, and collected but for what it
// holds: it ends with the bytes that it would have had. Afterwards its state is gone.
func TestBaseBackupBesideCollection(t *testing.T) {
	if !testkit.WithoutRace(t) {
		return
	}
	s, err := sample.Open(filepath.Join(testkit.RepoRoot(t), "testdata", "sample"))
	require.NoError(t, err)
	dir, ctx := t.TempDir(), t.Context()
	cluster, wal := filepath.Join(dir, "cluster"), filepath.Join(dir, "wal")
	require.NoError(t, s.ExtractCluster(cluster))
	require.NoError(t, s.ExtractWAL(wal))
	tenant := openStore(t, strata.Options{Dir: filepath.Join(dir, "store"), CheckpointDistance: mib,
		Compaction: strata.Compaction{Knobs: compaction.Options{CompactionTargetSize: 2 * mib, CompactionThreshold: 2, ImageCreationThreshold: 1, ImageCheckDistance: 1}},
		GC:         strata.GarbageCollection{Period: strata.Every(0), LeaseGrace: strata.Every(0)}})
	tl, _, err := tenant.Import(ctx, strata.ImportOptions{PGData: cluster, Name: timelineName})
	require.NoError(t, err)
	_, err = tl.Ingest(ctx, strata.IngestOptions{Dir: wal})
	require.NoError(t, err)
	require.NoError(t, tl.Flush(ctx))
	lsns := s.LSNs()
	at, err := tl.ResolveLSN(ctx, lsns[len(lsns)/2])
	require.NoError(t, err)
	require.Less(t, at, tl.LastRecordLSN())
	backup := func(w io.Writer, lsn page.LSN) error {
		_, err := tl.BaseBackup(ctx, w, strata.BaseBackupOptions{LSN: lsn})
		return err
	}
	want := sha256.New()
	require.NoError(t, backup(want, at))

	layers := tl.Layers()
	w := &interrupted{Hash: sha256.New(), after: mib, meanwhile: func() {
		for _, strategy := range strata.CompactionStrategies() {
			require.NoError(t, tl.SetCompactionStrategy(strategy))
			_, err := tl.Compact(ctx, strata.CompactOptions{})
			require.NoError(t, err)
			r, err := tl.GC(ctx, strata.GCOptions{Horizon: -1, PITR: -1})
			require.NoError(t, err)
			require.Equal(t, tl.LastRecordLSN(), r.Cutoff)
			require.Equal(t, []page.LSN{at}, r.Held)
		}
		require.NotSubset(t, tl.Layers(), layers)
	}}
	require.NoError(t, backup(w, at))
	require.Nil(t, w.meanwhile, "that was not meanwhile")
	require.Equal(t, want.Sum(nil), w.Sum(nil))
	require.ErrorIs(t, backup(io.Discard, at), strata.ErrBeforeHistory)
	require.NoError(t, backup(io.Discard, tl.LastRecordLSN()))
}
