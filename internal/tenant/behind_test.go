package tenant

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/internal/timeline"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

// behind is an open store on real files with a timeline of three layers, a key in each, so that the newer ones can be read
// without the oldest.
type behind struct {
	*testing.T
	store *Store
	tl    *timeline.Timeline
	dir   string
	files []string // layers, oldest first
}

func value(name string, i int) string {
	return fmt.Sprintf("%s %d %s", name, i, strings.Repeat("x", 3000*(i+1)))
}

// openBehind makes it anew; values begin with name.
func openBehind(t *testing.T, name string, o Options) *behind {
	ctx := context.Background()
	o.Dir = filepath.Join(t.TempDir(), "s")
	b := &behind{T: t}
	b.store, _, b.tl = opened(t, o)
	lsn := firstLSN
	for i := range 3 {
		lsn += 8
		require.NoError(t, putImage(b.tl, modelKeys[i], lsn, []byte(value(name, i))))
		require.NoError(t, b.tl.Flush(ctx))
	}
	b.dir = filepath.Join(o.Dir, tenantsName, b.tl.Meta().Tenant.String(), timelinesName, b.tl.ID().String())
	for _, d := range b.tl.Layers() {
		b.files = append(b.files, filepath.Join(b.dir, d.FileName()))
	}
	slices.Sort(b.files)
	return b
}

// reads reads key i and reports whether it was there; a wrong value, or an error without the file's name, fails.
func (b *behind) reads(i int) bool {
	v, err := b.tl.Get(context.Background(), modelKeys[i], b.tl.LastRecordLSN())
	if err == nil {
		require.Equal(b, value("a", i), string(v))
		return true
	}
	require.True(b, errors.Is(err, timeline.ErrCorrupt) || errors.Is(err, virtualfile.ErrGone) || errors.Is(err, fs.ErrNotExist), "%v", err)
	require.ErrorContains(b, err, b.files[i], "the file is named")
	if errors.Is(err, timeline.ErrCorrupt) {
		require.Regexp(b, "offset [0-9]+", err.Error())
	}
	return false
}

// TestLayersBehindTheEnginesBack takes away, swaps, cuts, lengthens and overwrites layer files of an open store:
// a read gives the right value or an error that names the file, whether the file was read before or not, and
// whether its descriptor is open still; the other layers can be read.
func TestLayersBehindTheEnginesBack(t *testing.T) {
	if !testkit.WithoutRace(t) {
		return
	}
	noLeaks(t)
	overwrite := func(t *testing.T, file string, content []byte) {
		f, err := os.OpenFile(file, os.O_WRONLY, 0)
		require.NoError(t, err)
		_, err = f.WriteAt(content, 0)
		require.NoError(t, err)
		require.NoError(t, f.Close())
	}
	read := func(t *testing.T, file string) []byte {
		b, err := os.ReadFile(file)
		require.NoError(t, err)
		return b
	}
	for name, c := range map[string]struct {
		damage func(t *testing.T, file string, other *behind)
		seen   bool // by whoever opens the file again
	}{
		"removed": {func(t *testing.T, file string, _ *behind) { require.NoError(t, os.Remove(file)) }, true},
		"another timeline's in its place": {func(t *testing.T, file string, other *behind) {
			require.NoError(t, os.Rename(other.files[0], file))
		}, true},
		"another timeline's written over it": {func(t *testing.T, file string, other *behind) {
			overwrite(t, file, read(t, other.files[0]))
		}, true},
		"another generation's in its place": {func(t *testing.T, file string, other *behind) {
			require.NoError(t, os.Rename(regenerate(t, file, value("c", 5)), file))
		}, true},
		"another generation's of the same size": {func(t *testing.T, file string, other *behind) {
			size := len(read(t, file))
			require.NoError(t, os.Rename(regenerate(t, file, value("c", 0)), file))
			require.Len(t, read(t, file), size)
		}, true},
		"cut":        {func(t *testing.T, file string, _ *behind) { require.NoError(t, os.Truncate(file, 8192)) }, true},
		"cut to nil": {func(t *testing.T, file string, _ *behind) { require.NoError(t, os.Truncate(file, 0)) }, true},
		"trailer gone": {func(t *testing.T, file string, _ *behind) {
			require.NoError(t, os.Truncate(file, int64(len(read(t, file))-8192)))
		}, true},
		"lengthened": {func(t *testing.T, file string, _ *behind) {
			require.NoError(t, os.Truncate(file, int64(len(read(t, file))+8192)))
		}, false},
		"zeros": {func(t *testing.T, file string, _ *behind) { overwrite(t, file, make([]byte, len(read(t, file)))) }, true},
	} {
		for _, warm := range []bool{false, true} {
			for _, held := range []bool{false, true} {
				if testkit.UnderRace && warm != held {
					continue
				}
				t.Run(fmt.Sprintf("%s/read before %v/descriptor held %v", name, warm, held), func(t *testing.T) {
					o := testOptions(virtualfile.NewOS())
					if !held {
						o.Config.MaxOpenFiles = 1
					}
					b, other := openBehind(t, "a", o), openBehind(t, "b", testOptions(virtualfile.NewOS()))
					if warm {
						for i := range b.files {
							require.True(t, b.reads(i))
						}
						require.True(t, b.reads(2)) // the others' descriptors go, where there is one alone
					}
					c.damage(t, b.files[0], other)
					for range 2 {
						ok := b.reads(0)
						if c.seen && !(warm && held) {
							require.False(t, ok, "nobody has seen it")
						}
						require.True(t, b.reads(1))
						require.True(t, b.reads(2))
					}
					require.NoError(t, putImage(b.tl, modelKeys[4], b.tl.LastRecordLSN()+8, []byte("goes on")))
					require.NoError(t, b.tl.Flush(context.Background()))
				})
			}
		}
	}
}

// regenerate writes the layer in file anew as another generation, with another value, and gives the new file's
// name.
func regenerate(t *testing.T, file, v string) string {
	disk, err := virtualfile.NewDisk(virtualfile.NewOS(), virtualfile.DiskOptions{Validate: true})
	require.NoError(t, err)
	defer func() { require.NoError(t, disk.Close()) }()
	d, err := layer.ParseName(filepath.Base(file))
	require.NoError(t, err)
	dir := filepath.Dir(file)
	parts := strings.Split(dir, string(filepath.Separator))
	var id layer.Identity
	id.Tenant, err = page.ParseTenantID(parts[len(parts)-3])
	require.NoError(t, err)
	id.Timeline, err = page.ParseTimelineID(parts[len(parts)-1])
	require.NoError(t, err)
	w, err := layer.NewDeltaWriter(disk, dir, id, d.Keys.Start, d.LSNs, d.Generation+1, layer.WriterOptions{})
	require.NoError(t, err)
	var b page.Batch
	b.PutImage(modelKeys[0], d.LSNs.End-1, []byte(v))
	require.NoError(t, w.Add(modelKeys[0], d.LSNs.End-1, true, b.Data(b.Entries()[0])))
	nd, err := w.Finish(context.Background(), d.Keys.End)
	require.NoError(t, err)
	return filepath.Join(dir, nd.FileName())
}

// TestFlipsBehindTheEnginesBack flips bits of a layer file of an open store.
func TestFlipsBehindTheEnginesBack(t *testing.T) {
	noLeaks(t)
	rnd := testkit.Rand(t, 1)
	for _, warm := range []bool{false, true} {
		b := openBehind(t, "a", testOptions(virtualfile.NewOS()))
		if warm {
			require.True(t, b.reads(0))
		}
		f, err := os.OpenFile(b.files[0], os.O_RDWR, 0)
		require.NoError(t, err)
		st, err := f.Stat()
		require.NoError(t, err)
		failed := 0
		for range testkit.Size(50, 300, 5000) {
			var c [1]byte
			at := rnd.Int64N(st.Size())
			_, err := f.ReadAt(c[:], at)
			require.NoError(t, err)
			bit := byte(1) << rnd.IntN(8)
			_, err = f.WriteAt([]byte{c[0] ^ bit}, at)
			require.NoError(t, err)
			if !b.reads(0) {
				failed++
			}
			require.True(t, b.reads(1) && b.reads(2))
			_, err = f.WriteAt(c[:], at)
			require.NoError(t, err)
			require.True(t, b.reads(0), "sound again")
		}
		require.NoError(t, f.Close())
		require.Positive(t, failed)
	}
}
