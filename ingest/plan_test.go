package ingest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/datadir/datadirtest"
	"github.com/stratapg/strata/ingest/source"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/remote"
	"github.com/stratapg/strata/remote/memstore"
)

// valuesOf runs the jobs of a plan, the last one first, and gives all values.
func valuesOf(t *testing.T, p *Plan) map[page.Key]string {
	t.Helper()
	out := map[page.Key]string{}
	for n := len(p.Jobs) - 1; n >= 0; n-- {
		j := &p.Jobs[n]
		last := page.Key{}
		s, err := p.Run(t.Context(), n, sinkFunc(func(k page.Key, v []byte) {
			require.True(t, j.Keys.Contains(k), "job %d has %s, which is not its own", n, k)
			require.True(t, len(out) == 0 || last == page.Key{} || last.Less(k))
			require.NotContains(t, out, k)
			last, out[k] = k, string(v)
		}), nil)
		require.NoError(t, err)
		require.Equal(t, j.Pages, s.Pages)
	}
	return out
}

type sinkFunc func(k page.Key, v []byte)

func (f sinkFunc) PutImage(_ context.Context, k page.Key, v []byte) error {
	f(k, v)
	return nil
}

// sources are a data directory in every form.
func sources(t *testing.T, dir string) map[string]source.Source {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	store := memstore.New()
	require.NoError(t, filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		require.NoError(t, err)
		rel, err := filepath.Rel(dir, name)
		require.NoError(t, err)
		info, err := d.Info()
		require.NoError(t, err)
		h, err := tar.FileInfoHeader(info, "")
		require.NoError(t, err)
		h.Name = "./" + filepath.ToSlash(rel)
		require.NoError(t, w.WriteHeader(h))
		if !d.Type().IsRegular() {
			return nil
		}
		content, err := os.ReadFile(name)
		require.NoError(t, err)
		_, err = w.Write(content)
		return err
	}))
	copyTo(t, store, "a/cluster/", dir)
	require.NoError(t, w.Close())
	plain := filepath.Join(t.TempDir(), "base.tar")
	require.NoError(t, os.WriteFile(plain, b.Bytes(), 0o600))

	var packed, unpacked bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, err := z.Write(b.Bytes())
	require.NoError(t, err)
	require.NoError(t, z.Close())
	_, err = source.Unpack(t.Context(), &unpacked, &packed)
	require.NoError(t, err)
	require.True(t, bytes.Equal(b.Bytes(), unpacked.Bytes()))

	r, size, err := source.LocalFile(plain)
	require.NoError(t, err)
	tars, err := source.Tars(t.Context(), "tar", []source.Archive{{Name: plain, Bytes: r, Size: size}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, tars.Close()) })
	return map[string]source.Source{"folder": source.Dir(dir), "tar": tars, "objects": source.Objects(store, "a/cluster", "objects")}
}

// copyTo puts all files of a folder under a prefix.
func copyTo(t *testing.T, store remote.Storage, prefix, dir string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(name)
		require.NoError(t, err)
		rel, err := filepath.Rel(dir, name)
		require.NoError(t, err)
		_, err = store.Put(t.Context(), prefix+filepath.ToSlash(rel), bytes.NewReader(content), int64(len(content)), remote.PutOptions{})
		return err
	}))
}

// TestPlan: a plan follows from the contents alone, whatever they come from; its jobs tile the keys, are as large as asked for,
// and give every value once.
func TestPlan(t *testing.T) {
	dir := smallDataDir(t)
	putFile(t, dir, "base/5/77777", string(bytes.Repeat([]byte{0}, 100*pg.BlockSize)))
	putFile(t, dir, "pg_replslot/slot/state", "a slot")
	var want map[page.Key]string
	digests := map[int64]string{}
	for name, src := range sources(t, dir) {
		for _, pages := range []int64{0, 16, 33, 1 << 20} {
			d, err := Open(t.Context(), src, nil)
			require.NoError(t, err, name)
			require.Equal(t, []string{"pg_replslot/slot"}, d.Left)
			p, err := d.Plan(t.Context(), pages)
			require.NoError(t, err)
			if digests[pages] == "" {
				digests[pages] = p.Digest
			}
			require.Equal(t, digests[pages], p.Digest, name)
			end := page.MinKey
			for _, j := range p.Jobs {
				require.Equal(t, end, j.Keys.Start)
				require.True(t, j.Keys.Start.Less(j.Keys.End))
				require.True(t, pages == 0 || j.Pages <= pages)
				end = j.Keys.End
			}
			require.Equal(t, page.MaxKey, end)
			if pages == 16 {
				require.Greater(t, len(p.Jobs), 6)
			}
			got := valuesOf(t, p)
			if want == nil {
				want = got
			}
			require.Equal(t, want, got, name)
			require.NoError(t, d.StillStopped(t.Context()))
		}
	}
	require.Len(t, digests, 4)
	require.NotEqual(t, digests[16], digests[33])

	change := func(what string, do func()) {
		do()
		d, err := OpenDataDir(dir)
		require.NoError(t, err)
		p, err := d.Plan(t.Context(), 16)
		require.NoError(t, err)
		require.NotEqual(t, digests[16], p.Digest, what)
		digests[16] = p.Digest
	}
	change("a longer relation", func() { putFile(t, dir, "base/5/77777", string(make([]byte, 101*pg.BlockSize))) })
	change("another relation", func() { putFile(t, dir, "base/5/77778", "") })
	change("a setting", func() { putFile(t, dir, "postgresql.conf", "port = 1") })

	// Relations may have keys of their own. Such a plan is another one.
	for form, listed := range map[page.RelDirForm]bool{page.RelDirBoth: true, page.RelDirV2: false} {
		d, err := OpenDataDir(dir)
		require.NoError(t, err)
		d.RelDirs = form
		p, err := d.Plan(t.Context(), 16)
		require.NoError(t, err)
		require.NotEqual(t, digests[16], p.Digest)
		got := valuesOf(t, p)
		relations, entries := 0, 0
		for k, v := range got {
			if _, ok := k.RelSize(); ok {
				relations++
			}
			if _, ok := k.RelEntry(); ok {
				require.Equal(t, "r", v)
				entries++
			}
		}
		require.Equal(t, relations, entries)
		require.Contains(t, got, page.RelTag{Spc: 1663, DB: 5, Rel: 77777}.RelEntry())
		require.Equal(t, listed, len(got[page.RelDirKey(1663, 5)]) > 8)
	}

	// Neon's timelines keep slots as files.
	d, err := OpenDataDir(dir)
	require.NoError(t, err)
	d.AuxFiles = true
	p, err := d.Plan(t.Context(), 0)
	require.NoError(t, err)
	require.Empty(t, d.Left)
	require.Contains(t, valuesOf(t, p)[page.AuxKey("pg_replslot/slot/state")], "a slot")
}

// TestSourcesRefuse: what a tar or an object store says is not trusted.
func TestSourcesRefuse(t *testing.T) {
	archive := func(name string, size int64, cut int) (source.Source, error) {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		require.NoError(t, w.WriteHeader(&tar.Header{Name: name, Size: size, Mode: 0o600, Format: tar.FormatPAX}))
		_, err := w.Write(make([]byte, size))
		require.NoError(t, err)
		require.NoError(t, w.Close())
		path := filepath.Join(t.TempDir(), "x.tar")
		require.NoError(t, os.WriteFile(path, b.Bytes()[:b.Len()-cut], 0o600))
		r, n, err := source.LocalFile(path)
		require.NoError(t, err)
		return source.Tars(t.Context(), "tar", []source.Archive{{Name: path, Bytes: r, Size: n}})
	}
	for _, name := range []string{"../evil", "/etc/passwd", "a/../../b"} {
		_, err := archive(name, 1, 0)
		require.ErrorIs(t, err, source.ErrPath, name)
	}
	_, err := archive("PG_VERSION", 5000, 3000)
	require.Error(t, err)
	s, err := archive("PG_VERSION", 5000, 0)
	require.NoError(t, err)
	_, err = s.Open(t.Context(), "PG_CONTROL")
	require.ErrorIs(t, err, fs.ErrNotExist)
	f, err := s.Open(t.Context(), "PG_VERSION")
	require.NoError(t, err)
	require.Error(t, f.ReadAt(t.Context(), make([]byte, 2), 4999))
	require.Error(t, f.ReadAt(t.Context(), make([]byte, 2), -1))
	require.NoError(t, f.ReadAt(t.Context(), make([]byte, 2), 4998))
	require.NoError(t, s.Close())
	for _, head := range []string{"\x04\x22\x4d\x18..", "\xfd7zXZ\x00"} {
		_, err := source.Unpack(t.Context(), &bytes.Buffer{}, bytes.NewReader([]byte(head)))
		require.ErrorContains(t, err, "decompress it first")
	}
	for name, want := range map[string]string{"base.tar": "", "base.tar.gz": "", "base.tar.zst": "", "pg_wal.tar.gz": "pg_wal", "16400.tar": "pg_tblspc/16400"} {
		under, ok := source.UnderOf(name)
		require.True(t, ok, name)
		require.Equal(t, want, under)
	}
	for _, name := range []string{"base", "backup_manifest", "x.tar", ".tar", "16x.tar"} {
		_, ok := source.UnderOf(name)
		require.False(t, ok, name)
	}
}

// TestSuspectPages: pages of a base backup with a wrong checksum are noted, not refused.
func TestSuspectPages(t *testing.T) {
	dir := smallDataDir(t)
	flip(t, dir, "base/5/1259", pg.BlockSize+300)
	d, err := OpenDataDir(dir)
	require.NoError(t, err)
	d.Backup = &Backup{}
	s, err := d.Import(t.Context(), datadirtest.New(pg.V17, pg.Stock, nil), nil)
	require.NoError(t, err)
	require.Equal(t, []page.Key{page.RelTag{Spc: 1663, DB: 5, Rel: 1259}.Block(1)}, s.Suspect)
}

func TestLabel(t *testing.T) {
	const text = `START WAL LOCATION: 1/2000028 (file 000000030000000100000002)
CHECKPOINT LOCATION: 1/2000060
BACKUP METHOD: streamed
BACKUP FROM: standby
START TIME: 2026-11-21 10:00:00 UTC
LABEL: a label
START TIMELINE: 3
`
	b, err := parseLabel([]byte(text))
	require.NoError(t, err)
	require.Equal(t, &Backup{Redo: 0x102000028, CheckPoint: 0x102000060, Timeline: 3, End: 0x102000060, Label: "a label"}, b)
	for _, bad := range []string{"", "START WAL LOCATION: x", "START WAL LOCATION: 0/8\n", text + "INCREMENTAL FROM LSN: 0/1\n",
		text + "BACKUP METHOD: pg_start_backup\n", text + "START TIMELINE: -1\n", text + "CHECKPOINT LOCATION: 0/8\n"} {
		_, err := parseLabel([]byte(bad))
		require.Error(t, err, "%q", bad)
	}
}

// TestLabelOfAnotherCheckpoint: the record that a label names must be the checkpoint that it describes.
func TestLabelOfAnotherCheckpoint(t *testing.T) {
	dir := smallDataDir(t)
	stopped, err := OpenDataDir(dir)
	require.NoError(t, err)
	at := stopped.Control.CheckPointLSN()
	const segment = "000000010000000000000002"
	putFile(t, dir, "pg_wal/"+segment, string(testkit.FixtureZstd(t, "neon-pg17/"+segment+".zst")))
	open := func(start, checkpoint page.LSN) (*DataDir, error) {
		putFile(t, dir, labelName, fmt.Sprintf("START WAL LOCATION: %s (file x)\nCHECKPOINT LOCATION: %s\n", start, checkpoint))
		return OpenDataDir(dir)
	}
	d, err := open(at, at)
	require.NoError(t, err)
	require.Equal(t, at, d.LSN)
	_, err = open(at-8, at)
	require.ErrorContains(t, err, fmt.Sprintf("it says that WAL begins at %s", at-8))
	_, err = open(at, at+8)
	require.Error(t, err, "no record begins there")
}

func FuzzLabel(f *testing.F) {
	f.Add([]byte("START WAL LOCATION: 1/2000028 (file 1)\nCHECKPOINT LOCATION: 1/2000060\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if l, err := parseLabel(b); err == nil {
			require.True(t, l.Redo.Aligned() && l.Redo != 0 && l.CheckPoint >= l.Redo)
		}
	})
}

func TestTablespaceMap(t *testing.T) {
	dir := smallDataDir(t)
	putFile(t, dir, "tablespace_map", "16400 /a path\\\\with\\\nmuch\n16401 /b\n")
	d := &DataDir{Dir: dir, src: source.Dir(dir)}
	entries, err := d.src.List(t.Context())
	require.NoError(t, err)
	d.files = entries
	m, err := d.tablespaceMap(t.Context())
	require.NoError(t, err)
	require.Equal(t, map[uint32]string{16400: "/a path\\with\nmuch", 16401: "/b"}, m)
	putFile(t, dir, "tablespace_map", "x /a\n")
	d.files, err = d.src.List(t.Context())
	require.NoError(t, err)
	_, err = d.tablespaceMap(t.Context())
	require.ErrorIs(t, err, ErrDataDir)
}
