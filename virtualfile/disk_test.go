package virtualfile

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/stratapg/strata/internal/testkit"
)

// newDisk makes a Disk that validates, and is closed, and looked at for what was left, at the test's end.
func newDisk(t testing.TB, fsys FS, o DiskOptions) *Disk {
	t.Helper()
	o.Validate = true
	d, err := NewDisk(fsys, o)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, d.Close())
		m := d.Metrics()
		require.Zero(t, m.Descriptors, "descriptors")
		require.Zero(t, m.InFlight, "bytes in flight")
		require.Zero(t, m.BuffersIdle, "idle buffers")
	})
	return d
}

// eachDisk runs a test in every mode on every file system, in a folder of its own.
func eachDisk(t *testing.T, o DiskOptions, test func(t *testing.T, d *Disk, dir string)) {
	for _, mode := range []Mode{Buffered, Direct, DirectRW} {
		for _, engine := range []EngineKind{EngineStd, EngineDefault} {
			o.Mode, o.Engine = mode, engine
			name := mode.String()
			if engine == EngineDefault {
				name += " default engine"
			}
			t.Run(name, func(t *testing.T) {
				eachFS(t, func(t *testing.T, fsys FS, dir string) {
					before := goleak.IgnoreCurrent()
					t.Cleanup(func() { goleak.VerifyNone(t, before) }) // runs after the Disk's
					test(t, newDisk(t, fsys, o), dir)
				})
			})
		}
	}
}

// marked gives bytes that tell where in which file they lie.
func marked(seed, off, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		at := off + i
		b[i] = byte(seed*31 + at + at>>8*7 + at>>16*13)
	}
	return b
}

// writeFile makes a file of n bytes of a pattern, and keeps it open.
func writeFile(t testing.TB, d *Disk, name string, seed, n int) *Handle {
	t.Helper()
	h, err := d.Create(name)
	require.NoError(t, err)
	size := (n + h.Align() - 1) / h.Align() * h.Align()
	b := d.Buffers().Get(size)
	copy(b.Bytes(), marked(seed, 0, size))
	require.NoError(t, h.WriteAt(b, 0, size, 0))
	b.Release()
	require.NoError(t, h.Truncate(int64(n)))
	require.NoError(t, h.Sync())
	return h
}

// read reads one stretch, and gives a copy.
func read(t testing.TB, h *Handle, off int64, n int) []byte {
	t.Helper()
	b, err := tryRead(context.Background(), h, off, n)
	require.NoError(t, err)
	return b
}

func tryRead(ctx context.Context, h *Handle, off int64, n int) ([]byte, error) {
	buf := h.Disk().Buffers().Get(n)
	defer buf.Release()
	r := []Read{{File: h, Off: off, Buf: buf, Len: n}}
	if err := h.Disk().ReadMulti(ctx, r); err != nil {
		return nil, err
	}
	if r[0].Err != nil {
		return nil, r[0].Err
	}
	return bytes.Clone(buf.Bytes()[:r[0].N]), nil
}

func TestDiskReadsWhatWasWritten(t *testing.T) {
	eachDisk(t, DiskOptions{}, func(t *testing.T, d *Disk, dir string) {
		const size = 100_003
		name := filepath.Join(dir, "a")
		w := writeFile(t, d, name, 1, size)
		require.Equal(t, name, w.Name())
		h, err := d.Open(name)
		require.NoError(t, err)
		n, err := h.Size()
		require.NoError(t, err)
		require.EqualValues(t, size, n)
		all := marked(1, 0, size)
		align := h.Align()
		require.GreaterOrEqual(t, align, 512)

		require.Equal(t, all[:align], read(t, h, 0, align))
		last := size / align * align
		require.Equal(t, all[last:], read(t, h, int64(last), align), "the file's end")
		require.Equal(t, all[last-align:], read(t, h, int64(last-align), 8*align), "across the end")
		require.Empty(t, read(t, h, int64(last+align), align), "past the end")
		require.Empty(t, read(t, h, 1<<40, align), "far past the end")
		require.Empty(t, read(t, h, 0, 0))
		require.Equal(t, all, read(t, w, 0, (size+align-1)/align*align), "through the writer's handle")

		require.NoError(t, w.Close())
		require.NoError(t, h.Close())
		require.ErrorIs(t, h.Close(), fs.ErrClosed)
		_, err = tryRead(context.Background(), h, 0, align)
		require.ErrorIs(t, err, fs.ErrClosed)
		require.ErrorContains(t, err, name)
	})
}

// TestDiskReadsBatches shows that every read of a batch gets its own bytes, however many there are.
func TestDiskReadsBatches(t *testing.T) {
	eachDisk(t, DiskOptions{MaxInFlight: 100_000, MaxDescriptors: 3}, func(t *testing.T, d *Disk, dir string) {
		const files, size = 8, 64 << 10
		hs := make([]*Handle, files)
		for i := range hs {
			hs[i] = writeFile(t, d, filepath.Join(dir, string(rune('a'+i))), i, size)
		}
		rnd := rand.New(rand.NewPCG(1, 2))
		for _, ctx := range []context.Context{context.Background(), cancelable(t)} {
			reads := make([]Read, 150)
			for i := range reads {
				f := rnd.IntN(files)
				a := hs[f].Align()
				n := (1 + rnd.IntN(20)) * a
				reads[i] = Read{File: hs[f], Off: int64(rnd.IntN(size/a) * a), Buf: d.Buffers().Get(n + a), At: a, Len: n}
			}
			require.NoError(t, d.ReadMulti(ctx, reads))
			for _, r := range reads {
				require.NoError(t, r.Err)
				f := int(filepath.Base(r.File.Name())[0] - 'a')
				want := marked(f, int(r.Off), min(r.Len, size-int(r.Off)))
				require.Equal(t, len(want), r.N)
				require.Equal(t, want, r.Buf.Bytes()[r.At:r.At+r.N])
				r.Buf.Release()
			}
		}
		require.LessOrEqual(t, d.Metrics().Descriptors, int64(3))
		for _, h := range hs {
			require.NoError(t, h.Close())
		}
	})
}

func cancelable(t interface{ Cleanup(func()) }) context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	return ctx
}

// TestValidation shows that in every mode and on every file system what is misaligned is refused, by an
// error that says what it was.
func TestValidation(t *testing.T) {
	eachDisk(t, DiskOptions{}, func(t *testing.T, d *Disk, dir string) {
		h := writeFile(t, d, filepath.Join(dir, "a"), 1, 8192)
		defer h.Close()
		buf := d.Buffers().Get(8192)
		defer buf.Release()
		a := h.Align()
		for name, r := range map[string]Read{
			"offset":  {Off: int64(a) + 1, Len: a},
			"size":    {Len: a - 1},
			"address": {At: 8, Len: a},
		} {
			r.File, r.Buf = h, buf
			reads := []Read{r, {File: h, Buf: buf, Len: a}}
			require.NoError(t, d.ReadMulti(context.Background(), reads), name)
			require.NoError(t, reads[1].Err, "its neighbour is read all the same")
			require.Equal(t, a, reads[1].N)
			require.ErrorIs(t, reads[0].Err, ErrMisaligned, name)
			for _, part := range []string{h.Name(), "offset", "size", "address 0x", "multiples"} {
				require.ErrorContains(t, reads[0].Err, part)
			}
			require.ErrorIs(t, h.WriteAt(buf, r.At, r.Len, r.Off), ErrMisaligned, name)
		}
		other := newDisk(t, NewMem(), DiskOptions{})
		for name, r := range map[string]Read{
			"no file":       {Buf: buf, Len: a},
			"no buffer":     {File: h, Len: a},
			"beyond buffer": {File: h, Buf: buf, At: 4096, Len: 8192},
			"negative":      {File: h, Buf: buf, Len: -a},
			"before":        {File: h, Buf: buf, Len: a, Off: int64(-a)},
			"at":            {File: h, Buf: buf, At: -a, Len: a},
			"overflow":      {File: h, Buf: buf, At: 1 << 62, Len: 1 << 62},
		} {
			reads := []Read{r}
			require.NoError(t, d.ReadMulti(context.Background(), reads))
			require.ErrorIs(t, reads[0].Err, fs.ErrInvalid, name)
		}
		reads := []Read{{File: h, Buf: buf, Len: a}}
		require.NoError(t, other.ReadMulti(context.Background(), reads))
		require.ErrorIs(t, reads[0].Err, fs.ErrInvalid, "of another Disk")
		require.NoError(t, h.broken.failed(), "a refused write is no failed write")
	})
}

func TestDiskOptionsAreChecked(t *testing.T) {
	_, err := NewDisk(NewMem(), DiskOptions{Mode: 9, Engine: 9, Align: 100, MaxDescriptors: -1, MaxInFlight: -1,
		MaxIdleBuffers: -1})
	for _, field := range []string{"Align is 100", "MaxDescriptors", "MaxInFlight", "MaxIdleBuffers", "Engine", "mode 9"} {
		require.ErrorContains(t, err, field)
	}
}

// TestSetMode shows that files keep the mode they were opened in.
func TestSetMode(t *testing.T) {
	d := newDisk(t, NewOS(), DiskOptions{Mode: Buffered, MaxDescriptors: 1})
	dir := t.TempDir()
	a := writeFile(t, d, filepath.Join(dir, "a"), 1, 4096)
	require.NoError(t, d.SetMode(DirectRW))
	b := writeFile(t, d, filepath.Join(dir, "b"), 2, 4096)
	require.NoError(t, d.SetMode(Direct))
	c := writeFile(t, d, filepath.Join(dir, "c"), 2, 4096)
	e, err := d.Open(filepath.Join(dir, "c"))
	require.NoError(t, err)
	require.Error(t, d.SetMode(17))
	for range 2 { // the second time through new descriptors
		require.Equal(t, []bool{false, true, false, true}, []bool{a.Direct(), b.Direct(), c.Direct(), e.Direct()})
		for _, h := range []*Handle{a, b, c, e} {
			require.Len(t, read(t, h, 0, 4096), 4096)
		}
	}
	require.Positive(t, d.Metrics().Reopens)
	for _, h := range []*Handle{a, b, c, e} {
		require.NoError(t, h.Close())
	}
}

// noDirectFS refuses direct I/O as tmpfs did: with EINVAL, after the file was made.
type noDirectFS struct {
	FS
	leavesNone bool // or leaves none
}

func (n noDirectFS) OpenFile(name string, flags Flags) (File, error) {
	f, err := n.FS.OpenFile(name, flags&^FlagDirect)
	if err != nil || flags&FlagDirect == 0 {
		return f, err
	}
	err = errors.Join(pathError("open", name, syscall.EINVAL), f.Close())
	if n.leavesNone && flags&FlagCreate != 0 {
		err = errors.Join(err, n.FS.Remove(name))
	}
	return nil, err
}

func TestDirectRefused(t *testing.T) {
	for _, fsys := range []FS{noDirectFS{FS: NewOS()}, noDirectFS{NewOS(), true}} {
		d := newDisk(t, fsys, DiskOptions{Mode: DirectRW})
		name := filepath.Join(t.TempDir(), "a")
		h := writeFile(t, d, name, 1, 5000)
		require.False(t, h.Direct())
		require.Equal(t, marked(1, 0, 5000), read(t, h, 0, 5120))
		_, err := d.Create(name)
		require.ErrorIs(t, err, fs.ErrExist, "made by somebody else")
		r, err := d.Open(name)
		require.NoError(t, err)
		require.EqualValues(t, 2, d.Metrics().DirectRefused)
		require.NoError(t, h.Close())
		require.NoError(t, r.Close())
	}
}

// slowFS lets reads wait until the test says so.
type slowFS struct {
	FS
	begun chan struct{}
	goOn  chan struct{}
}

type slowFile struct {
	File
	fs *slowFS
}

func (s *slowFS) OpenFile(name string, flags Flags) (File, error) {
	f, err := s.FS.OpenFile(name, flags)
	return &slowFile{f, s}, err
}

func (f *slowFile) ReadAt(p []byte, off int64) (int, error) {
	f.fs.begun <- struct{}{}
	<-f.fs.goOn
	return f.File.ReadAt(p, off)
}

// TestCancelledReadKeepsItsBuffer shows that a read whose context ends is not waited for, that the memory it
// goes to is nobody else's until it ends, and that the Disk waits for it.
func TestCancelledReadKeepsItsBuffer(t *testing.T) {
	slow := &slowFS{FS: NewMem(), begun: make(chan struct{}), goOn: make(chan struct{})}
	d, err := NewDisk(slow, DiskOptions{Validate: true, MaxDescriptors: 1, MaxInFlight: 4096, Engine: EngineStd})
	require.NoError(t, err)
	h := writeFile(t, d, "a", 1, 4096)
	ctx, cancel := context.WithCancel(context.Background())
	buf := d.Buffers().Get(4096)
	var readErr error
	var wg sync.WaitGroup
	wg.Go(func() { readErr = d.ReadMulti(ctx, []Read{{File: h, Buf: buf, Len: 4096}}) })
	<-slow.begun
	cancel()
	wg.Wait()
	require.ErrorIs(t, readErr, context.Canceled)
	buf.Release()
	m := d.Metrics()
	require.EqualValues(t, 1, m.Abandoned)
	require.EqualValues(t, 4096, m.BuffersInUse, "the read still owns it")
	require.EqualValues(t, 4096, m.InFlight)

	// Who comes now waits for the bytes in flight, but not for ever.
	waiting, stop := context.WithCancel(context.Background())
	stop()
	_, err = tryRead(waiting, h, 0, 4096)
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, h.Close(), "does not wait; the descriptor is the read's")
	require.EqualValues(t, 1, d.Metrics().Descriptors)
	closed := make(chan error)
	go func() { closed <- d.Close() }()
	slow.goOn <- struct{}{}
	require.NoError(t, <-closed, "waits for the read, after which no buffer is missing")
	require.Zero(t, d.Metrics().BuffersInUse)
	require.Zero(t, d.Metrics().Descriptors)
	require.NoError(t, d.Close(), "twice")
	_, err = d.Open("a")
	require.ErrorIs(t, err, fs.ErrClosed)
	require.ErrorIs(t, d.ReadMulti(context.Background(), make([]Read, 1)), fs.ErrClosed)
}

// TestCloseNamesLostBuffers is how tests find them.
func TestCloseNamesLostBuffers(t *testing.T) {
	d, err := NewDisk(NewMem(), DiskOptions{Validate: true})
	require.NoError(t, err)
	b := d.Buffers().Get(5000)
	require.ErrorContains(t, d.Close(), "8192 bytes of buffers were never released")
	copy(b.Bytes(), "still valid")
	b.Release()
	require.Zero(t, d.Metrics().BuffersIdle, "nothing is kept after Close")
}

// TestSingleReadAllocatesNothing is about the read of a page by a caller that cannot be cancelled.
func TestSingleReadAllocatesNothing(t *testing.T) {
	d, err := NewDisk(NewOS(), DiskOptions{Engine: EngineStd})
	require.NoError(t, err)
	defer d.Close()
	h := writeFile(t, d, filepath.Join(t.TempDir(), "a"), 1, 1<<20)
	defer h.Close()
	reads := make([]Read, 1)
	n := testing.AllocsPerRun(100, func() {
		buf := d.Buffers().Get(8192)
		reads[0] = Read{File: h, Buf: buf, Len: 8192}
		if err := d.ReadMulti(context.Background(), reads); err != nil || reads[0].N != 8192 {
			t.Error(err, reads[0])
		}
		buf.Release()
	})
	if !testkit.UnderRace { // under which a sync.Pool forgets at random
		require.Zero(t, n)
	}
}

// openDescriptors counts what this process has open below a folder.
func openDescriptors(dir string) (n int) {
	links, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	for _, l := range links {
		if to, err := os.Readlink(filepath.Join("/proc/self/fd", l.Name())); err == nil {
			if _, ok := within(to, dir); ok {
				n++
			}
		}
	}
	return n
}

// TestEngineChangesUnderReads: what is read while the engine changes is right, and all engines that were used are closed.
func TestEngineChangesUnderReads(t *testing.T) {
	d, err := NewDisk(NewOS(), DiskOptions{Engine: EngineStd})
	require.NoError(t, err)
	name := filepath.Join(t.TempDir(), "file")
	want := make([]byte, 64<<10)
	for i := range want {
		want[i] = byte(i >> 9)
	}
	require.NoError(t, os.WriteFile(name, want, 0o600))
	h, err := d.Open(name)
	require.NoError(t, err)
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for n := range 4 {
		readers.Go(func() {
			buf := d.Buffers().Get(512)
			defer buf.Release()
			for i := n; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				off := int64(i%128) * 512
				r := []Read{{File: h, Off: off, Buf: buf, Len: 512}}
				if err := d.ReadMulti(context.Background(), r); err != nil || r[0].Err != nil || !bytes.Equal(want[off:off+512], buf.Bytes()[:512]) {
					t.Errorf("at %d: %v, %v", off, err, r[0].Err)
					return
				}
			}
		})
	}
	for i := range 20 {
		k := EngineStd + EngineKind(i%2)
		if err := d.SetEngine(k); err != nil {
			require.Equal(t, EngineURing, k, "%v", err)
			continue
		}
		before := d.Metrics().Reads
		require.Equal(t, k, d.Metrics().Engine)
		for d.Metrics().Reads < before+20 && !t.Failed() {
			runtime.Gosched()
		}
	}
	close(stop)
	readers.Wait()
	require.LessOrEqual(t, len(d.engines.made), 2, "engines are taken again")
	require.Error(t, d.SetEngine(EngineDefault))
	require.NoError(t, h.Close())
	require.NoError(t, d.Close())
	require.ErrorIs(t, d.SetEngine(EngineStd), ErrClosed)
}
