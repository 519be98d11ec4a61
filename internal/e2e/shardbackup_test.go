package e2e

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/page"
)

// inMemory is an archive that is no file.
type inMemory struct{ *bytes.Reader }

func (inMemory) Name() string { return "an archive" }

// TestShardedIncrementalIsTheSame takes a server's work in by a tenant with shards and by one without: what has changed since an
// LSN, as all shards' indexes tell it together, makes the same incremental backup, and with its parent the full one.
func TestShardedIncrementalIsTheSame(t *testing.T) {
	if !testkit.WithoutRace(t) {
		return
	}
	s := unpackSample(t)
	write := func(tl *strata.ShardedTimeline, o strata.BaseBackupOptions) []byte {
		var b bytes.Buffer
		r, err := tl.BaseBackup(t.Context(), &b, o)
		require.NoError(t, err)
		require.Equal(t, o.LSN, r.LSN)
		return b.Bytes()
	}
	var want [][]byte
	for _, count := range []uint8{0, 3} {
		set := newShards(t, shardStore(t, t.TempDir()), count, 8)
		tl, r, err := set.Import(t.Context(), strata.ImportOptions{PGData: s.pgdata, Name: "main", ID: page.TimelineID{0x44}})
		require.NoError(t, err)
		_, err = tl.Ingest(t.Context(), strata.IngestOptions{Dir: s.wal})
		require.NoError(t, err)
		begin, end := r.LSN, tl.LastRecordLSN()
		middle, err := tl.ResolveLSN(t.Context(), (begin+end)/2)
		require.NoError(t, err)
		chain := [][]byte{
			write(tl, strata.BaseBackupOptions{LSN: begin, Manifest: true}),
			write(tl, strata.BaseBackupOptions{LSN: middle, IncrementalFrom: begin}),
			write(tl, strata.BaseBackupOptions{LSN: end, IncrementalFrom: middle}),
		}
		require.Less(t, len(chain[2]), len(chain[0]))
		if want == nil {
			want = chain
		}
		for i := range chain {
			require.True(t, bytes.Equal(want[i], chain[i]), "%d shards, backup %d", count, i)
		}
		var archives []strata.BackupArchive
		for _, b := range chain {
			archives = append(archives, inMemory{bytes.NewReader(b)})
		}
		var sum bytes.Buffer
		res, err := strata.CombineBackups(t.Context(), &sum, archives, strata.CombineOptions{})
		require.NoError(t, err)
		require.Equal(t, end, res.LSN)
		require.True(t, bytes.Equal(write(tl, strata.BaseBackupOptions{LSN: end, Manifest: true}), sum.Bytes()))

		_, err = strata.CombineBackups(t.Context(), &sum, archives[1:], strata.CombineOptions{})
		require.ErrorIs(t, err, strata.ErrBackupChain)

		// Each changed key is told by the shard that has it.
		require.NoError(t, tl.EachChanged(t.Context(), page.Range{Start: page.MinKey, End: page.MaxKey}, middle, end, func(k page.Key) error {
			_, err := tl.Part(k).Get(t.Context(), k, end)
			return err
		}))
	}
}
