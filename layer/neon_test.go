package layer

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

// neonLayers calls fn for each layer file of a remote storage that Neon wrote.
func neonLayers(t *testing.T, fn func(d Desc, id Identity, content []byte)) {
	f, err := os.Open(fixture(t, "neon-pg17/remote.tar.zst"))
	require.NoError(t, err)
	defer f.Close()
	z, err := zstd.NewReader(f)
	require.NoError(t, err)
	defer z.Close()
	for tr := tar.NewReader(z); ; {
		h, err := tr.Next()
		if err == io.EOF {
			return
		}
		require.NoError(t, err)
		if !strings.Contains(h.Name, "__") {
			continue
		}
		d, err := ParseName(filepath.Base(h.Name))
		require.NoError(t, err)
		require.Equal(t, filepath.Base(h.Name), d.Name()+strings.Replace(d.FileName()[len(d.Name()):], "-v1", "", 1))
		content, err := io.ReadAll(tr)
		require.NoError(t, err)
		d.Size = int64(len(content))
		parts := strings.Split(h.Name, "/")
		var id Identity
		require.NoError(t, id.Tenant.UnmarshalText([]byte(parts[len(parts)-4])))
		require.NoError(t, id.Timeline.UnmarshalText([]byte(parts[len(parts)-2])))
		fn(d, id, content)
	}
}

func put(t testing.TB, fs virtualfile.FS, name string, content []byte) {
	f, err := fs.Create(name)
	require.NoError(t, err)
	_, err = f.Write(content)
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

func get(t testing.TB, fs virtualfile.FS, name string) []byte {
	b, err := virtualfile.ReadFile(fs, name, 1<<30)
	require.NoError(t, err)
	return b
}

// Every layer file that Neon wrote is read entry by entry and written again: deltas are equal byte for byte,
// images too if their blobs are passed through, and equal value for value if not.
func TestNeonsLayersAreWrittenAgainEqual(t *testing.T) {
	if !testkit.WithoutRace(t) {
		return
	}
	var deltas, images, entries, values int
	neonLayers(t, func(d Desc, id Identity, content []byte) {
		fs := virtualfile.NewMem()
		require.NoError(t, fs.MkdirAll("in"))
		require.NoError(t, fs.MkdirAll("out"))
		require.NoError(t, fs.MkdirAll("packed"))
		put(t, fs, "in/"+d.FileName(), content)
		r, err := openOn(t, fs, "in", id, d)
		require.NoError(t, err)
		defer r.Close()
		require.Equal(t, id, r.Identity())
		if d.Image {
			images++
			entries += rewriteImage(t, fs, r, id, d)
		} else {
			deltas++
			n, v := rewriteDelta(t, fs, r, id, d)
			entries, values = entries+n, values+v
		}
		require.True(t, bytes.Equal(content, get(t, fs, "out/"+d.FileName())), d.Name())
	})
	require.Equal(t, 34, deltas)
	require.Equal(t, 69, images)
	t.Logf("%d deltas, %d images, %d entries, %d of them serialized values", deltas, images, entries, values)
}

func rewriteDelta(t *testing.T, fs virtualfile.FS, r *Reader, id Identity, d Desc) (n, values int) {
	w, err := NewDeltaWriter(diskFor(t, fs), "out", id, d.Keys.Start, d.LSNs, d.Generation, WriterOptions{Unchecked: true})
	require.NoError(t, err)
	require.NoError(t, r.Iterate(context.Background(), func(k page.Key, lsn page.LSN, willInit bool, value []byte) error {
		v, err := page.DecodeValue(value)
		if err != nil || willInit != v.Initializes() {
			t.Fatalf("%s at %s: initializes %t, %v", k, lsn, willInit, err)
		}
		n, values = n+1, values+1
		return w.Add(k, lsn, willInit, value)
	}))
	out, err := w.Finish(context.Background(), d.Keys.End)
	require.NoError(t, err)
	require.Equal(t, d, out)
	return n, values
}

func rewriteImage(t *testing.T, fs virtualfile.FS, r *Reader, id Identity, d Desc) (n int) {
	ctx := context.Background()
	w, err := NewImageWriter(diskFor(t, fs), "out", id, d.Keys, d.LSNs.Start, d.Generation, WriterOptions{Unchecked: true})
	require.NoError(t, err)
	require.NoError(t, r.IterateStored(ctx, func(k page.Key, _ page.LSN, _ bool, s Stored) error {
		n++
		return w.AddStored(k, s)
	}))
	out, err := w.Finish(context.Background(), d.Keys.End)
	require.NoError(t, err)
	require.Equal(t, d, out)

	type pair struct {
		key   page.Key
		value string
	}
	read := func(r *Reader) (out []pair) {
		require.NoError(t, r.Iterate(ctx, func(k page.Key, lsn page.LSN, willInit bool, value []byte) error {
			if d.LSNs.Start != lsn || !willInit {
				t.Fatalf("%s at %s: initializes %t", k, lsn, willInit)
			}
			out = append(out, pair{k, string(value)})
			return nil
		}))
		return out
	}
	original := read(r)
	w, err = NewImageWriter(diskFor(t, fs), "packed", id, d.Keys, d.LSNs.Start, d.Generation, WriterOptions{})
	require.NoError(t, err)
	for _, p := range original {
		if err := w.Add(p.key, []byte(p.value)); err != nil {
			t.Fatal(err)
		}
	}
	out, err = w.Finish(context.Background(), d.Keys.End)
	require.NoError(t, err)
	again, err := openOn(t, fs, "packed", id, out)
	require.NoError(t, err)
	defer again.Close()
	require.True(t, slices.Equal(original, read(again)), d.Name())
	return n
}

func mustHex(t testing.TB, s string) []byte {
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	require.NoError(t, err)
	return b
}
