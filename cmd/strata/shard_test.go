package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/sample"
	"github.com/stratapg/strata/internal/testkit"
)

// TestTheRoadOfAShardedTenant splits the store of the sample in the middle of its WAL: the base backup in the end is that of a
// store that was not split, and each page comes from one shard alone.
func TestTheRoadOfAShardedTenant(t *testing.T) {
	if !testkit.WithoutRace(t) {
		return
	}
	work := t.TempDir()
	cluster, wal := filepath.Join(work, "cluster"), filepath.Join(work, "wal")
	s, err := sample.Open("../../testdata/sample")
	require.NoError(t, err)
	require.NoError(t, s.ExtractCluster(cluster))
	require.NoError(t, s.ExtractWAL(wal))
	var backups [2][]byte
	for i := range backups {
		store, tar := filepath.Join(work, "store"+string(rune('0'+i))), filepath.Join(work, "base.tar")
		at := func(args ...string) []string { return append(args, "--store", store) }
		must(t, at("import", "--pgdata", cluster)...)
		must(t, at("ingest", "--wal", wal, "--until", s.LSNs()[2].String())...)
		if i == 1 {
			require.Regexp(t, `^split: shards=4 seconds=\S+`, lastLine(must(t, at("split", "--shards", "4", "--stripe-size", "8")...)))
			code, _, errs := command(t, at("split", "--shards", "4")...)
			require.Equal(t, exitFailed, code)
			require.Contains(t, errs, "has 4 shards already")
		}
		must(t, at("ingest", "--wal", wal)...)
		must(t, at("basebackup", "--output", tar)...)
		backups[i], err = os.ReadFile(tar)
		require.NoError(t, err)
		if i == 1 {
			given := 0
			for _, shard := range []string{"0004", "0104", "0204", "0304"} {
				code, _, errs := command(t, at("page", "--shard", shard, "--rel", "1664/0/1262", "--block", "0")...)
				if code == 0 {
					given++
				} else {
					require.Contains(t, errs, "another shard")
				}
			}
			require.Equal(t, 1, given)
			code, _, errs := command(t, at("page", "--rel", "1664/0/1262", "--block", "0")...)
			require.Equal(t, exitFailed, code)
			require.Contains(t, errs, "there are its shards")
		}
	}
	requireSameBackup(t, backups[0], backups[1])
}
