package virtualfile

import (
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

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

// pattern is n bytes that differ from their neighbours.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8)
	}
	return b
}

func fileWith(t testing.TB, fsys FS, name string, data []byte) {
	t.Helper()
	require.NoError(t, WriteFileAtomic(fsys, name, data))
}

func TestFlipChangesOneBitOfWhatIsRead(t *testing.T) {
	m := NewMem()
	want := pattern(100)
	fileWith(t, m, "f", want)
	f, err := NewFaulty(m, &Fault{Op: OpRead, Nth: 2, Effect: Flip, Bit: 800 + 13}).Open("f")
	require.NoError(t, err)
	got := make([]byte, 100)
	for nth := 1; nth <= 3; nth++ {
		_, err = f.ReadAt(got, 0)
		require.NoError(t, err)
		if nth == 2 {
			require.Equal(t, want[1]^1<<5, got[1])
			got[1] = want[1]
		}
		require.Equal(t, want, got)
	}
}

func TestFlipChangesOneBitOfTheDiskAndNotTheCallersBytes(t *testing.T) {
	eachMode(t, func(t *testing.T, _ *Disk, dir string, faulty func(x *Fault) *Disk) {
		d := faulty(&Fault{Op: OpWrite, Nth: 1, Effect: Flip, Bit: 8*1000 + 1})
		h, err := d.Create(dir + "/f")
		require.NoError(t, err)
		b := d.Buffers().Get(BufferAlign)
		defer b.Release()
		copy(b.Bytes(), pattern(BufferAlign))
		require.NoError(t, h.WriteAt(b, 0, BufferAlign, 0))
		want := pattern(BufferAlign)
		require.Equal(t, want, b.Bytes())
		require.NoError(t, h.Close())
		want[1000] ^= 2
		require.Equal(t, string(want), content(t, d.FS(), dir+"/f"))
	})
}

func TestShortTransfersAreGoneOnWith(t *testing.T) {
	eachMode(t, func(t *testing.T, _ *Disk, dir string, faulty func(x *Fault) *Disk) {
		want := pattern(4 * BufferAlign)
		for _, op := range []Op{OpWrite, OpRead} {
			x := &Fault{Op: op, Nth: 1, Sticky: true, Effect: Short, Torn: 1}
			d := faulty(x)
			name := dir + "/f" + string('0'+rune(op))
			h, err := d.Create(name)
			require.NoError(t, err)
			b := d.Buffers().Get(len(want))
			copy(b.Bytes(), want)
			require.NoError(t, h.WriteAt(b, 0, len(want), 0))
			clear(b.Bytes())
			r := []Read{{File: h, Buf: b, Len: len(want)}}
			require.NoError(t, d.ReadMulti(t.Context(), r))
			require.NoError(t, r[0].Err)
			require.Equal(t, len(want), r[0].N)
			require.Equal(t, want, b.Bytes())
			require.Equal(t, len(want)/sectorSize, x.Hits())
			b.Release()
			require.NoError(t, h.Close())
		}
		d := faulty(&Fault{Nth: 1, Sticky: true, Effect: Short, Torn: 3})
		require.NoError(t, WriteFileAtomic(d.FS(), dir+"/g", want))
		require.Equal(t, string(want), content(t, d.FS(), dir+"/g"))
	})
}

func TestDelayHoldsOneOperationUp(t *testing.T) {
	m := NewMem()
	fileWith(t, m, "f", []byte("old"))
	order := []string{}
	fsys := NewFaulty(m, &Fault{Op: OpRename, Nth: 1, Effect: Delay, Before: func() {
		order = append(order, content(t, m, "f"))
	}}, &Fault{Op: OpRename, Nth: 2})
	require.NoError(t, WriteFileAtomic(fsys, "f", []byte("new")))
	order = append(order, content(t, m, "f"))
	require.Equal(t, []string{"old", "new"}, order)
	require.ErrorIs(t, WriteFileAtomic(fsys, "f", []byte("x")), ErrInjected, "a delay lets others strike")
}

// A second sync after a failed one succeeds and proves nothing: that is why there is ErrBroken.
func TestASyncTriedAgainLies(t *testing.T) {
	m := NewMem()
	fileWith(t, m, "f", []byte("old"))
	f, err := NewFaulty(m, &Fault{Op: OpSync, Nth: 1, Effect: Lose, Err: syscall.EIO}).OpenAppend("f")
	require.NoError(t, err)
	_, err = f.WriteAt([]byte("new"), 0)
	require.NoError(t, err)
	require.ErrorIs(t, f.Sync(), syscall.EIO)
	require.NoError(t, f.Sync(), "the kernel has nothing to write any more")
	require.Equal(t, "new", content(t, m, "f"), "its page cache has it")
	for seed := range uint64(50) {
		require.Equal(t, "old", content(t, m.CrashClone(seed), "f"), "and the disk has not")
	}
	_, err = f.WriteAt([]byte("x"), 1) // makes the page dirty again, and so all of it is written
	require.NoError(t, err)
	require.NoError(t, f.Sync())
	require.Equal(t, "nxw", content(t, m.CrashClone(1), "f"))
	require.NoError(t, f.Close())
}
