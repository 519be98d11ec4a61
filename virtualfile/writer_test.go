package virtualfile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

// memDisk gives a Disk in memory.
func memDisk(t testing.TB, fsys FS) *Disk {
	t.Helper()
	d, err := NewDisk(fsys, DiskOptions{Mode: DirectRW, Validate: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	return d
}

func createFile(t testing.TB, d *Disk, name string) *Handle {
	t.Helper()
	h, err := d.Create(name)
	require.NoError(t, err)
	t.Cleanup(func() { _ = h.Close() })
	return h
}

// unit is what stands for a letter of the vectors below, as a buffer has at least 4 KiB.
const unit = BufferAlign / 4

func letters(s string) (out []byte) {
	for i := range len(s) {
		c := s[i]
		if c == '0' {
			c = 0
		}
		out = append(out, bytes.Repeat([]byte{c}, unit)...)
	}
	return out
}

// seenWrites notes stretches as "offset:letters".
type seenWrites []string

func (s *seenWrites) see(off int64, b []byte) {
	text := ""
	for i := 0; i < len(b); i += unit {
		text += string(b[i])
	}
	*s = append(*s, fmt.Sprintf("%d:%s", off/unit, strings.ReplaceAll(text, "\x00", "0")))
}

// The vectors of Neon's buffered writer: buffers of four letters; the tail dropped, padded to an even
// length, or padded to a whole buffer and cut off.
func TestWriterAgainstNeonsVectors(t *testing.T) {
	whole := []string{"0:abcd", "4:efgh", "8:ijkl"}
	for name, v := range map[string]struct {
		end  func(t *testing.T, w *Writer, h *Handle)
		want []string
		file string
	}{
		"drop the tail": {func(t *testing.T, w *Writer, h *Handle) {
			require.NoError(t, w.Err())
			w.Abort()
		}, nil, "abcdefghijkl"},
		"pad": {func(t *testing.T, w *Writer, h *Handle) {
			end, err := w.Finish(2 * unit)
			require.NoError(t, err)
			require.EqualValues(t, 14*unit, end)
		}, []string{"12:m0"}, "abcdefghijklm0"},
		"pad, then cut off": {func(t *testing.T, w *Writer, h *Handle) {
			exact := w.Offset()
			end, err := w.Finish(4 * unit)
			require.NoError(t, err)
			require.EqualValues(t, 16*unit, end)
			require.NoError(t, h.Truncate(exact))
		}, []string{"12:m000"}, "abcdefghijklm"},
	} {
		t.Run(name, func(t *testing.T) {
			m := NewMem()
			d := memDisk(t, m)
			h := createFile(t, d, "f")
			var seen seenWrites
			w := NewWriter(h, WriterOptions{Buffer: 4 * unit, See: seen.see})
			for _, s := range []string{"abc", "", "d", "efg", "hijklm"} {
				n, err := w.Write(letters(s))
				require.NoError(t, err)
				require.Equal(t, len(s)*unit, n)
			}
			require.EqualValues(t, 13*unit, w.Offset())
			if v.want == nil { // what is full is written before the end, or not at all
				require.NoError(t, w.Wait(t.Context()))
				require.NoError(t, w.drain(t.Context()))
			}
			v.end(t, w, h)
			require.Equal(t, append(whole[:3:3], v.want...), []string(seen))
			require.NoError(t, h.Sync())
			require.Equal(t, string(letters(v.file)), content(t, m, "f"))
		})
	}
}

// Whatever is written, in whatever pieces and ways, is in the file, once, in order, and was seen before.
func TestWriterWritesWhatItIsGiven(t *testing.T) {
	eachMode(t, func(t *testing.T, d *Disk, dir string, _ func(x *Fault) *Disk) {
		files := 0
		rapid.Check(t, func(t *rapid.T) {
			files++
			name := filepath.Join(dir, fmt.Sprint(files))
			h, err := d.Create(name)
			require.NoError(t, err)
			defer func() { require.NoError(t, h.Close()); require.NoError(t, d.Remove(name)) }()
			start := rapid.SampledFrom([]int64{0, 8192, 4096 * 3}).Draw(t, "start")
			want := make([]byte, start)
			seen := make([]byte, start)
			w := NewWriter(h, WriterOptions{
				Start: start, Buffer: rapid.SampledFrom([]int{1, 4096, 5000, 8192, 1 << 16}).Draw(t, "buffer"),
				See: func(off int64, b []byte) {
					require.EqualValues(t, len(seen), off)
					seen = append(seen, b...)
				}})
			for range rapid.IntRange(0, 20).Draw(t, "writes") {
				p := rapid.SliceOfN(rapid.Byte(), 1, 4).Draw(t, "bytes")
				p = bytes.Repeat(p, rapid.SampledFrom([]int{0, 1, 100, 1000, 1024, 5000, 20000}).Draw(t, "times"))
				want = append(want, p...)
				if rapid.Bool().Draw(t, "in place") {
					for len(p) > 0 {
						n := copy(w.Room(len(p)), p)
						require.NotZero(t, n)
						w.Advance(n)
						p = p[n:]
					}
				} else {
					n, err := w.Write(p)
					require.NoError(t, err)
					require.Equal(t, len(p), n)
				}
				require.EqualValues(t, len(want), w.Offset())
				require.LessOrEqual(t, w.Written(), w.Offset())
			}
			pad := rapid.SampledFrom([]int{512, 1024, 8192, 3 * 4096}).Draw(t, "pad")
			end, err := w.Finish(pad)
			require.NoError(t, err)
			require.Zero(t, end%int64(pad))
			require.Less(t, end-int64(len(want)), int64(pad))
			require.Equal(t, end, w.Written())
			want = append(want, make([]byte, end-int64(len(want)))...)
			require.True(t, bytes.Equal(want[start:], seen[start:]))
			require.NoError(t, h.Sync())
			if end == start {
				want = nil // nothing was written, and so nothing before it either
			}
			require.True(t, bytes.Equal(want, readBack(t, d, name)))
		})
	})
}

// readBack reads a file through the Disk, in one batch of pieces.
func readBack(t require.TestingT, d *Disk, name string) []byte {
	h, err := d.Open(name)
	require.NoError(t, err)
	defer func() { require.NoError(t, h.Close()) }()
	size, err := h.Size()
	require.NoError(t, err)
	const piece = 4 * BufferAlign
	var reads []Read
	for off := int64(0); off < size; off += piece {
		reads = append(reads, Read{File: h, Off: off, Buf: d.Buffers().Get(piece), Len: piece})
	}
	require.NoError(t, d.ReadMulti(context.Background(), reads))
	var out []byte
	for _, r := range reads {
		require.NoError(t, r.Err)
		out = append(out, r.Buf.Bytes()[:r.N]...)
		r.Buf.Release()
	}
	return out
}

// A Write waits only while both buffers are full, and then as long as its context.
func TestWriterWaits(t *testing.T) {
	defer goleak.VerifyNone(t)
	entered, release := make(chan struct{}), make(chan struct{})
	m := NewMem()
	slow := &Fault{Op: OpWrite, Nth: 1, Effect: Delay, Before: func() { close(entered); <-release }}
	d, err := NewDisk(NewFaulty(m, slow), DiskOptions{Validate: true})
	require.NoError(t, err)
	h, err := d.Create("f")
	require.NoError(t, err)
	var seen seenWrites
	w := NewWriter(h, WriterOptions{Buffer: 4 * unit, See: seen.see})
	n, err := w.Write(letters("abcdefgh"))
	require.NoError(t, err, "two buffers take it")
	require.Equal(t, 8*unit, n)
	<-entered
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	n, err = w.WriteContext(ctx, letters("i"))
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorContains(t, err, "f")
	require.Zero(t, n)
	_, err = w.FinishContext(ctx, 512)
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, w.Err())
	require.Zero(t, w.Written())
	close(release)
	_, err = w.Write(letters("i"))
	require.NoError(t, err)
	end, err := w.Finish(512)
	require.NoError(t, err)
	require.EqualValues(t, 9*unit, end)
	require.Equal(t, seenWrites{"0:abcd", "4:efgh", "8:i"}, seen)
	require.NoError(t, h.Close())
	require.Equal(t, string(letters("abcdefghi")), content(t, m, "f"))
	require.NoError(t, d.Close())
}

// Abort waits for the write in flight, which uses a buffer, and begins no other.
func TestAbortWaitsForWhatIsInFlight(t *testing.T) {
	defer goleak.VerifyNone(t)
	entered, release := make(chan struct{}), make(chan struct{})
	m := NewMem()
	slow := &Fault{Op: OpWrite, Nth: 1, Effect: Delay, Before: func() { close(entered); <-release }}
	d, err := NewDisk(NewFaulty(m, slow), DiskOptions{Validate: true})
	require.NoError(t, err)
	h, err := d.Create("f")
	require.NoError(t, err)
	w := NewWriter(h, WriterOptions{Buffer: 4 * unit})
	_, err = w.Write(letters("abcdefgh"))
	require.NoError(t, err)
	<-entered
	done := make(chan struct{})
	go func() { w.Abort(); close(done) }()
	for !w.drop.Load() {
		select {
		case <-done:
			require.Fail(t, "Abort did not wait")
		default:
		}
	}
	close(release)
	<-done
	require.Equal(t, 1, slow.Seen(), "the second buffer was not written")
	w.Abort()
	_, err = w.Write([]byte("x"))
	require.ErrorIs(t, err, ErrEnded)
	require.Nil(t, w.Room(1))
	_, err = w.Finish(512)
	require.ErrorIs(t, err, ErrEnded)
	require.NoError(t, h.Close())
	require.NoError(t, d.Close())
}

// Any failed write shows at a later call and at Finish, and nothing is written after it or tried again.
func TestWriterFailsForGood(t *testing.T) {
	defer goleak.VerifyNone(t)
	for _, errno := range []error{syscall.ENOSPC, syscall.EIO} {
		for nth := 1; nth <= 4; nth++ {
			m := NewMem()
			x := &Fault{Op: OpWrite, Nth: nth, Err: errno, Torn: unit}
			d, err := NewDisk(NewFaulty(m, x), DiskOptions{Mode: DirectRW, Validate: true})
			require.NoError(t, err)
			h, err := d.Create("f")
			require.NoError(t, err)
			w := NewWriter(h, WriterOptions{Buffer: 4 * unit})
			var first error
			for range 7 {
				n, err := w.Write(letters("ab"))
				require.Equal(t, err == nil, n == 2*unit)
				if err != nil && first == nil {
					first = err
				}
				require.True(t, first == nil || errors.Is(err, errno), "it stays")
			}
			_, err = w.Finish(512)
			require.ErrorIs(t, err, errno)
			require.ErrorContains(t, err, "f:")
			require.ErrorContains(t, err, fmt.Sprintf("at offset %d", (nth-1)*4*unit))
			require.Equal(t, nth, x.Seen(), "nothing was written after it")
			require.Len(t, content(t, m, "f"), (nth-1)*4*unit+unit)
			// A full disk leaves the file to be trusted, with what it has; a failed disk does not.
			if errno == syscall.ENOSPC {
				require.NoError(t, h.Sync())
			} else {
				require.ErrorIs(t, h.Sync(), ErrBroken)
				require.ErrorIs(t, h.Sync(), errno)
			}
			require.NoError(t, h.Close())
			require.NoError(t, d.Close())
		}
	}
}

// A disk that is full until something is removed takes a new writer then.
func TestFullDiskIsTheWritersOnly(t *testing.T) {
	m := NewMem()
	m.SetCapacity(3 * BufferAlign)
	d := memDisk(t, m)
	fileWith(t, m, "old", make([]byte, 2*BufferAlign))
	h := createFile(t, d, "f")
	w := NewWriter(h, WriterOptions{Buffer: BufferAlign})
	_, _ = w.Write(make([]byte, 4*BufferAlign))
	_, err := w.Finish(512)
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.NoError(t, m.Remove("old"))
	w = NewWriter(h, WriterOptions{Buffer: BufferAlign})
	_, err = w.Write(make([]byte, 3*BufferAlign))
	require.NoError(t, err)
	_, err = w.Finish(512)
	require.NoError(t, err)
	require.NoError(t, h.Sync())
}

func TestWriterRefusesWhatIsNotAligned(t *testing.T) {
	d := memDisk(t, NewMem())
	h := createFile(t, d, "f")
	w := NewWriter(h, WriterOptions{Start: 100})
	_, err := w.Write([]byte("x"))
	require.ErrorContains(t, err, "f: a writer's start is 100")
	w.Abort()
	for _, pad := range []int{0, -512, 100} {
		w = NewWriter(h, WriterOptions{})
		_, err = io.WriteString(w, "x")
		require.NoError(t, err)
		_, err = w.Finish(pad)
		require.ErrorContains(t, err, fmt.Sprintf("padding to %d", pad))
	}
}

// Small writes cost no memory, and neither do large ones.
func TestWriteAllocatesNothing(t *testing.T) {
	d := memDisk(t, discardFS{NewMem()})
	h := createFile(t, d, "f")
	w := NewWriter(h, WriterOptions{Buffer: 1 << 16})
	defer w.Abort()
	small, large := make([]byte, 100), make([]byte, 1<<16+100)
	_, err := w.Write(make([]byte, 3<<16))
	require.NoError(t, err)
	perWrite := testing.AllocsPerRun(2000, func() { _, err = w.Write(small) })
	require.NoError(t, err)
	require.Less(t, perWrite, 0.1)
	perBuffer := testing.AllocsPerRun(200, func() { _, err = w.Write(large) })
	require.NoError(t, err)
	t.Logf("%v allocations a buffer", perBuffer)
	require.LessOrEqual(t, perBuffer, 4.0, "what the Disk needs for a write")
}

// discardFS takes writes and forgets them.
type discardFS struct{ FS }

func (d discardFS) OpenFile(name string, flags Flags) (File, error) {
	f, err := d.FS.OpenFile(name, flags)
	return discardFile{f}, err
}

type discardFile struct{ File }

func (discardFile) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }
