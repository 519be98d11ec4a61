package virtualfile

import (
	"io/fs"
	"testing"

	"github.com/stretchr/testify/require"
)

// plainFS hides all but the methods of FS.
type plainFS struct{ FS }

// TestLink shows that a second name outlives the first, on every file system, and that a crash keeps it once its folder
// was synced.
func TestLink(t *testing.T) {
	mem := NewMem()
	for name, c := range map[string]struct {
		fs  FS
		dir string
	}{
		"os": {NewOS(), t.TempDir()}, "sticky os": {Sticky(NewOS()), t.TempDir()}, "memory": {mem, "a"}, "faults": {NewFaulty(NewMem()), "a"},
		"copied": {plainFS{NewMem()}, "a"}, "sticky, copied": {Sticky(plainFS{NewMem()}), "a"},
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, c.fs.MkdirAll(c.dir))
			content := make([]byte, copyBuffer+100)
			content[copyBuffer] = 7
			require.NoError(t, WriteFileAtomic(c.fs, c.dir+"/one", content))
			require.NoError(t, Link(c.fs, c.dir+"/one", c.dir+"/two"))
			require.ErrorIs(t, Link(c.fs, c.dir+"/one", c.dir+"/two"), fs.ErrExist)
			require.ErrorIs(t, Link(c.fs, c.dir+"/none", c.dir+"/three"), fs.ErrNotExist)
			require.NoError(t, c.fs.SyncDir(c.dir))
			require.NoError(t, c.fs.Remove(c.dir+"/one"))
			got, err := ReadFile(c.fs, c.dir+"/two", 2*copyBuffer)
			require.NoError(t, err)
			require.Equal(t, content, got)
			names, err := c.fs.List(c.dir)
			require.NoError(t, err)
			require.Equal(t, []string{"two"}, names)
		})
	}
	require.NoError(t, mem.SyncDir("/"))
	for seed := range uint64(20) {
		got, err := ReadFile(mem.CrashClone(seed), "a/two", 2*copyBuffer)
		require.NoError(t, err)
		require.Len(t, got, copyBuffer+100)
	}
}

// TestLinkFails shows that a copy that fails leaves nothing.
func TestLinkFails(t *testing.T) {
	for _, op := range []Op{OpCreate, OpRead, OpWrite, OpSync} {
		mem := NewMem()
		require.NoError(t, WriteFileAtomic(mem, "one", []byte("content")))
		f := NewFaulty(mem, &Fault{Op: op, Nth: 1})
		require.ErrorIs(t, Link(plainFS{f}, "one", "two"), ErrInjected, op)
		names, err := mem.List("/")
		require.NoError(t, err)
		require.Equal(t, []string{"one"}, names)
	}
}
