package localstore

import (
	"io"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/remote"
	"github.com/stratapg/strata/remote/remotetest"
	"github.com/stratapg/strata/virtualfile"
)

func TestSuite(t *testing.T) {
	for name, fsys := range map[string]func() (virtualfile.FS, string){
		"os":     func() (virtualfile.FS, string) { return virtualfile.NewOS(), filepath.Join(t.TempDir(), "store") },
		"memory": func() (virtualfile.FS, string) { return virtualfile.NewMem(), "/store" },
	} {
		t.Run(name, func(t *testing.T) {
			remotetest.Run(t, func(t *testing.T) remote.Storage {
				f, root := fsys()
				s, err := Open(f, root)
				require.NoError(t, err)
				t.Cleanup(func() { require.NoError(t, s.Close()) })
				return s
			}, remotetest.Options{Large: 5 << 20})
		})
	}
}

func text(t *testing.T, s remote.Storage, key string) string {
	d, err := s.Get(t.Context(), key, remote.GetOptions{})
	require.NoError(t, err)
	defer d.Body.Close()
	b, err := io.ReadAll(d.Body)
	require.NoError(t, err)
	return string(b)
}

// TestCrash: whatever a crash leaves of what was not synced, an object whose Put returned is there whole, and one
// whose Put did not is there whole or not at all.
func TestCrash(t *testing.T) {
	for seed := range uint64(200) {
		fsys := virtualfile.NewMem()
		s, err := Open(fsys, "/store")
		require.NoError(t, err)
		put := func(key, data string) error {
			_, err := s.Put(t.Context(), key, strings.NewReader(data), int64(len(data)), remote.PutOptions{})
			return err
		}
		require.NoError(t, put("a/b/c", "old"))
		require.NoError(t, put("a/b/c", "new"))
		require.NoError(t, put("deep/er/and/deeper", "data"))
		require.NoError(t, put("gone", "x"))
		require.NoError(t, s.Delete(t.Context(), "gone"))

		fault := &virtualfile.Fault{Op: virtualfile.OpSync, Nth: 1, Err: syscall.EIO}
		broken, err := Open(virtualfile.NewFaulty(fsys, fault), "/store")
		require.NoError(t, err)
		_, err = broken.Put(t.Context(), "half", strings.NewReader("half"), 4, remote.PutOptions{})
		require.Error(t, err)

		after, err := Open(fsys.CrashClone(seed), "/store")
		require.NoError(t, err)
		require.Equal(t, "new", text(t, after, "a/b/c"))
		require.Equal(t, "data", text(t, after, "deep/er/and/deeper"))
		_, err = after.Head(t.Context(), "gone")
		require.ErrorIs(t, err, remote.ErrNotFound)
		if _, err := after.Head(t.Context(), "half"); err == nil {
			require.Equal(t, "half", text(t, after, "half"))
		}
	}
}

// TestLeftOver: what a process that died was writing goes when the store is next opened; what a living one writes
// does not.
func TestLeftOver(t *testing.T) {
	fsys := virtualfile.NewMem()
	living, err := Open(fsys, "/store")
	require.NoError(t, err)
	f, err := fsys.Create(living.temp + "/1")
	require.NoError(t, err)
	require.NoError(t, f.Close())
	second, err := Open(fsys, "/store")
	require.NoError(t, err)
	require.NotEqual(t, living.temp, second.temp)
	names, err := fsys.List(living.temp)
	require.NoError(t, err)
	require.Len(t, names, 1)
	require.NoError(t, living.lock.Close()) // as its process dies
	third, err := Open(fsys, "/store")
	require.NoError(t, err)
	require.Equal(t, living.temp, third.temp)
	names, err = fsys.List(third.temp)
	require.NoError(t, err)
	require.Empty(t, names)
}

// TestFolderIsNoObject: a key cannot continue another object's.
func TestFolderIsNoObject(t *testing.T) {
	for name, fsys := range map[string]virtualfile.FS{"os": virtualfile.NewOS(), "memory": virtualfile.NewMem()} {
		t.Run(name, func(t *testing.T) {
			s, err := Open(fsys, filepath.Join(t.TempDir(), "store"))
			require.NoError(t, err)
			defer s.Close()
			put := func(key string, o remote.PutOptions) error {
				_, err := s.Put(t.Context(), key, strings.NewReader("x"), 1, o)
				return err
			}
			require.NoError(t, put("a/b", remote.PutOptions{}))
			require.ErrorIs(t, put("a/b/c", remote.PutOptions{}), remote.ErrInvalid)
			require.ErrorIs(t, put("a", remote.PutOptions{}), remote.ErrInvalid)
			require.ErrorIs(t, put("a", remote.PutOptions{IfAbsent: true}), remote.ErrInvalid)
			require.ErrorIs(t, put(".strata-uploads/x", remote.PutOptions{}), remote.ErrInvalid)
			names, err := fsys.List(s.temp)
			require.NoError(t, err)
			require.Empty(t, names, "nothing is left of what failed")
		})
	}
}

// TestEmptyFoldersGo: with its last object a folder goes, and those above it; who puts one at the same time, of another process too, finds
// it again.
func TestEmptyFoldersGo(t *testing.T) {
	for name, fsys := range map[string]virtualfile.FS{"os": virtualfile.NewOS(), "memory": virtualfile.NewMem()} {
		t.Run(name, func(t *testing.T) {
			root := filepath.Join(t.TempDir(), "store")
			s, err := Open(fsys, root)
			require.NoError(t, err)
			defer s.Close()
			other, err := Open(fsys, root)
			require.NoError(t, err)
			defer other.Close()
			put := func(s *Store, key string) error {
				_, err := s.Put(t.Context(), key, strings.NewReader(key), int64(len(key)), remote.PutOptions{})
				return err
			}
			require.NoError(t, put(s, "a/b/c/d"))
			require.NoError(t, put(s, "a/x"))
			require.NoError(t, other.Delete(t.Context(), "a/b/c/d"))
			names, err := fsys.List(filepath.Join(root, "a"))
			require.NoError(t, err)
			require.Equal(t, []string{"x"}, names)
			require.NoError(t, put(s, "a/b/c/e"), "it is gone behind the back of the first")
			require.Equal(t, "a/b/c/e", text(t, other, "a/b/c/e"))
			require.NoError(t, s.Delete(t.Context(), "a/b/c/e", "a/x"))
			names, err = fsys.List(root)
			require.NoError(t, err)
			require.Equal(t, []string{uploads}, names)
			require.NoError(t, put(s, "a"), "it is no folder any more")

			const writers, rounds = 4, 20
			errs := make(chan error, writers)
			for w := range writers {
				go func() {
					of := []*Store{s, other}[w%2]
					key := "shared/folder/" + string(rune('0'+w))
					var err error
					for i := 0; i < rounds && err == nil; i++ {
						if err = put(of, key); err == nil {
							_, err = of.Head(t.Context(), key)
						}
						if err == nil && i < rounds-1 {
							err = of.Delete(t.Context(), key)
						}
					}
					errs <- err
				}()
			}
			for range writers {
				require.NoError(t, <-errs)
			}
			names, err = fsys.List(filepath.Join(root, "shared/folder"))
			require.NoError(t, err)
			require.Len(t, names, writers)
		})
	}
}
