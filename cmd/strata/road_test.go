package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/sample"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

// lastLine is the closing line.
func lastLine(s string) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	return lines[len(lines)-1]
}

// must runs a command line that has to succeed and gives its stdout.
func must(t *testing.T, args ...string) string {
	t.Helper()
	code, out, errs := command(t, args...)
	require.Zero(t, code, "strata %s\n%s", strings.Join(args, " "), errs)
	return out
}

// The usual road on the sample, by the command line alone, with every closing line.
func TestTheUsualRoad(t *testing.T) {
	work := t.TempDir()
	store, cluster, wal := filepath.Join(work, "store"), filepath.Join(work, "cluster"), filepath.Join(work, "wal")
	s, err := sample.Open("../../testdata/sample")
	require.NoError(t, err)
	require.NoError(t, s.ExtractCluster(cluster))
	require.NoError(t, s.ExtractWAL(wal))
	lsns := s.LSNs()
	at := func(args ...string) []string { return append(args, "--store", store) }
	matches := func(out, want string) {
		t.Helper()
		require.Regexp(t, regexp.MustCompile("^"+want+"$"), lastLine(out))
	}

	matches(must(t, at("import", "--pgdata", cluster)...),
		`import: lsn=`+lsns[0].String()+` relations=\d+ pages=\d+ seconds=\d+\.\d{3}`)
	matches(must(t, at("verify", "cluster", "--pgdata", cluster)...), `cluster: pages=\d+ slru=\d+ different=0 seconds=\S+`)

	// In steps, the second to an LSN inside a record; then to the end, and once more for nothing.
	matches(must(t, at("ingest", "--wal", wal, "--until", lsns[1].String())...),
		`ingest: lsn=`+lsns[1].String()+` records=\d+ bytes=\d+ seconds=\S+`)
	matches(must(t, at("ingest", "--wal", wal, "--until", (lsns[2]+4).String())...), `ingest: lsn=`+lsns[2].String()+` .*`)
	matches(must(t, at("ingest", "--wal", wal, "--checkpoint-distance", "1MiB")...), `ingest: lsn=`+lsns[len(lsns)-1].String()+` .*`)
	matches(must(t, at("ingest", "--wal", wal)...), `ingest: lsn=\S+ records=0 bytes=0 .*`)

	matches(must(t, at("branch", "--at", (lsns[3]+1).String(), "side")...), `branch: timeline=[0-9a-f]{32} lsn=`+lsns[3].String())
	var infos []struct {
		Name          string   `json:"name"`
		LastRecordLSN page.LSN `json:"last_record_lsn"`
	}
	require.NoError(t, json.Unmarshal([]byte(must(t, at("info", "--json")...)), &infos))
	require.Len(t, infos, 2)

	matches(must(t, at("layers")...), `layers: deltas=\d+ images=1 l0=\d+ bytes=\d+`)
	svg := filepath.Join(work, "layers.svg")
	matches(must(t, at("layers", "draw", "--output", svg)...), `layers: .*`)
	require.FileExists(t, svg)
	matches(must(t, at("verify", "layers")...), `layers: files=\d+ bytes=\d+ unverified=\d+ corrupt=0`)

	var closing map[string]any
	require.NoError(t, json.Unmarshal([]byte(must(t, at("layers", "--json")...)), &closing))
	require.Contains(t, closing, "l0")

	pageRoad(t, at, lsns)
	sizeRoad(t, at, lsns)
	backupRoad(t, at, work, lsns)
}

// pageRoad reads one page in all its forms; pg_class of database 5 is always there.
func pageRoad(t *testing.T, at func(...string) []string, lsns []page.LSN) {
	args := at("page", "--rel", "1664/0/1262", "--block", "0", "--lsn", lsns[2].String())
	raw := must(t, append(args, "--raw")...)
	require.Len(t, raw, pg.BlockSize)
	require.Contains(t, must(t, args...), "kind heap")
	require.Contains(t, must(t, append(args, "--hex")...), "00000000  ")
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"missing relation":  {at("page", "--rel", "1663/5/4242424", "--block", "0"), "1663/5/4242424"},
		"missing block":     {at("page", "--rel", "1664/0/1262", "--block", "77"), "77"},
		"before the start":  {at("page", "--rel", "1664/0/1262", "--block", "0", "--lsn", "0/10"), "0/10"},
		"after the end":     {at("page", "--rel", "1664/0/1262", "--block", "0", "--lsn", "7/0"), "7/0"},
		"before the branch": {at("page", "--rel", "1664/0/1262", "--block", "0", "--timeline", "side", "--lsn", lsns[1].String()), "branched from"},
		"unknown timeline":  {at("page", "--rel", "1664/0/1262", "--block", "0", "--timeline", "nowhere"), "nowhere"},
	} {
		code, out, errs := command(t, c.args...)
		require.Equal(t, exitFailed, code, name)
		require.Empty(t, out, name)
		require.Contains(t, errs, c.want, name)
	}
}

// requireSameBackup compares backups of two timelines, which say in pg_control and in their WAL's checkpoint whose they are.
func requireSameBackup(t *testing.T, a, b []byte) {
	t.Helper()
	require.Len(t, b, len(a))
	other := 0
	for i := range a {
		if a[i] != b[i] {
			other++
		}
	}
	const mark, crc = 4, 4
	require.LessOrEqual(t, other, 2*(mark+crc))
	require.NotZero(t, other)
}

// backupRoad writes a backup to a file and to stdout, which must be the same, and imports it again.
func backupRoad(t *testing.T, at func(...string) []string, work string, lsns []page.LSN) {
	name := filepath.Join(work, "b.tar")
	out := must(t, at("basebackup", "--timeline", "side", "--output", name)...)
	require.Regexp(t, `^basebackup: lsn=`+lsns[3].String()+` files=\d+ bytes=\d+ seconds=\S+$`, lastLine(out))
	file, err := os.ReadFile(name)
	require.NoError(t, err)

	code, stdout, stderr := command(t, at("basebackup", "--lsn", lsns[3].String(), "--output", "-")...)
	require.Zero(t, code)
	require.Regexp(t, `^basebackup: lsn=`, lastLine(stderr))
	requireSameBackup(t, file, []byte(stdout)) // the branch's is its ancestor's at that LSN

	dir := filepath.Join(work, "restored")
	require.NoError(t, untar(dir, bytes.NewReader(file)))
	again := filepath.Join(work, "again")
	require.Contains(t, must(t, "import", "--store", again, "--pgdata", dir), "import: lsn=")
	code, out, stderr = command(t, at("verify", "cluster", "--pgdata", dir, "--timeline", "side")...)
	require.Zero(t, code, stderr)
	require.Contains(t, out, "different=0")
}

func untar(dir string, r io.Reader) error {
	t := tar.NewReader(r)
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		path := filepath.Join(dir, h.Name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		if h.Typeflag == tar.TypeDir {
			err = os.MkdirAll(path, 0o700)
		} else {
			var b []byte
			if b, err = io.ReadAll(t); err == nil {
				err = os.WriteFile(path, b, 0o600)
			}
		}
		if err != nil {
			return err
		}
	}
}

func TestAStoreInUseIsRefused(t *testing.T) {
	work := t.TempDir()
	store, cluster := filepath.Join(work, "store"), filepath.Join(work, "cluster")
	s, err := sample.Open("../../testdata/sample")
	require.NoError(t, err)
	require.NoError(t, s.ExtractCluster(cluster))
	must(t, "import", "--store", store, "--pgdata", cluster)
	lock, err := os.OpenFile(filepath.Join(store, "LOCK"), os.O_RDWR, 0)
	require.NoError(t, err)
	defer lock.Close()
	require.NoError(t, flock(lock))
	code, _, errs := command(t, "info", "--store", store)
	require.Equal(t, exitFailed, code)
	require.Contains(t, errs, "in use by another process")
	require.Contains(t, errs, store)
}

// sizeRoad lists relations and adds them up, in all forms.
func sizeRoad(t *testing.T, at func(...string) []string, lsns []page.LSN) {
	lsn := lsns[2].String()
	rels := must(t, at("rels", "--lsn", lsn)...)
	require.Regexp(t, `(?m)^1664/0/1262 +main +1$`, rels)
	require.Regexp(t, `^rels: lsn=`+lsn+` databases=\d+ relations=\d+ blocks=\d+ bytes=\d+$`, lastLine(rels))
	size := must(t, at("size", "--lsn", lsn)...)
	require.Regexp(t, `^size: lsn=`+lsn+` databases=\d+ blocks=\d+ bytes=\d+$`, lastLine(size))
	require.Equal(t, regexp.MustCompile(`blocks=.*`).FindString(lastLine(rels)), regexp.MustCompile(`blocks=.*`).FindString(lastLine(size)))
	svg := filepath.Join(t.TempDir(), "size.svg")
	require.Regexp(t, `^size: timelines=2 points=5 snapshots=1 bytes=\d+$`, lastLine(must(t, at("size", "--model", "--svg", svg)...)))
	require.FileExists(t, svg)
	var model struct {
		Bytes  uint64
		Points []struct{ Timeline, Method string }
	}
	require.NoError(t, json.Unmarshal([]byte(must(t, at("size", "--model", "--json")...)), &model))
	require.Len(t, model.Points, 5)
	require.Equal(t, "side", model.Points[4].Timeline)
	var list struct {
		Relations int
		List      []struct {
			Relation, Blocks uint32
			Fork             string
		}
	}
	require.NoError(t, json.Unmarshal([]byte(must(t, at("rels", "--json", "--lsn", lsn, "--fork", "main", "--min-size", "16KiB", "--largest", "5")...)), &list))
	require.Equal(t, 5, list.Relations)
	for i, r := range list.List {
		require.Equal(t, "main", r.Fork)
		require.GreaterOrEqual(t, r.Blocks, uint32(2))
		require.True(t, i == 0 || r.Blocks <= list.List[i-1].Blocks)
	}
	require.Regexp(t, `relations=1 blocks=1 bytes=8192$`, lastLine(must(t, at("rels", "--lsn", lsn, "--rel", "1262", "--db", "0", "--fork", "main")...)))
}
