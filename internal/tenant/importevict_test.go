package tenant

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/evict"
	"github.com/stratapg/strata/internal/timeline"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/remote/memstore"
	"github.com/stratapg/strata/virtualfile"
)

// importLayers lists the layer files in the folder of an import.
func importLayers(t *testing.T, fs virtualfile.FS, tn *Tenant, id page.TimelineID) (names []string) {
	all, err := fs.List(timeline.ImportDir(tn.dir, id))
	require.NoError(t, err)
	for _, n := range all {
		if kind, _ := layer.Classify(n); kind == layer.NameLayer {
			names = append(names, n)
		}
	}
	return names
}

// TestLayersOfImportsLeaveTheDisk: what an import has done leaves the disk when that gets too full, while it runs and while nobody goes on
// with it; the import is finished all the same, by another process and with WAL put over it too, and what it made is right, here and
// where it is attached; one that is deleted leaves nothing in remote storage.
func TestLayersOfImportsLeaveTheDisk(t *testing.T) {
	noLeaks(t)
	id := page.TimelineID{0x1d}
	full := evict.Limits{MaxBytes: 1, ReserveBytes: 1}
	for name, records := range map[string]int{"directory": 0, "backup": 20} {
		t.Run(name, func(t *testing.T) {
			ctx, mem, store := t.Context(), virtualfile.NewMem(), memstore.New()
			o := remoteOptions(mem, store)
			hasten(&o)
			s, err := Open(ctx, o)
			require.NoError(t, err)
			tn, err := s.DefaultTenant()
			require.NoError(t, err)
			const jobs, keys = 6, 50
			serial := fastImport
			serial.Jobs = 1
			c := newFakeCluster(jobs, keys, records)
			c.before = func(ctx context.Context, job, n int) error {
				if n > 0 || job != 2 && job != 4 {
					return nil
				}
				r, err := s.Evict(ctx, full)
				if err != nil {
					return err
				}
				if job == 4 {
					require.Equal(t, 2, r.Layers, "the first two have gone already")
					return context.Canceled // nobody goes on with it
				}
				require.Equal(t, 2, r.Layers)
				require.Empty(t, importLayers(t, mem, tn, id))
				return nil
			}
			_, _, err = tn.Import(ctx, "imported", id, serial, func(ctx context.Context, d ImportDir) (*ImportPlan, error) {
				p, err := c.open(ctx, d)
				p.Lasting = func(error) bool { return true }
				return p, err
			})
			require.Error(t, err)
			require.Len(t, objectsOf(t, store, id), 4)
			require.NoError(t, s.Close())

			// The next process evicts before anybody goes on.
			s, err = Open(ctx, o)
			require.NoError(t, err)
			tn, err = s.DefaultTenant()
			require.NoError(t, err)
			require.Empty(t, importLayers(t, mem, tn, id))
			c.before = nil
			tl, _, err := tn.Import(ctx, "imported", id, serial, c.open)
			require.NoError(t, err)
			require.Equal(t, map[int]int{0: 1, 1: 1, 2: 1, 3: 1, 4: 2, 5: 1}, c.ran, "nothing is done again that was done")
			require.NoError(t, tl.WaitUploads(ctx))
			want := sum(t, tl)
			require.Equal(t, importedSum(t, jobs, keys, records), want)
			requireNoneLeft(t, s, tl, store)
			require.NoError(t, s.Close())

			elsewhere := remoteOptions(virtualfile.NewMem(), store)
			s, err = Open(ctx, elsewhere)
			require.NoError(t, err)
			_, tls, err := s.Attach(ctx, AttachOptions{Tenant: remoteTenant})
			require.NoError(t, err)
			require.Len(t, tls, 1)
			require.Equal(t, want, sum(t, tls[0]))
			require.NoError(t, s.Close())
		})
	}
}

// importedSum is what an import without any trouble makes.
func importedSum(t *testing.T, jobs, keys, records int) uint64 {
	s, err := Open(t.Context(), testOptions(virtualfile.NewMem()))
	require.NoError(t, err)
	tn, err := s.DefaultTenant()
	require.NoError(t, err)
	tl, _, err := tn.Import(t.Context(), "imported", page.TimelineID{0x1d}, fastImport, newFakeCluster(jobs, keys, records).open)
	require.NoError(t, err)
	got := sum(t, tl)
	require.NoError(t, s.Close())
	return got
}

// TestEvictedImportsAreGivenUp: an import whose layers have left the disk is deleted, or begun anew, and nothing of it stays in remote
// storage.
func TestEvictedImportsAreGivenUp(t *testing.T) {
	noLeaks(t)
	id := page.TimelineID{0x1e}
	for _, again := range []bool{false, true} {
		ctx, mem, store := t.Context(), virtualfile.NewMem(), memstore.New()
		o := remoteOptions(mem, store)
		hasten(&o)
		s, err := Open(ctx, o)
		require.NoError(t, err)
		tn, err := s.DefaultTenant()
		require.NoError(t, err)
		c := newFakeCluster(3, 20, 0)
		c.before = func(_ context.Context, job, _ int) error {
			if job == 2 {
				return context.Canceled
			}
			return nil
		}
		serial := fastImport
		serial.Jobs, serial.Attempts, serial.Resume = 1, 1, false
		_, _, err = tn.Import(ctx, "imported", id, serial, c.open)
		require.Error(t, err)
		r, err := s.Evict(ctx, evict.Limits{MaxBytes: 1, ReserveBytes: 1})
		require.NoError(t, err)
		require.Equal(t, 2, r.Layers)
		require.Len(t, objectsOf(t, store, id), 2)
		require.Empty(t, importLayers(t, mem, tn, id))
		if !again {
			require.NoError(t, tn.Delete(ctx, id.String()))
			require.Empty(t, objectsOf(t, store, id))
			require.NoError(t, s.Close())
			continue
		}
		c.before, c.digest = nil, "another"
		tl, _, err := tn.Import(ctx, "imported", id, serial, c.open)
		require.NoError(t, err)
		require.Equal(t, map[int]int{0: 2, 1: 2, 2: 2}, c.ran)
		require.NoError(t, tl.WaitUploads(ctx))
		requireNoneLeft(t, s, tl, store)
		require.NoError(t, s.Close())
	}
}

// TestImportFileNamesWhatIsAway: the file says which layers are in remote storage only, each once and behind its own line.
func TestImportFileNamesWhatIsAway(t *testing.T) {
	d := layer.Desc{Keys: page.FullRange, LSNs: page.LSNRange{Start: firstLSN, End: firstLSN + 1}, Image: true, Size: 8192, Generation: 1, Checked: true}
	f := &importFile{id: page.TimelineID{1}, name: "x", digest: "d", jobs: 1, done: map[int]ImportedJob{0: {layers: []layer.Desc{d}}}, away: map[string]uint64{d.FileName(): 7}}
	got, err := decodeImportFile(f.encode())
	require.NoError(t, err)
	require.Equal(t, f.away, got.away)
	text := string(f.encode())
	text = text[:strings.LastIndex(text, "crc32c ")]
	for _, bad := range []string{
		strings.Replace(text, "away "+d.FileName(), "away "+filepath.Base("x"), 1),
		strings.Replace(text, "0000000000000007", "0000000000000000", 1),
		strings.Replace(text, "layer ", "away ", 1),
	} {
		_, err := decodeImportFile(sealText(bad))
		require.ErrorIs(t, err, ErrCorruptStoreFile)
	}
}
