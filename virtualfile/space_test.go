package virtualfile

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestSpace: the room on a disk is told through every wrapper, and shrinks by what is written.
func TestSpace(t *testing.T) {
	s, err := SpaceOf(Sticky(NewOS()), t.TempDir())
	require.NoError(t, err)
	require.Positive(t, s.Total)
	require.LessOrEqual(t, s.Avail, s.Total)
	_, err = SpaceOf(NewOS(), t.TempDir()+"/none")
	require.Error(t, err)

	m := NewMem()
	_, err = SpaceOf(m, "")
	require.ErrorIs(t, err, errors.ErrUnsupported)
	m.SetCapacity(1 << 20)
	fs := Sticky(NewFaulty(m))
	before, err := SpaceOf(fs, "")
	require.NoError(t, err)
	require.EqualValues(t, 1<<20, before.Total)
	require.NoError(t, WriteFileAtomic(fs, "x", make([]byte, 64<<10)))
	after, err := SpaceOf(fs, "")
	require.NoError(t, err)
	require.EqualValues(t, 64<<10, before.Avail-after.Avail)
}
