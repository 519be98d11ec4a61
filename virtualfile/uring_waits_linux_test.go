package virtualfile

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// pipeFS has pipes for files that are named so: a read waits until somebody writes, and the kernel can
// cancel it until then.
type pipeFS struct {
	FS
	ins chan *os.File // the ends to write to
}

type pipeFile struct {
	File // its methods are not called
	fd   int
}

func (p pipeFile) facts() (facts, error) { return facts{}, nil }
func (p pipeFile) descriptor() int       { return p.fd }
func (p pipeFile) Close() error          { return syscall.Close(p.fd) }

func (p pipeFS) OpenFile(name string, flags Flags) (File, error) {
	if filepath.Base(name) != "pipe" {
		return p.FS.OpenFile(name, flags)
	}
	var fds [2]int
	if err := syscall.Pipe2(fds[:], syscall.O_CLOEXEC); err != nil {
		return nil, err
	}
	p.ins <- os.NewFile(uintptr(fds[1]), "in")
	return pipeFile{fd: fds[0]}, nil
}

// pipeDisk makes a Disk with n pipes, and gives their ends.
func pipeDisk(t *testing.T, n int) (*Disk, *uring, []*Handle, []*os.File) {
	fsys := pipeFS{NewOS(), make(chan *os.File, n)}
	d, u := uringDisk(t, fsys, DiskOptions{Mode: Buffered})
	out, in := make([]*Handle, n), make([]*os.File, n)
	for i := range n {
		h, err := d.Open("pipe")
		require.NoError(t, err)
		out[i], in[i] = h, <-fsys.ins
		t.Cleanup(func() {
			require.NoError(t, h.Close())
			require.NoError(t, in[i].Close())
		})
	}
	return d, u, out, in
}

// waitInFlight waits until the kernel has n transfers.
func waitInFlight(t *testing.T, u *uring, n int) {
	require.Eventually(t, func() bool {
		u.mu.Lock()
		defer u.mu.Unlock()
		return u.mu.inFlight == n && u.mu.lead == leaderWaits
	}, 10*time.Second, time.Millisecond)
}

func underWay(u *uring) int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.mu.inFlight
}

// TestURingReadIsCancelled shows that a caller leaves a read that never ends, that the read keeps buffer and
// file until the kernel has let go of them, and that the Disk can be closed then.
func TestURingReadIsCancelled(t *testing.T) {
	d, u, out, in := pipeDisk(t, 2)
	for _, n := range []int{1, 2} { // who leads, and who waits beside a leader
		ctx, cancel := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() {
				_, err := tryRead(ctx, out[i], 0, 4096)
				if err != context.Canceled {
					t.Error(err)
				}
			})
		}
		waitInFlight(t, u, n)
		cancel()
		wg.Wait()
		requireIdle(t, u)
		require.Zero(t, d.Metrics().BuffersInUse)
	}
	_, err := in[0].Write([]byte("still works"))
	require.NoError(t, err)
	require.Equal(t, "still works", string(read(t, out[0], 0, 4096)))
}

// TestURingWritesNothingIntoReleasedMemory lets data arrive while the reader leaves: whatever wins, memory
// that has gone to another owner stays as that left it.
func TestURingWritesNothingIntoReleasedMemory(t *testing.T) {
	d, u, out, in := pipeDisk(t, 1)
	sent := make([]byte, 4096)
	for i := range sent {
		sent[i] = 0xee
	}
	zeros := make([]byte, 4096)
	send := func() {
		if _, err := in[0].Write(sent); err != nil {
			t.Error(err)
		}
	}
	for i := range 600 {
		ctx, cancel := context.WithCancel(context.Background())
		buf := d.Buffers().Get(4096)
		var wg sync.WaitGroup
		late := i%2 == 0 // the reader leaves while the kernel has its read, and the data comes after that
		wg.Go(func() {
			for late && underWay(u) == 0 {
				runtime.Gosched()
			}
			cancel()
		})
		if !late {
			wg.Go(send)
		}
		err := d.ReadMulti(ctx, []Read{{File: out[0], Buf: buf, Len: 4096}})
		buf.Release()
		var others [4]*Buffer
		for i := range others {
			others[i] = d.Buffers().Get(4096)
			clear(others[i].Bytes())
		}
		if late {
			send()
		}
		wg.Wait()
		if err != nil {
			emptyPipe(t, out[0]) // unless the abandoned read got the data
		}
		for _, o := range others {
			require.True(t, bytes.Equal(zeros, o.Bytes()), "another's buffer was written to")
			o.Release()
		}
	}
}

// emptyPipe takes what is in a pipe out of it.
func emptyPipe(t *testing.T, h *Handle) {
	require.NoError(t, syscall.SetNonblock(h.fd, true))
	defer func() { require.NoError(t, syscall.SetNonblock(h.fd, false)) }()
	var b [8192]byte
	if _, err := syscall.Read(h.fd, b[:]); err != nil {
		require.ErrorIs(t, err, syscall.EAGAIN)
	}
}

// TestURingFullRing fills the ring with reads that do not end: others wait for a place, under their context,
// and are served once there is one.
func TestURingFullRing(t *testing.T) {
	d, u, out, _ := pipeDisk(t, 1)
	file := writeFile(t, d, filepath.Join(t.TempDir(), "a"), 1, 4096)
	defer file.Close()
	ctx, cancel := context.WithCancel(context.Background())
	stuck := make([]Read, uringDepth+10)
	for i := range stuck {
		stuck[i] = Read{File: out[0], Buf: d.Buffers().Get(4096), Len: 4096}
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := d.ReadMulti(ctx, stuck); err != context.Canceled {
			t.Error(err)
		}
		for _, r := range stuck {
			r.Buf.Release()
		}
	})
	waitInFlight(t, u, uringDepth)
	impatient, leave := context.WithCancel(context.Background())
	wg.Go(func() {
		if _, err := tryRead(impatient, file, 0, 4096); err != context.Canceled {
			t.Error(err)
		}
	})
	wg.Go(func() {
		b, err := tryRead(context.Background(), file, 0, 4096)
		if err != nil || len(b) != 4096 {
			t.Error(len(b), err)
		}
	})
	require.Eventually(t, func() bool {
		u.mu.Lock()
		defer u.mu.Unlock()
		return len(u.mu.queue) == 10+2
	}, 10*time.Second, time.Millisecond)
	leave()
	require.Eventually(t, func() bool {
		u.mu.Lock()
		defer u.mu.Unlock()
		return len(u.mu.queue) == 10+1
	}, 10*time.Second, time.Millisecond, "who left is not in the queue")
	cancel()
	wg.Wait()
	requireIdle(t, u)
}

// TestURingThreadEnds: the kernel cancels what a thread submitted when that ends, which here means nothing.
func TestURingThreadEnds(t *testing.T) {
	d, u, out, in := pipeDisk(t, 2)
	var wg sync.WaitGroup
	wg.Go(func() { // leads
		if got, err := tryRead(cancelable(t), out[0], 0, 4096); string(got) != "a" {
			t.Error(string(got), err)
		}
	})
	waitInFlight(t, u, 1)
	buf := d.Buffers().Get(4096)
	d.gate.state.Add(1)
	b := batches.Get().(*batch)
	b.disk, b.bytes = d, 4096
	require.NoError(t, d.inFlight.Acquire(context.Background(), 4096))
	n, err := b.fill(context.Background(), []Read{{File: out[1], Buf: buf, Len: 4096}}, false)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	b.left.Store(1)
	gone := make(chan role)
	go func() {
		runtime.LockOSThread() // and never unlock: the thread ends with the goroutine
		gone <- u.enqueue(b)
	}()
	require.Equal(t, mustWait, <-gone)
	_, err = in[1].Write([]byte("b"))
	require.NoError(t, err)
	require.NoError(t, b.wait(cancelable(t)))
	require.NoError(t, b.xs[0].err)
	require.Equal(t, "b", string(buf.Bytes()[:b.xs[0].n]))
	b.recycle()
	buf.Release()
	_, err = in[0].Write([]byte("a"))
	require.NoError(t, err)
	wg.Wait()
}

// badFS has files whose descriptor is not open.
type badFS struct{ FS }

type badFile struct{ File }

const noDescriptor = 1 << 20

func (badFile) facts() (facts, error) { return facts{}, nil }
func (badFile) descriptor() int       { return noDescriptor }

func (b badFS) OpenFile(name string, flags Flags) (File, error) {
	f, err := b.FS.OpenFile(name, flags)
	return badFile{f}, err
}

// TestURingErrors shows that what the kernel says of one read is that read's error, with the file's name.
func TestURingErrors(t *testing.T) {
	bad, _ := uringDisk(t, badFS{NewOS()}, DiskOptions{Mode: Buffered})
	name := filepath.Join(t.TempDir(), "a")
	require.NoError(t, os.WriteFile(name, make([]byte, 4096), filePerm))
	h, err := bad.Open(name)
	require.NoError(t, err)
	defer h.Close()
	_, err = tryRead(context.Background(), h, 0, 4096)
	require.ErrorIs(t, err, syscall.EBADF)
	require.ErrorContains(t, err, name)

	d, _ := uringDisk(t, NewOS(), DiskOptions{Mode: Buffered})
	good, err := d.Open(name)
	require.NoError(t, err)
	defer good.Close()
	eio, err := d.Open("/proc/self/mem") // nothing is mapped at its beginning
	require.NoError(t, err)
	defer eio.Close()
	reads := []Read{
		{File: good, Buf: d.Buffers().Get(4096), Len: 4096},
		{File: eio, Buf: d.Buffers().Get(4096), Len: 4096},
		{File: good, Buf: d.Buffers().Get(4096), Len: 512, Off: 512},
	}
	require.NoError(t, d.ReadMulti(cancelable(t), reads))
	require.NoError(t, reads[0].Err)
	require.ErrorIs(t, reads[1].Err, syscall.EIO)
	require.ErrorContains(t, reads[1].Err, "/proc/self/mem")
	require.NoError(t, reads[2].Err)
	require.Equal(t, 512, reads[2].N)
	for _, r := range reads {
		r.Buf.Release()
	}
}
