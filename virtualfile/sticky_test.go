package virtualfile

import (
	"io/fs"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// brokenFile gives a file of a sticky file system that has just been given up.
func brokenFile(t *testing.T, x *Fault) (*MemFS, FS, File, error) {
	m := NewMem()
	fileWith(t, m, "f", []byte("old"))
	x.Path = func(name string) bool { return name == "f" }
	fsys := Sticky(NewFaulty(m, x))
	f, err := fsys.OpenAppend("f")
	require.NoError(t, err)
	t.Cleanup(func() { _ = f.Close() })
	_, err = f.WriteAt([]byte("new"), 0)
	if err == nil {
		err = f.Sync()
	}
	return m, fsys, f, err
}

func TestBrokenFileIsNeverTrustedAgain(t *testing.T) {
	for name, x := range map[string]*Fault{
		"write":                {Op: OpWrite, Nth: 1, Err: syscall.EIO},
		"sync":                 {Op: OpSync, Nth: 1, Err: syscall.EIO, Effect: Lose},
		"sync, a full disk":    {Op: OpSync, Nth: 1, Err: syscall.ENOSPC, Effect: Lose},
		"write, no such error": {Op: OpWrite, Nth: 1},
	} {
		t.Run(name, func(t *testing.T) {
			m, fsys, f, first := brokenFile(t, x)
			require.Error(t, first)
			require.NotErrorIs(t, first, ErrBroken, "the first failure is itself")
			broken := func(err error) {
				t.Helper()
				require.ErrorIs(t, err, ErrBroken)
				if x.Err != nil {
					require.ErrorIs(t, err, x.Err)
				}
				require.ErrorContains(t, err, "f: ")
			}
			seen := x.Seen()
			broken(f.Sync())
			_, err := f.Write([]byte("x"))
			broken(err)
			_, err = f.WriteAt([]byte("x"), 0)
			broken(err)
			broken(f.Truncate(0))
			broken(allocate(f, 10))
			_, err = fsys.OpenAppend("./f")
			broken(err)
			_, err = fsys.OpenFile("f", FlagWrite)
			broken(err)
			broken(fsys.Rename("f", "g"))
			broken(fsys.RenameNew("f", "g"))
			require.Equal(t, seen, x.Seen(), "nothing of it reached the kernel")
			require.NoError(t, f.Close())
			_, err = fsys.OpenAppend("f")
			broken(err)
			_, err = fsys.Open("f")
			require.NoError(t, err, "it can be read")

			// Written anew under another name, and put in its place, it is as good as any.
			require.NoError(t, WriteFileAtomic(fsys, "f", []byte("new")))
			require.Equal(t, "new", content(t, m.CrashClone(1), "f"))
			g, err := fsys.OpenAppend("f")
			require.NoError(t, err)
			require.NoError(t, g.Sync())
			require.NoError(t, g.Close())
			broken(f.Sync())
			require.Empty(t, fsys.(*stickyFS).mu.nodes, "nothing is remembered of files that are closed and well")
		})
	}
}

func TestFullDiskBreaksNoFile(t *testing.T) {
	_, fsys, f, err := brokenFile(t, &Fault{Op: OpWrite, Nth: 1, Err: syscall.ENOSPC, Torn: 1})
	require.ErrorIs(t, err, syscall.ENOSPC)
	_, err = f.WriteAt([]byte("new"), 0)
	require.NoError(t, err)
	require.NoError(t, f.Sync())
	require.NoError(t, fsys.Rename("f", "g"))
}

func TestBrokenIsOneFileUnderAnyName(t *testing.T) {
	m := NewMem()
	require.NoError(t, m.MkdirAll("d"))
	x := &Fault{Op: OpSync, Err: syscall.EIO, Nth: 1}
	fsys := Sticky(NewFaulty(m, x))
	f, err := fsys.Create("d/f")
	require.NoError(t, err)
	other, err := fsys.OpenAppend("d/f")
	require.NoError(t, err)
	require.NoError(t, fsys.Rename("d", "e"))
	require.ErrorIs(t, f.Sync(), syscall.EIO)
	require.ErrorIs(t, other.Sync(), ErrBroken, "another descriptor of the same file")
	_, err = fsys.OpenAppend("e/f")
	require.ErrorIs(t, err, ErrBroken)
	require.ErrorIs(t, fsys.Rename("e", "published"), ErrBroken)
	_, err = fsys.OpenAppend("d/f")
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.NoError(t, fsys.Remove("e/f"))
	_, err = fsys.Create("e/f")
	require.NoError(t, err, "a new file of that name")
	require.ErrorIs(t, f.Sync(), ErrBroken, "the old one, which is open")
	require.NoError(t, fsys.Rename("e", "published"))
	require.NoError(t, fsys.RemoveAll("published"))
	require.Same(t, fsys, Sticky(fsys))
}

func TestFolderIsSyncedOnceInVain(t *testing.T) {
	x := &Fault{Op: OpSyncDir, Nth: 2, Err: syscall.EIO}
	full := &Fault{Op: OpSyncDir, Nth: 1, Err: syscall.ENOSPC}
	fsys := Sticky(NewFaulty(NewMem(), full, x))
	require.NoError(t, fsys.MkdirAll("d"))
	require.ErrorIs(t, fsys.SyncDir("d"), syscall.ENOSPC)
	require.NoError(t, fsys.SyncDir("d"))
	require.ErrorIs(t, fsys.SyncDir("d"), syscall.EIO)
	require.ErrorIs(t, fsys.SyncDir("d"), ErrBroken)
	require.NoError(t, fsys.SyncDir("/"))
	require.Equal(t, 3, x.Seen())
	require.ErrorIs(t, fsys.SyncDir("nowhere"), fs.ErrNotExist)
	require.NoError(t, fsys.MkdirAll("nowhere"))
	require.NoError(t, fsys.SyncDir("nowhere"))
}

// A Handle keeps the rule too, whatever its descriptor does meanwhile.
func TestBrokenHandle(t *testing.T) {
	eachMode(t, func(t *testing.T, _ *Disk, dir string, faulty func(x *Fault) *Disk) {
		for _, op := range []Op{OpWrite, OpSync, OpTruncate} {
			x := &Fault{Op: op, Nth: 1, Err: syscall.EIO}
			d := faulty(x)
			name := dir + "/f" + string('a'+rune(op))
			h, err := d.Create(name)
			require.NoError(t, err)
			b := d.Buffers().Get(BufferAlign)
			ops := map[Op]func() error{
				OpWrite:    func() error { return h.WriteAt(b, 0, BufferAlign, 0) },
				OpSync:     h.Sync,
				OpTruncate: func() error { return h.Truncate(10) },
			}
			require.ErrorIs(t, ops[op](), syscall.EIO)
			for _, again := range ops {
				err := again()
				require.ErrorIs(t, err, ErrBroken)
				require.ErrorIs(t, err, syscall.EIO)
				require.ErrorContains(t, err, name)
			}
			require.Equal(t, 1, x.Seen())
			b.Release()
			require.NoError(t, h.Close())
		}
	})
}
