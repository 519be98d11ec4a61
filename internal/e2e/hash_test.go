package e2e

import (
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
	"github.com/stratapg/strata/walredo"
)

// TestUnknownRedo shows that records which redo does not know are kept, and that what needs them fails and
// names relation, block, resource manager and LSN: a page, a base backup, a comparison. All else reads.
func TestUnknownRedo(t *testing.T) {
	v := pg.V15
	p := testkit.Server(t, v, testkit.Config{Settings: map[string]string{"wal_keep_size": "1GB"}})
	base := filepath.Join(testkit.ServerDir(t), "base")
	testkit.CopyTree(t, base, p.Data)
	p.Start()
	p.HashWork()
	rel := relationOf(t, p.Value("postgres", "select pg_relation_filepath('hashed_k')"))
	heap := relationOf(t, p.Value("postgres", "select pg_relation_filepath('hashed')"))
	p.Stop()

	tl := importAndIngest(t, filepath.Join(t.TempDir(), "store"), base, p.CopyWAL(), mib)
	last := tl.LastRecordLSN()
	_, err := tl.Page(t.Context(), heap, 0, last)
	require.NoError(t, err, "the table under the index is whole")
	_, err = tl.Page(t.Context(), rel, 0, last)
	requireNamed(t, err, rel)
	_, err = tl.BaseBackup(t.Context(), io.Discard, strata.BaseBackupOptions{})
	requireNamed(t, err, rel)
	_, err = compareCluster(t.Context(), tl, v, p.Data, last, 0)
	requireNamed(t, err, rel)
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
