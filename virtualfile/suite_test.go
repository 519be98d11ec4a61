package virtualfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
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
		require.Equal(t, FileInfo{Size: 5}, st)
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

// WriteFileAtomic under a crash at any time, and with any operation failing: the old or the new content.
func TestWriteFileAtomicIsAtomic(t *testing.T) {
	for nth := 1; ; nth++ {
		m := NewMem()
		require.NoError(t, WriteFileAtomic(m, "f", []byte("old")))
		fault := &Fault{Nth: nth, Torn: 1}
		err := WriteFileAtomic(NewFaulty(m, fault), "f", []byte("new"))
		for seed := range uint64(20) {
			c := m.CrashClone(seed)
			got := content(t, c, "f")
			if err == nil {
				require.Equal(t, "new", got, "durable on return")
			}
			require.Contains(t, []string{"old", "new"}, got)
		}
		if fault.Hits() == 0 {
			require.NoError(t, err)
			require.Greater(t, nth, 5)
			return
		}
		if err != nil {
			require.ErrorIs(t, err, ErrInjected)
		}
	}
}

func TestFaults(t *testing.T) {
	m := NewMem()
	full := &Fault{Op: OpWrite, Nth: 2, Sticky: true, Err: syscall.ENOSPC, Torn: 2,
		Path: func(name string) bool { return strings.HasSuffix(name, "data") }}
	fsys := NewFaulty(m, full)
	other, err := fsys.Create("other")
	require.NoError(t, err)
	f, err := fsys.Create("data")
	require.NoError(t, err)
	_, err = f.Write([]byte("abc"))
	require.NoError(t, err)
	for i := range 3 {
		n, err := f.Write([]byte("def"))
		require.ErrorIs(t, err, syscall.ENOSPC)
		require.ErrorContains(t, err, "data")
		require.Equal(t, 2, n)
		_, err = other.Write([]byte("x"))
		require.NoError(t, err)
		require.Equal(t, i+1, full.Hits())
	}
	require.Equal(t, "abcdedede", content(t, m, "data"))
	require.Equal(t, 4, full.Seen())
}

// What was synced survives every crash; what was not is old or new, sector by sector; entries come and go
// only as a whole, a rename as one change.
func TestCrashKeepsWhatWasSynced(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := NewMem()
		synced := make([]byte, rapid.IntRange(0, 3*undoPage).Draw(t, "size"))
		for i := range synced {
			synced[i] = 'a'
		}
		require.NoError(t, WriteFileAtomic(m, "f", synced))
		f, err := m.OpenAppend("f")
		require.NoError(t, err)
		now := append([]byte(nil), synced...)
		for range rapid.IntRange(0, 3).Draw(t, "writes") {
			off := rapid.IntRange(0, len(now)).Draw(t, "off")
			p := []byte(strings.Repeat("b", rapid.IntRange(1, 2*undoPage).Draw(t, "n")))
			_, err := f.WriteAt(p, int64(off))
			require.NoError(t, err)
			now = append(now[:off], append(p, now[min(len(now), off+len(p)):]...)...)
		}
		require.NoError(t, m.Rename("f", "g"))
		require.NoError(t, m.MkdirAll("d"))
		clone := m.CrashClone(rapid.Uint64().Draw(t, "seed"))
		names, err := clone.List("/")
		require.NoError(t, err)
		names = dropDir(names)
		require.Len(t, names, 1, "a rename is one change")
		got, err := ReadFile(clone, names[0], 1<<20)
		require.NoError(t, err)
		require.GreaterOrEqual(t, len(got), min(len(synced), len(now)))
		for i := range got {
			old, fresh := byte(0), byte(0)
			if i < len(synced) {
				old = synced[i]
			}
			if i < len(now) {
				fresh = now[i]
			}
			require.True(t, got[i] == old || got[i] == fresh, "byte %d", i)
		}
		require.NoError(t, f.Sync())
		require.NoError(t, m.SyncDir("/"))
		clone = m.CrashClone(rapid.Uint64().Draw(t, "seed"))
		all, err := ReadFile(clone, "g", 1<<20)
		require.NoError(t, err)
		require.Equal(t, string(now), string(all))
		_, err = clone.Stat("f")
		require.ErrorIs(t, err, fs.ErrNotExist)
	})
}

func dropDir(names []string) (out []string) {
	for _, n := range names {
		if n != "d" {
			out = append(out, n)
		}
	}
	return out
}

// Some seed must show each outcome, or the crash tests above prove nothing.
func TestCrashShowsBothOutcomes(t *testing.T) {
	m := NewMem()
	f, err := m.Create("f")
	require.NoError(t, err)
	require.NoError(t, m.SyncDir("/"))
	_, err = f.Write(make([]byte, 8*undoPage))
	require.NoError(t, err)
	require.NoError(t, WriteFileAtomic(m, "keep", nil))
	_, err = m.Create("g")
	require.NoError(t, err)
	seen := map[string]int{}
	for seed := range uint64(200) {
		c := m.CrashClone(seed)
		st, err := c.Stat("f")
		require.NoError(t, err)
		_, err = c.Stat("g")
		require.True(t, err == nil || errors.Is(err, fs.ErrNotExist))
		seen[fmt.Sprint("entry ", err == nil)]++
		switch st.Size {
		case 0:
			seen["none"]++
		case 8 * undoPage:
			seen["all"]++
		default:
			seen["part"]++
		}
		again, err := m.CrashClone(seed).Stat("f")
		require.NoError(t, err)
		require.Equal(t, st, again, "the seed decides")
	}
	require.Len(t, seen, 5)
}
