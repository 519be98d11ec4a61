package virtualfile

import (
	"io"
	"io/fs"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// eachFS runs a test on every file system, in a folder of its own.
func eachFS(t *testing.T, test func(t *testing.T, fsys FS, dir string)) {
	t.Run("os", func(t *testing.T) { test(t, NewOS(), t.TempDir()) })
	t.Run("mem", func(t *testing.T) {
		m := NewMem()
		require.NoError(t, m.MkdirAll("/some/dir"))
		test(t, m, "/some/dir")
	})
	t.Run("faulty without faults", func(t *testing.T) { test(t, NewFaulty(NewOS(), &Fault{}), t.TempDir()) })
	t.Run("sticky", func(t *testing.T) { test(t, Sticky(NewOS()), t.TempDir()) })
}

func TestFiles(t *testing.T) {
	eachFS(t, func(t *testing.T, fsys FS, dir string) {
		name := filepath.Join(dir, "a")
		_, err := fsys.Open(name)
		require.ErrorIs(t, err, fs.ErrNotExist)
		require.ErrorContains(t, err, name)
		_, err = fsys.OpenAppend(name)
		require.ErrorIs(t, err, fs.ErrNotExist)
		f, err := fsys.Create(name)
		require.NoError(t, err)
		require.Equal(t, name, f.Name())
		_, err = fsys.Create(name)
		require.ErrorIs(t, err, fs.ErrExist)

		n, err := f.Write([]byte("hello "))
		require.NoError(t, err)
		require.Equal(t, 6, n)
		_, err = f.Write([]byte("world"))
		require.NoError(t, err)
		_, err = f.WriteAt([]byte("HELL"), 0)
		require.NoError(t, err)
		_, err = f.WriteAt([]byte("!"), 13) // leaves a hole of zeros
		require.NoError(t, err)
		_, err = f.Write([]byte("?"))
		require.NoError(t, err)
		require.NoError(t, f.Sync())
		require.Equal(t, "HELLo world\x00\x00!?", content(t, fsys, name))

		require.NoError(t, f.Truncate(4))
		require.NoError(t, f.Truncate(6))
		_, err = f.Write([]byte("x"))
		require.NoError(t, err)
		size, err := f.Size()
		require.NoError(t, err)
		require.EqualValues(t, 7, size)
		b := make([]byte, 10)
		n, err = f.ReadAt(b, 2)
		require.ErrorIs(t, err, io.EOF)
		require.Equal(t, "LL\x00\x00x", string(b[:n]))
		n, err = f.ReadAt(b, 100)
		require.ErrorIs(t, err, io.EOF)
		require.Zero(t, n)
		require.NoError(t, f.Close())
		require.ErrorIs(t, f.Close(), fs.ErrClosed)
		_, err = f.ReadAt(b, 0)
		require.ErrorIs(t, err, fs.ErrClosed)
		_, err = f.Write(b)
		require.ErrorIs(t, err, fs.ErrClosed)

		f, err = fsys.OpenAppend(name)
		require.NoError(t, err)
		_, err = f.Write([]byte("end"))
		require.NoError(t, err)
		require.NoError(t, f.Close())
		require.Equal(t, "HELL\x00\x00xend", content(t, fsys, name))

		f, err = fsys.Open(name)
		require.NoError(t, err)
		_, err = f.Write(b)
		require.Error(t, err, "opened for reading")
		require.NoError(t, fsys.Remove(name))
		_, err = f.ReadAt(b[:1], 0)
		require.NoError(t, err, "removed but open")
		require.NoError(t, f.Close())
		require.ErrorIs(t, fsys.Remove(name), fs.ErrNotExist)
	})
}

func content(t testing.TB, fsys FS, name string) string {
	b, err := ReadFile(fsys, name, 1<<20)
	require.NoError(t, err)
	return string(b)
}

func TestFolders(t *testing.T) {
	eachFS(t, func(t *testing.T, fsys FS, dir string) {
		in := func(name string) string { return filepath.Join(dir, name) }
		_, err := fsys.Create(in("x/y/z"))
		require.ErrorIs(t, err, fs.ErrNotExist)
		require.NoError(t, fsys.MkdirAll(in("x/y")))
		require.NoError(t, fsys.MkdirAll(in("x/y")))
		for _, name := range []string{"x/y/b", "x/y/a", "x/c"} {
			require.NoError(t, WriteFileAtomic(fsys, in(name), []byte(name)))
		}
		require.ErrorContains(t, fsys.MkdirAll(in("x/c/d")), "x/c")
		names, err := fsys.List(in("x/y"))
		require.NoError(t, err)
		require.Equal(t, []string{"a", "b"}, names)
		_, err = fsys.List(in("nowhere"))
		require.ErrorIs(t, err, fs.ErrNotExist)
		_, err = fsys.List(in("x/c"))
		require.Error(t, err)
		_, err = fsys.Open(in("x"))
		require.Error(t, err)
		require.NoError(t, fsys.SyncDir(in("x")))
		require.ErrorIs(t, fsys.SyncDir(in("nowhere")), fs.ErrNotExist)

		st, err := fsys.Stat(in("x/y"))
		require.NoError(t, err)
		require.True(t, st.IsDir)
		st, err = fsys.Stat(in("x/y/a"))
		require.NoError(t, err)
		require.False(t, st.IsDir)
		require.EqualValues(t, 5, st.Size)
		_, err = fsys.Stat(in("x/y/n"))
		require.ErrorIs(t, err, fs.ErrNotExist)

		require.Error(t, fsys.Remove(in("x/y")), "not empty")
		require.NoError(t, fsys.Rename(in("x/y"), in("moved")))
		require.Equal(t, "x/y/a", content(t, fsys, in("moved/a")))
		require.NoError(t, fsys.RemoveAll(in("moved")))
		require.NoError(t, fsys.RemoveAll(in("moved")))
		require.NoError(t, fsys.RemoveAll(in("nowhere/at/all")))
		names, err = fsys.List(dir)
		require.NoError(t, err)
		require.Equal(t, []string{"x"}, names)
	})
}

func TestRename(t *testing.T) {
	eachFS(t, func(t *testing.T, fsys FS, dir string) {
		a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
		require.ErrorIs(t, fsys.Rename(a, b), fs.ErrNotExist)
		require.ErrorIs(t, fsys.RenameNew(a, b), fs.ErrNotExist)
		require.NoError(t, WriteFileAtomic(fsys, a, []byte("1")))
		require.NoError(t, WriteFileAtomic(fsys, b, []byte("2")))
		require.ErrorIs(t, fsys.RenameNew(a, b), fs.ErrExist)
		require.Equal(t, "1", content(t, fsys, a))
		require.Equal(t, "2", content(t, fsys, b))
		require.NoError(t, fsys.Rename(a, b))
		require.Equal(t, "1", content(t, fsys, b))
		require.NoError(t, fsys.RenameNew(b, a))
		names, err := fsys.List(dir)
		require.NoError(t, err)
		require.Equal(t, []string{"a"}, names)
	})
}

func TestLockKeepsOthersOut(t *testing.T) {
	eachFS(t, func(t *testing.T, fsys FS, dir string) {
		name := filepath.Join(dir, "lock")
		l, err := fsys.Lock(name)
		require.NoError(t, err)
		_, err = fsys.Lock(name)
		require.ErrorIs(t, err, ErrLocked)
		require.ErrorContains(t, err, name)
		require.NoError(t, l.Close())
		l, err = fsys.Lock(name)
		require.NoError(t, err)
		require.NoError(t, l.Close())
	})
}

func TestReadFileIsBounded(t *testing.T) {
	eachFS(t, func(t *testing.T, fsys FS, dir string) {
		name := filepath.Join(dir, "a")
		require.NoError(t, WriteFileAtomic(fsys, name, make([]byte, 100)))
		_, err := ReadFile(fsys, name, 99)
		require.ErrorContains(t, err, "100 bytes, at most 99")
		require.Len(t, content(t, fsys, name), 100)
	})
}

func TestReadFileThatFailsGivesNothing(t *testing.T) {
	eachFS(t, func(t *testing.T, fsys FS, dir string) {
		name := filepath.Join(dir, "a")
		require.NoError(t, WriteFileAtomic(fsys, name, make([]byte, 100)))
		b, err := ReadFile(NewFaulty(fsys, &Fault{Op: OpRead, Nth: 1}), name, 100)
		require.ErrorIs(t, err, ErrInjected)
		require.ErrorContains(t, err, "read 0 of 100 bytes")
		require.Empty(t, b)
	})
}
