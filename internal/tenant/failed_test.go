package tenant

import (
	"context"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/timeline"
	"github.com/stratapg/strata/internal/timeline/manifest"
	"github.com/stratapg/strata/virtualfile"
)

// dirFault fails the syncs of folders while it is armed, and counts the deltas begun from then on.
type dirFault struct {
	armed   atomic.Bool
	sticky  bool // all of them, not the first alone
	created atomic.Int64
}

func (f *dirFault) wrap(fs virtualfile.FS, err error) virtualfile.FS {
	fail := &virtualfile.Fault{Op: virtualfile.OpSyncDir, Nth: 1, Sticky: f.sticky, Err: err,
		Path: func(string) bool { return f.armed.Load() }}
	count := &virtualfile.Fault{Op: virtualfile.OpCreate, Path: func(name string) bool {
		if (f.armed.Load() || f.created.Load() > 0) && isNewDelta(name) {
			f.created.Add(1)
		}
		return false
	}}
	return virtualfile.NewFaulty(fs, count, fail)
}

// TestFailedDirectorySyncIsFinal: after the sync of a timeline's folder has failed once, the next would
// succeed without having written anything. So the timeline writes no more: what it holds stays readable, its
// durable LSN stays, and a crash gives back just that.
func TestFailedDirectorySyncIsFinal(t *testing.T) {
	noLeaks(t)
	ctx := context.Background()
	mem := virtualfile.NewMem()
	var f dirFault
	s, err := Open(ctx, testOptions(f.wrap(mem, syscall.EIO)))
	require.NoError(t, err)
	tn, err := s.DefaultTenant()
	require.NoError(t, err)
	tl, err := tn.Create(ctx, meta("main"))
	require.NoError(t, err)
	require.NoError(t, putImage(tl, modelKeys[0], firstLSN+8, []byte("durable")))
	require.NoError(t, tl.Flush(ctx))
	require.NoError(t, putImage(tl, modelKeys[0], firstLSN+16, []byte("held")))
	f.armed.Store(true)
	require.ErrorIs(t, tl.Flush(ctx), syscall.EIO)
	for range 3 {
		require.ErrorIs(t, tl.Flush(ctx), virtualfile.ErrBroken)
		require.ErrorIs(t, putImage(tl, modelKeys[0], firstLSN+24, []byte("never")), virtualfile.ErrBroken)
	}
	require.Equal(t, int64(1), f.created.Load(), "nothing is written that could not be published")
	require.Equal(t, firstLSN+8, tl.DiskConsistentLSN())
	require.Contains(t, tl.Info().WriteError, "open the store again")
	v, err := tl.Get(ctx, modelKeys[0], firstLSN+16)
	require.NoError(t, err, "what is in memory stays readable")
	require.Equal(t, "held", string(v))

	require.ErrorIs(t, s.Close(), virtualfile.ErrBroken, "what is lost is said")

	after, err := Open(ctx, testOptions(mem.CrashClone(1)))
	require.NoError(t, err)
	defer func() { require.NoError(t, after.Close()) }()
	tn, err = after.DefaultTenant()
	require.NoError(t, err)
	again, err := tn.Timeline("main")
	require.NoError(t, err)
	require.Equal(t, firstLSN+8, again.LastRecordLSN())
	v, err = again.Get(ctx, modelKeys[0], firstLSN+8)
	require.NoError(t, err)
	require.Equal(t, "durable", string(v))
}

// TestFullDiskAtDirectorySync: that one ends with the want of space, and the layer is written anew.
func TestFullDiskAtDirectorySync(t *testing.T) {
	noLeaks(t)
	ctx := context.Background()
	f := dirFault{sticky: true} // the background tries again, too
	_, _, tl := opened(t, testOptions(f.wrap(virtualfile.NewMem(), syscall.ENOSPC)))
	require.NoError(t, putImage(tl, modelKeys[0], firstLSN+8, []byte("x")))
	f.armed.Store(true)
	require.ErrorIs(t, tl.Flush(ctx), syscall.ENOSPC)
	require.Equal(t, firstLSN, tl.DiskConsistentLSN())
	require.Equal(t, int64(1), f.created.Load(), "while the folder cannot be synced no file is begun")
	f.armed.Store(false)
	require.NoError(t, tl.Flush(ctx))
	require.Equal(t, int64(2), f.created.Load(), "the file whose entry is in doubt was replaced")
	require.Equal(t, firstLSN+8, tl.DiskConsistentLSN())
	require.Len(t, tl.Layers(), 1)
	require.Empty(t, tl.Info().WriteError)
}

// TestFullDiskAtManifest: what is flushed counts although the manifest found no room, for the store holds some
// back; and it takes it again.
func TestFullDiskAtManifest(t *testing.T) {
	noLeaks(t)
	ctx := context.Background()
	var armed atomic.Bool
	full := &virtualfile.Fault{Op: virtualfile.OpWrite, Nth: 1, Err: syscall.ENOSPC, Path: func(name string) bool {
		return armed.Load() && strings.Contains(name, manifest.FileName)
	}}
	mem := virtualfile.NewMem()
	o := testOptions(virtualfile.NewFaulty(mem, full))
	o.ReserveBytes = 64 << 10
	_, _, tl := opened(t, o)
	st, err := mem.Stat("store/" + reserveName)
	require.NoError(t, err)
	require.Equal(t, o.ReserveBytes, st.Size)

	require.NoError(t, putImage(tl, modelKeys[0], firstLSN+8, []byte("x")))
	armed.Store(true)
	require.NoError(t, tl.Flush(ctx))
	require.Equal(t, 1, full.Hits(), "the disk was full")
	require.Equal(t, firstLSN+8, tl.DiskConsistentLSN())
	st, err = mem.Stat("store/" + reserveName)
	require.NoError(t, err, "it was taken again after the flush")
	require.Equal(t, o.ReserveBytes, st.Size)
}

// TestForeignFilesAreSetAside: what nobody knows does not keep a store from opening; it is moved where a human
// finds it, once, and reported. A store that is open for reading alone leaves it.
func TestForeignFilesAreSetAside(t *testing.T) {
	noLeaks(t)
	ctx := context.Background()
	mem := virtualfile.NewMem()
	o := testOptions(mem)
	s, _, tl := opened(t, o)
	require.NoError(t, putImage(tl, modelKeys[0], firstLSN+8, []byte("x")))
	require.NoError(t, tl.Flush(ctx))
	dir := "store/tenants/" + s.Tenants()[0].String() + "/timelines/" + tl.ID().String()
	layerName := tl.Layers()[0].FileName()
	require.NoError(t, s.Close())

	write := func(name string) {
		require.NoError(t, virtualfile.WriteFileAtomic(mem, name, []byte("strange")))
	}
	strange := []string{
		dir + "/notes.txt",
		dir + "/" + strings.Replace(layerName, "0000000000001001", "0000000000002001", 1),
		dir + "/folder",
		"store/tenants/" + s.Tenants()[0].String() + "/timelines/lost+found",
		"store/tenants/elsewhere",
	}
	write(strange[0])
	write(strange[1])
	for _, d := range strange[2:] {
		require.NoError(t, mem.MkdirAll(d))
	}
	write(dir + "/folder/inside")
	write(dir + "/some" + virtualfile.TempSuffix)

	open := func(o Options) (infos []timeline.LeftOverInfo) {
		o.Config.Events.LeftOver = func(i timeline.LeftOverInfo) { infos = append(infos, i) }
		s, err := Open(ctx, o)
		require.NoError(t, err)
		tn, err := s.DefaultTenant()
		require.NoError(t, err)
		tl, err := tn.Timeline("main")
		require.NoError(t, err)
		v, err := tl.Get(ctx, modelKeys[0], firstLSN+8)
		require.NoError(t, err)
		require.Equal(t, "x", string(v))
		require.NoError(t, s.Close())
		return infos
	}
	ro := testOptions(mem)
	ro.CreateIfMissing, ro.Config.ReadOnly = false, true
	seen := open(ro)
	require.Len(t, seen, len(strange))
	for _, i := range seen {
		require.Contains(t, strange, i.File)
		require.Empty(t, i.MovedTo)
	}
	seen = open(o)
	require.Len(t, seen, len(strange)+1, "and the temporary file, which is removed")
	for _, i := range seen {
		require.NoError(t, i.Err)
		_, err := mem.Stat(i.File)
		require.Error(t, err, i.File)
		if i.MovedTo != "" {
			_, err = mem.Stat(i.MovedTo)
			require.NoError(t, err)
		}
	}
	b, err := virtualfile.ReadFile(mem, dir+"/"+virtualfile.SetAsideDir+"/folder/inside", 100)
	require.NoError(t, err)
	require.Equal(t, "strange", string(b))
	require.Empty(t, open(o), "all is in order now")
}

// TestEditInDoubtKeepsItsLayer: an edit whose sync failed stands in the manifest for all that the next process
// can tell, so the layer that it names must not go, whatever fails then.
func TestEditInDoubtKeepsItsLayer(t *testing.T) {
	noLeaks(t)
	ctx := context.Background()
	mem := virtualfile.NewMem()
	var noSync, noDir, noFile atomic.Bool
	when := func(on *atomic.Bool, op virtualfile.Op, err error, path func(name string) bool) *virtualfile.Fault {
		return &virtualfile.Fault{Op: op, Nth: 1, Sticky: true, Err: err, Path: func(name string) bool { return on.Load() && path(name) }}
	}
	all := func(string) bool { return true }
	o := testOptions(virtualfile.NewFaulty(mem,
		when(&noSync, virtualfile.OpSync, syscall.EIO, func(name string) bool { return strings.HasSuffix(name, manifest.FileName) }),
		when(&noDir, virtualfile.OpSyncDir, syscall.ENOSPC, all), when(&noFile, virtualfile.OpCreate, syscall.ENOSPC, all),
		when(&noSync, virtualfile.OpCreate, syscall.ENOSPC, func(name string) bool { return strings.Contains(name, manifest.FileName) })))
	s, err := Open(ctx, o)
	require.NoError(t, err)
	tn, err := s.DefaultTenant()
	require.NoError(t, err)
	tl, err := tn.Create(ctx, meta("main"))
	require.NoError(t, err)
	require.NoError(t, putImage(tl, modelKeys[0], firstLSN+8, []byte("first")))
	require.NoError(t, tl.Flush(ctx))
	require.NoError(t, putImage(tl, modelKeys[0], firstLSN+16, []byte("second")))
	noSync.Store(true)
	require.Error(t, tl.Flush(ctx))
	noDir.Store(true)
	require.Error(t, tl.Flush(ctx))
	noFile.Store(true)
	noDir.Store(false)
	require.Error(t, tl.Flush(ctx))
	require.Error(t, s.Close())

	again, err := Open(ctx, testOptions(mem))
	require.NoError(t, err)
	defer func() { require.NoError(t, again.Close()) }()
	tn, err = again.DefaultTenant()
	require.NoError(t, err)
	tl, err = tn.Timeline("main")
	require.NoError(t, err)
	v, err := tl.Get(ctx, modelKeys[0], firstLSN+16)
	require.NoError(t, err)
	require.Equal(t, "second", string(v))
}
