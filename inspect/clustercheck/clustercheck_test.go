package clustercheck_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/inspect/clustercheck"
	"github.com/stratapg/strata/internal/sample"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/control"
	"github.com/stratapg/strata/pg/mask"
)

// imported gives a timeline that holds the sample's cluster, and that cluster's directory, to be damaged.
func imported(t *testing.T) (*strata.Timeline, string) {
	t.Helper()
	ctx := context.Background()
	s, err := sample.Open("../../testdata/sample")
	require.NoError(t, err)
	dir := filepath.Join(t.TempDir(), "cluster")
	require.NoError(t, s.ExtractCluster(dir))
	// The sample has no commit timestamps.
	stamps := bytes.Repeat([]byte{1, 2, 3, 4, 5, 6, 7, 8, 0, 0}, 2*pg.BlockSize/10+1)[:2*pg.BlockSize]
	require.NoError(t, os.WriteFile(filepath.Join(dir, "pg_commit_ts", "0000"), stamps, 0o600))
	e, err := strata.Open(ctx, strata.Options{Dir: filepath.Join(t.TempDir(), "store"), CreateIfMissing: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, e.Close()) })
	tenant, err := e.DefaultTenant(ctx)
	require.NoError(t, err)
	tl, _, err := tenant.Import(ctx, strata.ImportOptions{PGData: dir, Name: "main"})
	require.NoError(t, err)
	return tl, dir
}

func check(t *testing.T, tl *strata.Timeline, dir string) (clustercheck.Report, error) {
	t.Helper()
	i := tl.Info()
	return clustercheck.Run(context.Background(), clustercheck.Options{
		Reader: tl, LSN: i.LastRecordLSN, Version: i.Version, SystemID: i.SystemID, Dir: dir,
	})
}

// findPage gives a file of the data directory, and the offset in it, of a page of the wanted kind.
func findPage(t *testing.T, dir string, want mask.Kind) (path string, at int64) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "base", "*", "*"))
	require.NoError(t, err)
	for _, f := range files {
		name := filepath.Base(f)
		fork := page.ForkMain
		if strings.HasSuffix(name, "_vm") {
			fork = page.ForkVM
		} else if _, err := strconv.Atoi(name); err != nil {
			continue
		}
		b, err := os.ReadFile(f)
		require.NoError(t, err)
		for at := 0; at+pg.BlockSize <= len(b); at += pg.BlockSize {
			p := b[at : at+pg.BlockSize]
			used := slices.ContainsFunc(p[24:], func(c byte) bool { return c != 0 })
			if used && mask.KindOf(p, fork) == want {
				return f, int64(at)
			}
		}
	}
	t.Fatalf("the sample has no %s page", want)
	return "", 0
}

// damage flips one bit of a file at an offset that the masks leave.
func damage(t *testing.T, path string, at int64) {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	b[at] ^= 0x10
	require.NoError(t, os.WriteFile(path, b, 0o600))
}

func appendTo(t *testing.T, path string, p []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.Write(p)
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

// Each case damages one thing and undoes it again; what must be found is how many differences, and where.
func TestEveryDamageIsFound(t *testing.T) {
	tl, dir := imported(t)
	r, err := check(t, tl, dir)
	require.NoError(t, err)
	require.Zero(t, r.Different, "%v", r.First)
	require.Greater(t, r.Pages, int64(1000))
	require.GreaterOrEqual(t, r.SLRU, int64(3))
	if !testkit.WithoutRace(t) {
		return // one comparison has shown the race detector all there is
	}

	zero, junk := make([]byte, pg.BlockSize), make([]byte, pg.BlockSize)
	junk[100] = 1
	heap, heapAt := findPage(t, dir, mask.KindHeap)
	btree, btreeAt := findPage(t, dir, mask.KindBtree)
	vm, vmAt := findPage(t, dir, mask.KindVM)
	for name, c := range map[string]struct {
		path  string
		do    func(path string)
		want  int64
		named string
	}{
		"heap item":            {heap, func(p string) { damage(t, p, heapAt+itemByte(t, heap, heapAt)) }, 1, "heap page differs"},
		"btree special":        {btree, func(p string) { damage(t, p, btreeAt+pg.BlockSize-16) }, 1, "btree page differs"},
		"map bit":              {vm, func(p string) { damage(t, p, vmAt+24) }, 1, "vm page differs"},
		"commit log":           {filepath.Join(dir, "pg_xact", "0000"), func(p string) { damage(t, p, 7) }, 1, "pg_xact page 0"},
		"multixact member":     {filepath.Join(dir, "pg_multixact", "members", "0000"), func(p string) { damage(t, p, 4000) }, 1, "members page 0"},
		"relation map":         {filepath.Join(dir, "global", "pg_filenode.map"), func(p string) { damage(t, p, 9) }, 1, "relation map of database 1664/0"},
		"zero page at the end": {heap, func(p string) { appendTo(t, p, zero) }, 0, ""},
		"page at the end":      {heap, func(p string) { appendTo(t, p, junk) }, 1, "only the data directory has it"},
		"relation gone":        {heap, func(p string) { require.NoError(t, os.Remove(p)) }, 1, "only the timeline has it"},
		"relation cut":         {heap, func(p string) { require.NoError(t, os.Truncate(p, 0)) }, -1, "only the timeline has it"},
		"relation more":        {filepath.Join(dir, "base", "1", "999999"), func(p string) { require.NoError(t, os.WriteFile(p, junk, 0o600)) }, 1, "1663/1/999999: only the data directory has it"},
		"commit timestamp":     {filepath.Join(dir, "pg_commit_ts", "0000"), func(p string) { damage(t, p, 9000) }, 1, "pg_commit_ts page 1"},
		"no timestamps":        {filepath.Join(dir, "pg_commit_ts", "0000"), func(p string) { require.NoError(t, os.Remove(p)) }, 1, "pg_commit_ts segment 0000: only the timeline has it"},
		"timestamps begun":     {filepath.Join(dir, "pg_commit_ts", "0005"), func(p string) { require.NoError(t, os.WriteFile(p, zero, 0o600)) }, 0, ""},
		"timestamps more":      {filepath.Join(dir, "pg_commit_ts", "0005"), func(p string) { require.NoError(t, os.WriteFile(p, junk, 0o600)) }, 1, "pg_commit_ts segment 0005"},
		"segment more":         {filepath.Join(dir, "pg_xact", "0009"), func(p string) { require.NoError(t, os.WriteFile(p, zero, 0o600)) }, 1, "pg_xact segment 0009"},
		"temporary relation":   {filepath.Join(dir, "base", "1", "t3_999999"), func(p string) { require.NoError(t, os.WriteFile(p, junk, 0o600)) }, 0, ""},
		"free space map":       {filepath.Join(dir, "base", "1", "1259_fsm"), func(p string) { damage(t, p, 30) }, 0, ""},
	} {
		before, errBefore := os.ReadFile(c.path)
		c.do(c.path)
		r, err := check(t, tl, dir)
		require.NoError(t, err, name)
		if c.want < 0 {
			require.NotZero(t, r.Different, name)
		} else {
			require.Equal(t, c.want, r.Different, "%s: %v", name, r.First)
		}
		if c.named != "" {
			require.Contains(t, r.First[0].String(), c.named, name)
		}
		if errBefore != nil {
			require.NoError(t, os.Remove(c.path))
		} else {
			require.NoError(t, os.WriteFile(c.path, before, 0o600))
		}
	}
}

// TestDroppedBeforeTheBackup: the empty file of a relation that a running server had dropped is no difference where the timeline
// came from its base backup; a relation with blocks is one, and so is an empty one anywhere else.
func TestDroppedBeforeTheBackup(t *testing.T) {
	tl, dir := imported(t)
	files, err := filepath.Glob(filepath.Join(dir, "base", "1", "[0-9]*"))
	require.NoError(t, err)
	remove := func(empty bool) {
		for _, f := range files {
			i, err := os.Stat(f)
			if err == nil && empty == (i.Size() == 0) && !strings.Contains(filepath.Base(f), "_") {
				require.NoError(t, os.Remove(f))
				return
			}
		}
		t.Fatal("no such relation in the sample")
	}
	run := func(fuzzy bool) clustercheck.Report {
		i := tl.Info()
		r, err := clustercheck.Run(t.Context(), clustercheck.Options{Reader: tl, LSN: i.LastRecordLSN, Version: i.Version,
			SystemID: i.SystemID, Dir: dir, Fuzzy: fuzzy})
		require.NoError(t, err)
		return r
	}
	remove(true)
	require.EqualValues(t, 1, run(false).Different)
	r := run(true)
	require.Zero(t, r.Different, r.First)
	require.EqualValues(t, 1, r.Lawful["dropped-before-the-backup"])
	remove(false)
	require.NotZero(t, run(true).Different)
}

// itemByte gives the offset in a heap page of the last byte of its first item, which is data of a row.
func itemByte(t *testing.T, path string, at int64) int64 {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	p := b[at : at+pg.BlockSize]
	for n := 24; n < int(binary.LittleEndian.Uint16(p[12:])); n += 4 {
		lp := binary.LittleEndian.Uint32(p[n:])
		if lp>>15&3 == 1 {
			return int64(lp&0x7FFF) + int64(lp>>17) - 1
		}
	}
	t.Fatal("no item on the page")
	return 0
}

func TestWhatCannotBeComparedIsRefused(t *testing.T) {
	tl, dir := imported(t)
	ctl := filepath.Join(dir, "global", "pg_control")
	for name, c := range map[string]struct {
		path string
		edit func(b []byte) []byte
		want string
	}{
		"running server": {filepath.Join(dir, "postmaster.pid"), func([]byte) []byte { return []byte("1\n") }, "stop the server"},
		"other version":  {filepath.Join(dir, "PG_VERSION"), func([]byte) []byte { return []byte("17\n") }, "PostgreSQL 17"},
		"other cluster": {ctl, func(b []byte) []byte {
			const crcOffset = 288 // pg_control 1300
			b = slices.Clone(b)
			b[0] ^= 1
			binary.LittleEndian.PutUint32(b[crcOffset:], crc32.Checksum(b[:crcOffset], crc32.MakeTable(crc32.Castagnoli)))
			return b
		}, "another cluster"},
		"not stopped": {ctl, func(b []byte) []byte {
			f, err := control.Parse(b)
			require.NoError(t, err)
			f.SetState(control.InProduction)
			return f.Encode()
		}, "not stopped cleanly"},
		"damaged control file": {ctl, func(b []byte) []byte { b = slices.Clone(b); b[40] ^= 1; return b }, "pg_control"},
		"torn relation":        {filepath.Join(dir, "base", "1", "1259"), func(b []byte) []byte { return b[:len(b)-1] }, "not whole blocks"},
	} {
		before, errBefore := os.ReadFile(c.path)
		require.NoError(t, os.WriteFile(c.path, c.edit(before), 0o600))
		_, err := check(t, tl, dir)
		require.ErrorContains(t, err, c.want, name)
		require.ErrorContains(t, err, dir, "%s: the error names the place", name)
		if errBefore != nil {
			require.NoError(t, os.Remove(c.path))
		} else {
			require.NoError(t, os.WriteFile(c.path, before, 0o600))
		}
	}
}
