package virtualfile

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// modelHandle is what a handle should be.
type modelHandle struct {
	h    *Handle
	seed int    // of the content
	name string // "" once the file is gone
}

// TestDescriptorsModel opens, reads, renames, removes and closes in any order, with fewer descriptors than
// handles, and holds the names and the contents against a model. What is done behind the Disk's back is told
// by a named error, and never read as something else.
func TestDescriptorsModel(t *testing.T) {
	test := func(t *testing.T, fsys FS, dir string) {
		run := 0
		rapid.Check(t, func(rt *rapid.T) {
			run++
			root := filepath.Join(dir, fmt.Sprint(run))
			require.NoError(rt, fsys.MkdirAll(root))
			m := &cacheModel{fs: fsys, root: root, limit: rapid.IntRange(1, 4).Draw(rt, "limit"), files: map[string]int{}}
			mode := rapid.SampledFrom([]Mode{Buffered, Direct, DirectRW}).Draw(rt, "mode")
			d, err := NewDisk(fsys, DiskOptions{Validate: true, MaxDescriptors: m.limit, Mode: mode, Engine: EngineStd})
			require.NoError(rt, err)
			m.d = d
			defer func() { require.NoError(rt, d.Close()) }()
			rt.Repeat(map[string]func(*rapid.T){
				"create": m.create, "open": m.open, "read": m.read, "read all": m.readAll, "rename": m.rename,
				"remove": m.remove, "close": m.close, "replace": m.replace, "": m.invariants,
			})
			for _, x := range m.handles {
				require.NoError(rt, x.h.Close())
			}
			require.Zero(rt, d.Metrics().Descriptors)
			require.Zero(rt, d.Metrics().Handles)
			require.Empty(rt, d.names.mu.handles)
			require.NoError(rt, fsys.RemoveAll(root))
		})
	}
	t.Run("os", func(t *testing.T) { test(t, NewOS(), t.TempDir()) })
	t.Run("mem", func(t *testing.T) { test(t, NewMem(), "/") })
}

type cacheModel struct {
	fs      FS
	d       *Disk
	root    string
	limit   int
	seed    int
	files   map[string]int // seeds by name
	handles []*modelHandle
}

const modelFileSize = 1024

func (m *cacheModel) anyName(rt *rapid.T, label string) string {
	return filepath.Join(m.root, rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f"}).Draw(rt, label))
}

func (m *cacheModel) anyHandle(rt *rapid.T) *modelHandle {
	if len(m.handles) == 0 {
		rt.Skip("no handle")
	}
	return rapid.SampledFrom(m.handles).Draw(rt, "handle")
}

func (m *cacheModel) create(rt *rapid.T) {
	name := m.anyName(rt, "name")
	if _, taken := m.files[name]; taken {
		_, err := m.d.Create(name)
		require.ErrorIs(rt, err, fs.ErrExist)
		return
	}
	m.seed++
	h, err := m.d.Create(name)
	require.NoError(rt, err)
	b := m.d.Buffers().Get(modelFileSize)
	defer b.Release()
	copy(b.Bytes(), marked(m.seed, 0, modelFileSize))
	require.NoError(rt, h.WriteAt(b, 0, modelFileSize, 0))
	m.files[name] = m.seed
	m.handles = append(m.handles, &modelHandle{h, m.seed, name})
}

func (m *cacheModel) open(rt *rapid.T) {
	name := m.anyName(rt, "name")
	h, err := m.d.Open(name)
	seed, there := m.files[name]
	if !there {
		require.ErrorIs(rt, err, fs.ErrNotExist)
		return
	}
	require.NoError(rt, err)
	m.handles = append(m.handles, &modelHandle{h, seed, name})
}

// judge says what a read of a handle may have given.
func (m *cacheModel) judge(rt *rapid.T, x *modelHandle, b []byte, err error) {
	if x.name == "" && err != nil {
		require.ErrorIs(rt, err, ErrGone)
		require.ErrorContains(rt, err, x.h.Name())
		return
	}
	require.NoError(rt, err)
	require.Equal(rt, marked(x.seed, 0, modelFileSize), b)
}

func (m *cacheModel) read(rt *rapid.T) {
	x := m.anyHandle(rt)
	b, err := tryRead(context.Background(), x.h, 0, modelFileSize)
	m.judge(rt, x, b, err)
}

// readAll reads through all handles in one batch, which takes more descriptors than there are.
func (m *cacheModel) readAll(rt *rapid.T) {
	var reads []Read
	for _, x := range m.handles {
		reads = append(reads, Read{File: x.h, Buf: m.d.Buffers().Get(modelFileSize), Len: modelFileSize})
	}
	require.NoError(rt, m.d.ReadMulti(context.Background(), reads))
	for i, r := range reads {
		m.judge(rt, m.handles[i], r.Buf.Bytes()[:r.N], r.Err)
		r.Buf.Release()
	}
}

// forget notes that the file of a name is no more.
func (m *cacheModel) forget(name string) {
	delete(m.files, name)
	for _, x := range m.handles {
		if x.name == name {
			x.name = ""
		}
	}
}

func (m *cacheModel) rename(rt *rapid.T) {
	from, to := m.anyName(rt, "from"), m.anyName(rt, "to")
	if from == to {
		rt.Skip("no rename")
	}
	rename := m.d.Rename
	fresh := rapid.Bool().Draw(rt, "fresh")
	if fresh {
		rename = m.d.RenameNew
	}
	err := rename(from, to)
	seed, there := m.files[from]
	_, taken := m.files[to]
	switch {
	case !there:
		require.ErrorIs(rt, err, fs.ErrNotExist)
	case taken && fresh:
		require.ErrorIs(rt, err, fs.ErrExist)
	default:
		require.NoError(rt, err)
		m.forget(to)
		delete(m.files, from)
		m.files[to] = seed
		for _, x := range m.handles {
			if x.name == from {
				x.name = to
			}
		}
	}
}

func (m *cacheModel) remove(rt *rapid.T) {
	name := m.anyName(rt, "name")
	err := m.d.Remove(name)
	if _, there := m.files[name]; !there {
		require.ErrorIs(rt, err, fs.ErrNotExist)
		return
	}
	require.NoError(rt, err)
	m.forget(name)
}

// replace swaps a file for another of the same size behind the Disk's back.
func (m *cacheModel) replace(rt *rapid.T) {
	name := m.anyName(rt, "name")
	if _, there := m.files[name]; !there {
		rt.Skip("no file")
	}
	m.seed++
	temp := filepath.Join(m.root, "other")
	f, err := m.fs.Create(temp)
	require.NoError(rt, err)
	_, err = f.Write(marked(m.seed, 0, modelFileSize))
	require.NoError(rt, err)
	require.NoError(rt, f.Close())
	require.NoError(rt, m.fs.Rename(temp, name))
	m.forget(name)
	m.files[name] = m.seed
}

func (m *cacheModel) close(rt *rapid.T) {
	x := m.anyHandle(rt)
	require.NoError(rt, x.h.Close())
	m.handles = slices.DeleteFunc(m.handles, func(y *modelHandle) bool { return x == y })
}

func (m *cacheModel) invariants(rt *rapid.T) {
	s := m.d.Metrics()
	require.LessOrEqual(rt, s.Descriptors, int64(m.limit))
	require.EqualValues(rt, len(m.handles), s.Handles)
	require.LessOrEqual(rt, openDescriptors(m.root), m.limit)
	for _, x := range m.handles {
		if x.name != "" {
			require.Equal(rt, x.name, x.h.Name())
		}
	}
}

// TestDescriptorsConcurrently does the same from many goroutines: each has files of its own, which it renames,
// and all read those of all, one by one and in batches, while there are four descriptors.
func TestDescriptorsConcurrently(t *testing.T) {
	const workers, limit, rounds = 8, 4, 40
	eachDisk(t, DiskOptions{MaxDescriptors: limit}, func(t *testing.T, d *Disk, dir string) {
		shared := make([]*Handle, workers)
		for i := range shared {
			shared[i] = writeFile(t, d, filepath.Join(dir, fmt.Sprint("w", i)), i, 4096)
		}
		var wg sync.WaitGroup
		for w := range workers {
			rnd := rand.New(rand.NewPCG(uint64(w), 1))
			wg.Go(func() {
				for i := range rounds {
					if err := concurrentRound(d, dir, shared, w, i, rnd); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		require.LessOrEqual(t, d.Metrics().Descriptors, int64(limit))
		require.LessOrEqual(t, openDescriptors(dir), limit)
		for _, h := range shared {
			require.NoError(t, h.Close())
		}
		require.Zero(t, d.Metrics().Descriptors)
		require.Zero(t, openDescriptors(dir))
	})
}

func concurrentRound(d *Disk, dir string, shared []*Handle, w, round int, rnd *rand.Rand) error {
	switch rnd.IntN(4) {
	case 0: // rename what others are reading
		return d.Rename(shared[w].Name(), filepath.Join(dir, fmt.Sprint("w", w, "round", round)))
	case 1: // a file that is removed while it is open
		name := filepath.Join(dir, fmt.Sprint("own", w))
		h, err := d.Create(name)
		if err != nil {
			return err
		}
		defer h.Close()
		if err := h.Truncate(4096); err != nil {
			return err
		}
		if err := d.Remove(name); err != nil {
			return err
		}
		if _, err := tryRead(context.Background(), h, 0, 4096); err != nil && !errors.Is(err, ErrGone) {
			return err
		}
		return nil
	case 2: // one file, by a name that may be changing
		i := rnd.IntN(len(shared))
		b, err := tryRead(context.Background(), shared[i], 0, 4096)
		if err == nil && !slices.Equal(b, marked(i, 0, 4096)) {
			err = fmt.Errorf("file %d has other bytes", i)
		}
		return err
	}
	reads := make([]Read, len(shared)) // all files at once
	for i := range reads {
		reads[i] = Read{File: shared[i], Buf: d.Buffers().Get(4096), Len: 4096}
		defer reads[i].Buf.Release()
	}
	if err := d.ReadMulti(context.Background(), reads); err != nil {
		return err
	}
	for i, r := range reads {
		if r.Err != nil || !slices.Equal(r.Buf.Bytes(), marked(i, 0, 4096)) {
			return fmt.Errorf("file %d of a batch: other bytes, or %w", i, r.Err)
		}
	}
	return nil
}

// TestThousandsOfHandles is a store with many layers under a small limit.
func TestThousandsOfHandles(t *testing.T) {
	const handles, files, limit = 3000, 100, 64
	dir := t.TempDir()
	d := newDisk(t, NewOS(), DiskOptions{MaxDescriptors: limit})
	for i := range files {
		require.NoError(t, writeFile(t, d, filepath.Join(dir, fmt.Sprint(i)), i, 4096).Close())
	}
	hs := make([]*Handle, handles)
	for i := range hs {
		h, err := d.Open(filepath.Join(dir, fmt.Sprint(i%files)))
		require.NoError(t, err)
		hs[i] = h
	}
	var wg sync.WaitGroup
	for w := range 8 {
		rnd := rand.New(rand.NewPCG(uint64(w), 3))
		wg.Go(func() {
			for range handles / 8 {
				i := rnd.IntN(handles)
				b, err := tryRead(context.Background(), hs[i], 0, 4096)
				if err != nil || !slices.Equal(b, marked(i%files, 0, 4096)) {
					t.Errorf("handle %d: %v", i, err)
				}
			}
		})
	}
	wg.Wait()
	require.LessOrEqual(t, openDescriptors(dir), limit)
	require.Greater(t, d.Metrics().Reopens, int64(handles/2))
	for _, h := range hs {
		require.NoError(t, h.Close())
	}
	require.Zero(t, openDescriptors(dir))
}

// TestWaitForDescriptor shows that who finds all descriptors in use waits, in order, and no longer than its
// context lasts.
func TestWaitForDescriptor(t *testing.T) {
	slow := &slowFS{FS: NewMem(), begun: make(chan struct{}), goOn: make(chan struct{})}
	d := newDisk(t, slow, DiskOptions{MaxDescriptors: 1, Engine: EngineStd})
	a, b := writeFile(t, d, "a", 1, 4096), writeFile(t, d, "b", 2, 4096)
	var wg sync.WaitGroup
	first := cancelable(t)
	wg.Go(func() {
		if _, err := tryRead(first, a, 0, 4096); err != nil {
			t.Error(err)
		}
	})
	<-slow.begun
	ctx, cancel := context.WithCancel(context.Background())
	gaveUp := make(chan error)
	go func() {
		_, err := tryRead(ctx, b, 0, 4096)
		gaveUp <- err
	}()
	waiting := func(n int) {
		for {
			d.cache.mu.Lock()
			queued := d.cache.mu.queue.Len()
			d.cache.mu.Unlock()
			if queued == n {
				return
			}
		}
	}
	waiting(1)
	for range 3 {
		wg.Go(func() {
			got, err := tryRead(context.Background(), b, 0, 4096)
			if err != nil || !slices.Equal(got, marked(2, 0, 4096)) {
				t.Error("the patient one:", err)
			}
		})
	}
	cancel()
	err := <-gaveUp
	require.ErrorIs(t, err, context.Canceled)
	waiting(1) // the three want the same file: one of them looks for a descriptor, two wait for it
	require.Positive(t, d.Metrics().DescriptorWaits)
	slow.goOn <- struct{}{}
	for range 3 {
		<-slow.begun
		slow.goOn <- struct{}{}
	}
	wg.Wait()
	require.NoError(t, a.Close())
	require.NoError(t, b.Close())
}

// TestReopenNoticesTheSwap goes through what can happen to a file whose descriptor was closed.
func TestReopenNoticesTheSwap(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, fsys FS, file string){
		"removed":   func(t *testing.T, fsys FS, file string) { require.NoError(t, fsys.Remove(file)) },
		"cut":       func(t *testing.T, fsys FS, file string) { resize(t, fsys, file, 100) },
		"longer":    func(t *testing.T, fsys FS, file string) { resize(t, fsys, file, 10_000) },
		"exchanged": func(t *testing.T, fsys FS, file string) { exchange(t, fsys, file) },
	} {
		t.Run(name, func(t *testing.T) {
			eachFS(t, func(t *testing.T, fsys FS, dir string) {
				d := newDisk(t, fsys, DiskOptions{MaxDescriptors: 1})
				file, other := filepath.Join(dir, "a"), filepath.Join(dir, "b")
				require.NoError(t, writeFile(t, d, file, 1, 4096).Close())
				h, err := d.Open(file)
				require.NoError(t, err)
				o := writeFile(t, d, other, 2, 4096) // takes the descriptor
				change(t, fsys, file)
				_, err = tryRead(context.Background(), h, 0, 4096)
				require.ErrorIs(t, err, ErrGone)
				require.ErrorContains(t, err, file)
				require.Len(t, read(t, o, 0, 4096), 4096, "others go on")
				require.NoError(t, h.Close())
				require.NoError(t, o.Close())
			})
		})
	}
}

func resize(t *testing.T, fsys FS, file string, size int64) {
	f, err := fsys.OpenAppend(file)
	require.NoError(t, err)
	require.NoError(t, f.Truncate(size))
	require.NoError(t, f.Close())
}

// exchange puts another file of the same size in a file's place, as soon as it is gone: its number is free.
func exchange(t *testing.T, fsys FS, file string) {
	require.NoError(t, fsys.Remove(file))
	f, err := fsys.Create(file)
	require.NoError(t, err)
	require.NoError(t, f.Truncate(4096))
	require.NoError(t, f.Close())
}

// TestEvictionSyncsWhatThePageCacheHolds shows that a failure to write is not lost with the descriptor that
// would have been told of it.
func TestEvictionSyncsWhatThePageCacheHolds(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		mode   Mode
		failed bool
	}{{Buffered, true}, {DirectRW, false}} {
		sync := &Fault{Op: OpSync, Nth: 1, Path: func(name string) bool { return filepath.Base(name) == "a" }}
		d := newDisk(t, NewFaulty(NewOS(), sync), DiskOptions{MaxDescriptors: 1, Mode: c.mode})
		a, err := d.Create(filepath.Join(dir, "a"))
		require.NoError(t, err)
		b := d.Buffers().Get(4096)
		require.NoError(t, a.WriteAt(b, 0, 4096, 0))
		b.Release()
		other, err := d.Create(filepath.Join(dir, "b"))
		require.NoError(t, err)
		if c.failed {
			require.Equal(t, 1, sync.Hits())
			require.ErrorIs(t, a.Sync(), ErrBroken)
			require.ErrorIs(t, a.Sync(), ErrInjected)
			require.ErrorIs(t, d.Rename(a.Name(), a.Name()+"x"), ErrBroken)
		} else {
			require.Zero(t, sync.Seen(), "written past the page cache: there is nothing to lose")
		}
		for _, h := range []*Handle{a, other} {
			require.NoError(t, h.Close())
			require.NoError(t, d.Remove(h.Name()))
		}
	}
}

// TestRenameFolder shows that handles follow their folder, and that one can be created under the old name.
func TestRenameFolder(t *testing.T) {
	eachFS(t, func(t *testing.T, fsys FS, dir string) {
		d := newDisk(t, fsys, DiskOptions{MaxDescriptors: 1})
		from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
		require.NoError(t, fsys.MkdirAll(from))
		a, b := writeFile(t, d, filepath.Join(from, "a"), 1, 4096), writeFile(t, d, filepath.Join(from, "b"), 2, 4096)
		require.NoError(t, d.Rename(from, to))
		require.NoError(t, fsys.MkdirAll(from))
		c := writeFile(t, d, filepath.Join(from, "a"), 3, 4096)
		for i, h := range []*Handle{a, b, c} {
			require.Equal(t, marked(i+1, 0, 4096), read(t, h, 0, 4096))
		}
		require.Equal(t, filepath.Join(to, "b"), b.Name())
		for _, h := range []*Handle{a, b, c} {
			require.NoError(t, h.Close())
		}
	})
}

// fewFS has so many descriptors and no more.
type fewFS struct {
	FS
	left atomic.Int32
}

type fewFile struct {
	File
	fs *fewFS
}

func (f *fewFS) OpenFile(name string, flags Flags) (File, error) {
	if f.left.Add(-1) < 0 {
		f.left.Add(1)
		return nil, pathError("open", name, syscall.EMFILE)
	}
	file, err := f.FS.OpenFile(name, flags)
	return &fewFile{file, f}, err
}

func (f *fewFile) Close() error {
	f.fs.left.Add(1)
	return f.File.Close()
}

// TestProcessIsOutOfDescriptors shows that a limit larger than what the process has left is no error as long
// as one of the Disk's own can be closed.
func TestProcessIsOutOfDescriptors(t *testing.T) {
	few := &fewFS{FS: NewMem()}
	few.left.Store(2)
	d := newDisk(t, few, DiskOptions{MaxDescriptors: 100})
	var hs []*Handle
	for i := range 5 {
		hs = append(hs, writeFile(t, d, fmt.Sprint(i), i, 4096))
	}
	for i, h := range hs {
		require.Equal(t, marked(i, 0, 4096), read(t, h, 0, 4096))
	}
	require.EqualValues(t, 2, d.Metrics().Descriptors)
	for _, h := range hs {
		require.NoError(t, h.Close())
	}
	few.left.Store(0)
	_, err := d.Open("0")
	require.ErrorIs(t, err, syscall.EMFILE)
	require.Zero(t, d.Metrics().Descriptors)
	few.left.Store(2)
}

// TestGate lets many in and out while it closes: nobody is inside afterwards.
func TestGate(t *testing.T) {
	for range 50 {
		var g gate
		var inside atomic.Int32
		g.init()
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for g.enter() {
					inside.Add(1)
					inside.Add(-1)
					g.leave()
				}
			})
		}
		firsts := atomic.Int32{}
		for range 2 {
			wg.Go(func() {
				if g.close() {
					firsts.Add(1)
					if inside.Load() != 0 {
						t.Error("somebody is inside a closed gate")
					}
				}
			})
		}
		wg.Wait()
		require.EqualValues(t, 1, firsts.Load())
	}
}
