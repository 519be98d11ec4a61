package backupcache_test

import (
	"bytes"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/backupcache"
	"github.com/stratapg/strata/virtualfile"
)

const orderFile = "/cache/order"

// keeps reopens a folder with room for two backups of the three that are there, and wants these.
func keeps(t *testing.T, fs virtualfile.FS, want [3]bool) {
	t.Helper()
	c, err := backupcache.Open(backupcache.Options{Dir: "/cache", FS: fs, Entries: 2})
	require.NoError(t, err)
	require.Equal(t, want, [3]bool{c.Has(key(0)), c.Has(key(1)), c.Has(key(2))})
	require.NoError(t, c.Close())
}

// folder makes a file system with the folder of a cache.
func folder(t *testing.T) *virtualfile.MemFS {
	t.Helper()
	fs := virtualfile.NewMem()
	require.NoError(t, fs.MkdirAll("/cache"))
	require.NoError(t, fs.SyncDir("/"))
	return fs
}

// TestOrderOfUseIsKept makes three backups, uses the first again, and opens the folder with room for two: the second gives way. Where the
// machine fails before the order is written, the first does.
func TestOrderOfUseIsKept(t *testing.T) {
	fs := folder(t)
	c, err := backupcache.Open(backupcache.Options{Dir: "/cache", FS: fs})
	require.NoError(t, err)
	for _, n := range []int{0, 1, 2, 0} {
		fetch(t, c, n, 10)
	}
	keeps(t, fs.CrashClone(1), [3]bool{false, true, true})
	require.NoError(t, c.Close())
	keeps(t, fs.CrashClone(1), [3]bool{true, false, true})
}

// TestOrderWrittenWhileOpen shows that a crash does not lose the order of what was used before the last minute.
func TestOrderWrittenWhileOpen(t *testing.T) {
	fs := folder(t)
	var now atomic.Int64
	c := open(t, backupcache.Options{Dir: "/cache", FS: fs, Clock: func() time.Time { return time.Unix(now.Load(), 0) }})
	for n := range 3 {
		fetch(t, c, n, 10)
	}
	now.Store(60)
	fetch(t, c, 0, 10)
	_, err := fs.Stat(orderFile)
	for ; err != nil; _, err = fs.Stat(orderFile) {
		runtime.Gosched() // it is written in the background
	}
	require.NoError(t, fs.SyncDir("/cache")) // as the writer does behind the name
	keeps(t, fs.CrashClone(1), [3]bool{true, false, true})
}

// TestDamagedOrder shows that an order that cannot be used costs no backup: those made last are taken for those used last.
func TestDamagedOrder(t *testing.T) {
	whole := folder(t)
	c, err := backupcache.Open(backupcache.Options{Dir: "/cache", FS: whole})
	require.NoError(t, err)
	for _, n := range []int{0, 1, 2, 0} {
		fetch(t, c, n, 10)
	}
	require.NoError(t, c.Close())
	order, err := virtualfile.ReadFile(whole, orderFile, 1<<10)
	require.NoError(t, err)
	harmed := [][]byte{nil, []byte("STRABORD"), append(bytes.Clone(order), 0), bytes.Repeat(order, 2)}
	for n := range order {
		flipped := bytes.Clone(order)
		flipped[n] ^= 8
		harmed = append(harmed, flipped, order[:n])
	}
	for _, b := range harmed {
		require.NoError(t, virtualfile.WriteFileAtomic(whole, orderFile, b))
		keeps(t, whole.CrashClone(1), [3]bool{false, true, true})
	}
}
