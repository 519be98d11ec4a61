package virtualfile

import (
	"errors"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

const reserveSize = 8 * undoPage

func TestReserveLetsAFullDiskBeLeft(t *testing.T) {
	m := NewMem()
	m.SetCapacity(20 * undoPage)
	r, err := NewReserve(m, "reserve", reserveSize)
	require.NoError(t, err)
	require.EqualValues(t, reserveSize, r.Held())
	fileWith(t, m, "layer", make([]byte, 11*undoPage))
	manifest := make([]byte, 2*undoPage)
	require.ErrorIs(t, WriteFileAtomic(m, "manifest", manifest), syscall.ENOSPC)
	require.NoError(t, r.Release())
	require.Zero(t, r.Held())
	require.NoError(t, WriteFileAtomic(m, "manifest", manifest), "what says that the layer is gone")
	err = r.Refill()
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.ErrorContains(t, err, "reserve")
	require.Zero(t, r.Held())
	require.EqualValues(t, 13*undoPage, m.Used(), "and nothing is taken")
	require.NoError(t, m.Remove("layer"))
	require.NoError(t, r.Refill())
	require.EqualValues(t, reserveSize, r.Held())
	require.EqualValues(t, 10*undoPage, m.Used())
	require.NoError(t, r.Refill())
	require.NoError(t, r.Release())
	require.NoError(t, r.Release())
}

func TestReserveOfAFullDiskIsTakenLater(t *testing.T) {
	m := NewMem()
	m.SetCapacity(10 * undoPage)
	fileWith(t, m, "layer", make([]byte, 5*undoPage))
	r, err := NewReserve(m, "reserve", reserveSize)
	require.NoError(t, err, "an engine starts on a full disk too")
	require.Zero(t, r.Held())
	require.NoError(t, m.Remove("layer"))
	require.NoError(t, r.Refill())
	require.EqualValues(t, reserveSize, r.Held())
	_, err = NewReserve(m, "other", 0)
	require.ErrorContains(t, err, "size is 0")
	_, err = NewReserve(NewFaulty(m, &Fault{Op: OpSync, Nth: 1, Err: syscall.EIO}), "other", 10)
	require.ErrorIs(t, err, syscall.EIO)
}

// What a try that did not end has left takes no space for long.
func TestReserveLeavesNoHalfBehind(t *testing.T) {
	m := NewMem()
	m.SetCapacity(reserveSize + undoPage)
	leave := func() {
		f, err := m.Create("reserve" + TempSuffix)
		require.NoError(t, err)
		require.NoError(t, allocate(f, undoPage))
		require.NoError(t, f.Close())
	}
	written := NewFaulty(m, &Fault{Op: OpAllocate, Nth: 1, Sticky: true, Err: errors.ErrUnsupported})
	r, err := NewReserve(written, "reserve", reserveSize)
	require.NoError(t, err)
	leave()
	require.NoError(t, r.Refill())
	require.EqualValues(t, reserveSize, m.Used())
	leave()
	require.NoError(t, r.Release())
	require.Zero(t, m.Used())
	m.SetCapacity(reserveSize - 1)
	require.ErrorIs(t, r.Refill(), syscall.ENOSPC)
	require.Zero(t, m.Used(), "zeros that found no place")
}

func TestReserveOnEveryFileSystem(t *testing.T) {
	eachFS(t, func(t *testing.T, fsys FS, dir string) {
		name := filepath.Join(dir, "reserve")
		check := func(fsys FS, size int64) {
			r, err := NewReserve(fsys, name, size)
			require.NoError(t, err)
			require.Equal(t, size, r.Held())
			st, err := fsys.Stat(name)
			require.NoError(t, err)
			require.Equal(t, size, st.Size)
			names, err := fsys.List(dir)
			require.NoError(t, err)
			require.Equal(t, []string{"reserve"}, names)
		}
		check(fsys, 3<<20+5)
		check(fsys, 3<<20+5)
		check(fsys, 1<<20) // of another size
		require.NoError(t, fsys.Remove(name))
		without := NewFaulty(fsys, &Fault{Op: OpAllocate, Nth: 1, Err: errors.ErrUnsupported})
		check(without, 3<<20+5)
	})
}

// After a crash at any time the reserve has its name only if it holds all of its size, and can be taken.
func TestReserveAtEveryCrash(t *testing.T) {
	holds := func(t *testing.T, found *MemFS, done bool) {
		st, err := found.Stat("reserve")
		require.True(t, err != nil || st.Size == reserveSize)
		require.True(t, err == nil || !done)
		r, err := NewReserve(found, "reserve", reserveSize)
		require.NoError(t, err)
		require.EqualValues(t, reserveSize, r.Held())
		names, err := found.List("/")
		require.NoError(t, err)
		require.Equal(t, []string{"reserve"}, names)
	}
	for name, unsupported := range map[string]error{"allocated": nil, "written": errors.ErrUnsupported} {
		t.Run(name, func(t *testing.T) {
			everyCrash(t, func(m *MemFS) {}, func(fsys FS) error {
				if unsupported != nil {
					fsys = NewFaulty(fsys, &Fault{Op: OpAllocate, Nth: 1, Sticky: true, Err: unsupported})
				}
				r, err := NewReserve(fsys, "reserve", reserveSize)
				if err != nil {
					return err
				}
				if err := r.Release(); err != nil {
					return err
				}
				return r.Refill()
			}, holds)
		})
	}
}
