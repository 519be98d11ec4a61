package virtualfile

import (
	"io/fs"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

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

// crashSeeds is how many outcomes of each crash are looked at.
const crashSeeds = 12

// everyCrash runs do on a fresh file system over and over: with a crash before its n-th operation, with that
// operation failing, with it losing what it should have synced, and at last undisturbed. holds is asked of
// everything that is found afterwards, and whether do had succeeded.
func everyCrash(t *testing.T, setup func(m *MemFS), do func(fsys FS) error, holds func(t *testing.T, found *MemFS, done bool)) {
	for nth := 1; ; nth++ {
		hits := 0
		for _, effect := range []Effect{Delay, Fail, Lose} {
			m := NewMem()
			setup(m)
			var found []*MemFS
			x := &Fault{Nth: nth, Effect: effect, Err: syscall.EIO, Torn: 1}
			x.Before = func() {
				for seed := range uint64(crashSeeds) {
					found = append(found, m.CrashClone(seed))
				}
			}
			err := do(NewFaulty(m, x))
			if effect == Delay || x.Hits() == 0 {
				require.NoError(t, err)
			}
			for _, c := range found {
				holds(t, c, false)
			}
			holds(t, m, err == nil)
			for seed := range uint64(crashSeeds) {
				holds(t, m.CrashClone(seed), err == nil)
			}
			hits += x.Hits()
		}
		if hits == 0 {
			require.Greater(t, nth, 2, "there was nothing to fail")
			return
		}
	}
}

// finds gives the content of a file, or "none".
func finds(t *testing.T, fsys FS, name string) string {
	if _, err := fsys.Stat(name); err != nil {
		require.ErrorIs(t, err, fs.ErrNotExist)
		return "none"
	}
	return content(t, fsys, name)
}

func TestAtomicFilesAtEveryCrash(t *testing.T) {
	t.Run("overwrite", func(t *testing.T) {
		everyCrash(t, func(m *MemFS) { fileWith(t, m, "f", []byte("old")) },
			func(fsys FS) error { return WriteFileAtomic(fsys, "f", []byte("new")) },
			func(t *testing.T, found *MemFS, done bool) {
				if got := finds(t, found, "f"); got != "new" {
					require.Equal(t, "old", got)
					require.False(t, done)
				}
			})
	})
	t.Run("create", func(t *testing.T) {
		everyCrash(t, func(m *MemFS) {},
			func(fsys FS) error { return WriteFileAtomic(fsys, "f", []byte("new")) },
			func(t *testing.T, found *MemFS, done bool) {
				if got := finds(t, found, "f"); got != "new" {
					require.Equal(t, "none", got)
					require.False(t, done)
				}
			})
	})
	t.Run("rename", func(t *testing.T) {
		everyCrash(t, func(m *MemFS) {
			require.NoError(t, DurableMkdirAll(m, "/", "/d"))
			fileWith(t, m, "f", []byte("1"))
		}, func(fsys FS) error { return DurableRename(fsys, "f", "d/g") },
			func(t *testing.T, found *MemFS, done bool) {
				from, to := finds(t, found, "f"), finds(t, found, "d/g")
				require.ElementsMatch(t, []string{"1", "none"}, []string{from, to})
				require.True(t, !done || to == "1")
			})
	})
	t.Run("mkdir", func(t *testing.T) {
		everyCrash(t, func(m *MemFS) { require.NoError(t, m.MkdirAll("/a/b")) }, // not synced by whoever made them
			func(fsys FS) error { return DurableMkdirAll(fsys, "/", "/a/b/c/d") },
			func(t *testing.T, found *MemFS, done bool) {
				st, err := found.Stat("/a/b/c/d")
				if done {
					require.NoError(t, err)
					require.True(t, st.IsDir)
				}
			})
	})
	t.Run("set aside first", func(t *testing.T) {
		everyCrash(t, func(m *MemFS) {
			require.NoError(t, DurableMkdirAll(m, "/", "/d"))
			fileWith(t, m, "d/f", []byte("1"))
		}, func(fsys FS) error { _, err := SetAside(fsys, "d/f"); return err },
			func(t *testing.T, found *MemFS, done bool) {
				from, to := finds(t, found, "d/f"), finds(t, found, "d/"+SetAsideDir+"/f")
				require.ElementsMatch(t, []string{"1", "none"}, []string{from, to})
				require.True(t, !done || to == "1")
			})
	})
	t.Run("set aside", func(t *testing.T) {
		everyCrash(t, func(m *MemFS) {
			require.NoError(t, DurableMkdirAll(m, "/", "/d/"+SetAsideDir))
			fileWith(t, m, "d/f", []byte("2"))
			fileWith(t, m, "d/"+SetAsideDir+"/f", []byte("1"))
		}, func(fsys FS) error { _, err := SetAside(fsys, "d/f"); return err },
			func(t *testing.T, found *MemFS, done bool) {
				require.Equal(t, "1", finds(t, found, "d/"+SetAsideDir+"/f"))
				from, to := finds(t, found, "d/f"), finds(t, found, "d/"+SetAsideDir+"/f.1")
				require.ElementsMatch(t, []string{"2", "none"}, []string{from, to})
				require.True(t, !done || to == "2")
			})
	})
}

func TestWriteFileAtomicGoesOnOverAnEarlierTry(t *testing.T) {
	eachFS(t, func(t *testing.T, fsys FS, dir string) {
		name := filepath.Join(dir, "f")
		f, err := fsys.Create(name + TempSuffix)
		require.NoError(t, err)
		_, err = f.Write([]byte(strings.Repeat("garbage", 100)))
		require.NoError(t, err)
		require.NoError(t, f.Close())
		require.NoError(t, WriteFileAtomic(fsys, name, []byte("1")))
		require.Equal(t, "1", content(t, fsys, name))
	})
}

func TestDurableMkdirAllStaysInItsRoot(t *testing.T) {
	eachFS(t, func(t *testing.T, fsys FS, dir string) {
		require.Error(t, DurableMkdirAll(fsys, filepath.Join(dir, "a"), filepath.Join(dir, "b")))
		require.Error(t, DurableMkdirAll(fsys, filepath.Join(dir, "a"), dir))
		require.NoError(t, DurableMkdirAll(fsys, dir, dir))
		require.NoError(t, DurableMkdirAll(fsys, dir, filepath.Join(dir, "a/b")))
		require.NoError(t, DurableMkdirAll(fsys, dir, filepath.Join(dir, "..a")))
		names, err := fsys.List(dir)
		require.NoError(t, err)
		require.Equal(t, []string{"..a", "a"}, names)
	})
}

func TestSetAside(t *testing.T) {
	eachFS(t, func(t *testing.T, fsys FS, dir string) {
		name := filepath.Join(dir, "f")
		for i, want := range []string{"f", "f.1", "f.2"} {
			require.NoError(t, WriteFileAtomic(fsys, name, []byte{byte('0' + i)}))
			to, err := SetAside(fsys, name)
			require.NoError(t, err)
			require.Equal(t, filepath.Join(dir, SetAsideDir, want), to)
		}
		require.NoError(t, fsys.MkdirAll(filepath.Join(name, "x")))
		to, err := SetAside(fsys, name)
		require.NoError(t, err, "a folder")
		st, err := fsys.Stat(filepath.Join(to, "x"))
		require.NoError(t, err)
		require.True(t, st.IsDir)
		_, err = SetAside(fsys, name)
		require.ErrorIs(t, err, fs.ErrNotExist)
		for i, at := range []string{"f", "f.1", "f.2"} {
			require.Equal(t, string(rune('0'+i)), content(t, fsys, filepath.Join(dir, SetAsideDir, at)))
		}
	})
}

func TestSetAsideEnds(t *testing.T) {
	taken := &Fault{Op: OpRename, Nth: 1, Sticky: true, Err: fs.ErrExist}
	m := NewMem()
	fileWith(t, m, "f", nil)
	_, err := SetAside(NewFaulty(m, taken), "f")
	require.ErrorIs(t, err, fs.ErrExist)
	require.ErrorContains(t, err, "remove them")
	require.Equal(t, maxSetAside, taken.Hits())
}
