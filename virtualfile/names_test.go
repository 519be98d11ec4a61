package virtualfile

import (
	"context"
	"errors"
	"io/fs"
	"testing"

	"github.com/stretchr/testify/require"
)

// hookFS calls back in the midst of its operations, as another goroutine might come in between.
type hookFS struct {
	FS
	beforeOpen, afterRename func()
}

func once(hook *func()) {
	if h := *hook; h != nil {
		*hook = nil
		h()
	}
}

func (f *hookFS) OpenFile(name string, flags Flags) (File, error) {
	once(&f.beforeOpen)
	return f.FS.OpenFile(name, flags)
}

func (f *hookFS) Rename(oldName, newName string) error {
	err := f.FS.Rename(oldName, newName)
	once(&f.afterRename)
	return err
}

// TestRenameWhileOpening shows that what is found under a name that was right a moment ago means nothing:
// neither that there is no file, nor another one.
func TestRenameWhileOpening(t *testing.T) {
	for _, another := range []bool{false, true} {
		hooks := &hookFS{FS: NewMem()}
		d := newDisk(t, hooks, DiskOptions{MaxDescriptors: 1})
		a := writeFile(t, d, "a", 1, 4096)
		other := writeFile(t, d, "other", 2, 4096) // takes the descriptor
		hooks.beforeOpen = func() {
			require.NoError(t, d.Rename("a", "b"))
			if another {
				require.NoError(t, d.Rename("other", "a"))
			}
		}
		require.Equal(t, marked(1, 0, 4096), read(t, a, 0, 4096))
		require.Equal(t, "b", a.Name())
		require.Equal(t, marked(2, 0, 4096), read(t, other, 0, 4096))
		hooks.beforeOpen = func() { require.NoError(t, d.Remove("b")) }
		_, err := tryRead(t.Context(), a, 0, 4096)
		require.ErrorIs(t, err, ErrGone)
		require.NoError(t, a.Close())
		require.NoError(t, other.Close())
	}
}

// TestNamesAreHeldDuringARename shows that nothing is opened under a name whose meaning is being changed.
func TestNamesAreHeldDuringARename(t *testing.T) {
	hooks := &hookFS{FS: NewMem()}
	d := newDisk(t, hooks, DiskOptions{})
	a := writeFile(t, d, "a", 1, 4096)
	defer a.Close()
	busy := func(name string) bool {
		var noWait context.Context
		err := d.names.settle(noWait, func() string { return name })
		if err == nil {
			d.names.mu.Unlock()
		}
		return errors.Is(err, errBusy)
	}
	created := make(chan *Handle)
	hooks.afterRename = func() {
		for name, want := range map[string]bool{"a": true, "b": true, "/a/x": false, "a/x": true, "./b": true, "ab": false, "c": false} {
			require.Equal(t, want, busy(name), name)
		}
		go func() {
			h, err := d.Create("a") // waits; it would be taken for the file that was renamed
			if err != nil {
				t.Error(err)
			}
			created <- h
		}()
	}
	require.NoError(t, d.Rename("a", "b"))
	h := <-created
	require.Equal(t, "a", h.Name())
	require.Equal(t, "b", a.Name())
	require.False(t, busy("a"))
	require.NoError(t, h.Close())
}

// TestRenameOverAnOpenFile shows that the handles of the file that made way know that it is gone.
func TestRenameOverAnOpenFile(t *testing.T) {
	eachFS(t, func(t *testing.T, fsys FS, dir string) {
		d := newDisk(t, fsys, DiskOptions{MaxDescriptors: 2})
		at := func(name string) string { return dir + "/" + name }
		a, b := writeFile(t, d, at("a"), 1, 4096), writeFile(t, d, at("b"), 2, 4096)
		require.NoError(t, d.Rename(at("a"), at("b")))
		require.Equal(t, marked(1, 0, 4096), read(t, a, 0, 4096))
		require.Equal(t, marked(2, 0, 4096), read(t, b, 0, 4096), "while it has its descriptor")
		c := writeFile(t, d, at("c"), 3, 4096)
		require.Equal(t, marked(1, 0, 4096), read(t, a, 0, 4096))
		require.Equal(t, marked(2, 0, 4096), read(t, b, 0, 4096), "it is taken last")
		e := writeFile(t, d, at("e"), 4, 4096)
		for range 3 {
			require.NotEmpty(t, read(t, e, 0, 4096))
			require.NotEmpty(t, read(t, b, 0, 4096))
			require.NotEmpty(t, read(t, c, 0, 4096))
		}
		require.NoError(t, d.RenameNew(at("e"), at("f")))
		require.ErrorIs(t, d.RenameNew(at("f"), at("c")), fs.ErrExist)
		require.Equal(t, at("f"), e.Name())
		for _, h := range []*Handle{a, b, c, e} {
			require.NoError(t, h.Close())
		}
	})
}
