package e2e

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/wal"
	"github.com/stratapg/strata/walredo"
	"github.com/stratapg/strata/walredo/native"
)

// TestUnknownRedo shows that records which redo does not know are kept, and that what needs them fails and
// names relation, block, resource manager and LSN: a page, a base backup, a comparison. All else reads.
func TestUnknownRedo(t *testing.T) {
	v := pg.V15
	p := testkit.Server(t, v, testkit.Config{Settings: map[string]string{"wal_keep_size": "1GB"}})
	base := filepath.Join(testkit.ServerDir(t), "base")
	testkit.CopyTree(t, base, p.Data)
	p.Start()
	s := p.Connect("postgres")
	s.Each("create table hashed(k int, v text)", "create index hashed_k on hashed using hash(k)",
		"insert into hashed select g, 'v' from generate_series(1, 3000) g", "checkpoint",
		"insert into hashed select g, 'w' from generate_series(3000, 4000) g", "delete from hashed where k % 3 = 0", "vacuum hashed")
	s.Close()
	rel := relationOf(t, p.Value("postgres", "select pg_relation_filepath('hashed_k')"))
	heap := relationOf(t, p.Value("postgres", "select pg_relation_filepath('hashed')"))
	p.Stop()

	redoer := withoutHash{native.New()}
	t.Cleanup(func() { require.NoError(t, redoer.Close()) })
	tenant := openStore(t, strata.Options{Dir: filepath.Join(t.TempDir(), "store"), CheckpointDistance: mib, Redoer: redoer})
	tl, _, err := tenant.Import(t.Context(), strata.ImportOptions{PGData: base, Name: timelineName})
	require.NoError(t, err)
	_, err = tl.Ingest(t.Context(), strata.IngestOptions{Dir: p.CopyWAL()})
	require.NoError(t, err)
	last := tl.LastRecordLSN()
	_, err = tl.Page(t.Context(), heap, 0, last)
	require.NoError(t, err, "the table under the index is whole")
	_, err = tl.Page(t.Context(), rel, 0, last)
	requireNamed(t, err, rel)
	_, err = tl.BaseBackup(t.Context(), io.Discard, strata.BaseBackupOptions{})
	requireNamed(t, err, rel)
	_, err = compareCluster(t.Context(), tl, v, p.Data, last, 0)
	requireNamed(t, err, rel)
}

// withoutHash stands for a Redoer that does not know the records of hash indexes.
type withoutHash struct{ walredo.Redoer }

func (r withoutHash) Redo(ctx context.Context, dst []byte, req *walredo.Request) ([]byte, error) {
	for i := range req.Records {
		v := req.Records[i].Value
		var rec wal.Record
		if v.Kind == page.KindPostgres && rec.Decode(req.Version, v.Bytes) == nil && rec.Rmgr == pg.RmHash {
			return dst, &walredo.Error{Key: req.Key, LSN: req.Records[i].LSN, Rmgr: rec.Rmgr, Info: rec.Info, Err: walredo.ErrUnsupported}
		}
	}
	return r.Redoer.Redo(ctx, dst, req)
}

// requireNamed demands an error that says what cannot be rebuilt and why.
func requireNamed(t *testing.T, err error, rel page.RelTag) {
	t.Helper()
	require.ErrorIs(t, err, walredo.ErrUnsupported)
	require.ErrorContains(t, err, rel.String())
	require.ErrorContains(t, err, pg.RmHash.String())
	require.Regexp(t, regexp.MustCompile(`block [0-9]+`), err.Error())
	require.Regexp(t, regexp.MustCompile(`[0-9A-F]+/[0-9A-F]{6,}`), err.Error())
}

// relationOf reads a path such as base/5/16384.
func relationOf(t *testing.T, path string) page.RelTag {
	t.Helper()
	parts := strings.Split(path, "/")
	require.Len(t, parts, 3, path)
	number := func(s string) uint32 {
		n, err := strconv.ParseUint(s, 10, 32)
		require.NoError(t, err, fmt.Sprintf("path %s", path))
		return uint32(n)
	}
	return page.RelTag{Spc: pg.DefaultTablespace, DB: number(parts[1]), Rel: number(parts[2])}
}
