package virtualfile

import (
	"bytes"
	"context"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/stratapg/strata/internal/testkit"
)

// uringDisk makes a Disk that must have io_uring, and gives its engine.
func uringDisk(t testing.TB, fsys FS, o DiskOptions) (*Disk, *uring) {
	t.Helper()
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, before) }) // runs after the Disk's
	o.Engine = EngineURing
	d := newDisk(t, fsys, o)
	u, ok := d.engines.get().(*uring)
	if !ok {
		testkit.Skip(t, "io_uring is not available here")
	}
	u.crowd.blind = true
	t.Cleanup(func() { requireIdle(t, u) })
	return d, u
}

// requireIdle checks that the ring holds nothing when nobody waits any more.
func requireIdle(t testing.TB, u *uring) {
	require.Eventually(t, func() bool {
		u.mu.Lock()
		defer u.mu.Unlock()
		return u.mu.lead == noLeader
	}, 10*time.Second, time.Millisecond)
	u.mu.Lock()
	defer u.mu.Unlock()
	require.Zero(t, u.mu.inFlight)
	require.Len(t, u.mu.free, uringDepth)
	require.Empty(t, u.mu.queue)
	for i := range u.mu.slots {
		require.Nil(t, u.mu.slots[i].x)
	}
}

// TestURingReadsLikePread reads anything of several files in batches of any size.
func TestURingReadsLikePread(t *testing.T) {
	for _, mode := range []Mode{Buffered, Direct} {
		t.Run(mode.String(), func(t *testing.T) {
			d, _ := uringDisk(t, NewOS(), DiskOptions{Mode: mode})
			dir := t.TempDir()
			var files []*Handle
			var want [][]byte
			for i, size := range []int{4096, 512 * 77, 1 << 20} {
				h := writeFile(t, d, filepath.Join(dir, string(rune('a'+i))), i, size)
				defer h.Close()
				files, want = append(files, h), append(want, marked(i, 0, size))
			}
			ctx := cancelable(t)
			rapid.Check(t, func(t *rapid.T) {
				reads := make([]Read, rapid.IntRange(1, 40).Draw(t, "reads"))
				of := make([]int, len(reads))
				for i := range reads {
					of[i] = rapid.IntRange(0, len(files)-1).Draw(t, "file")
					blocks := len(want[of[i]]) / 512
					r := Read{File: files[of[i]], At: 512 * rapid.IntRange(0, 3).Draw(t, "at")}
					r.Off = 512 * rapid.Int64Range(0, int64(blocks)+2).Draw(t, "off")
					r.Len = 512 * rapid.IntRange(0, 40).Draw(t, "len")
					r.Buf = d.Buffers().Get(r.At + r.Len)
					reads[i] = r
				}
				require.NoError(t, d.ReadMulti(ctx, reads))
				for i, r := range reads {
					all := want[of[i]]
					exp := all[min(r.Off, int64(len(all))):min(r.Off+int64(r.Len), int64(len(all)))]
					require.NoError(t, r.Err)
					require.Equal(t, len(exp), r.N)
					require.True(t, bytes.Equal(exp, r.Buf.Bytes()[r.At:r.At+r.N]), "read %d", i)
					r.Buf.Release()
				}
			})
		})
	}
}

// TestURingConcurrent has many callers with batches of all sizes, more than the ring has places for, some of
// whom leave early, and writers beside them.
func TestURingConcurrent(t *testing.T) {
	d, u := uringDisk(t, NewOS(), DiskOptions{})
	const size = 2 << 20
	dir := t.TempDir()
	h := writeFile(t, d, filepath.Join(dir, "a"), 1, size)
	defer h.Close()
	want := marked(1, 0, size)
	var wg sync.WaitGroup
	for g := range 12 {
		rnd := testkit.Rand(t, uint64(g))
		wg.Go(func() {
			for range 60 {
				ctx, cancel := context.WithCancel(context.Background())
				readSome(ctx, t, d, h, cancel, want, rnd)
				cancel()
			}
		})
	}
	for i := range 20 {
		w := writeFile(t, d, filepath.Join(dir, string(rune('b'+i))), i, 64<<10)
		require.True(t, bytes.Equal(marked(i, 0, 64<<10), read(t, w, 0, 64<<10)))
		require.NoError(t, w.Close())
	}
	wg.Wait()
	requireIdle(t, u)
}

// readBlock is the size of readSome's reads.
const readBlock = 4096

// readSome reads one block or many, and leaves early at times.
func readSome(ctx context.Context, t *testing.T, d *Disk, h *Handle, cancel func(), want []byte, rnd *rand.Rand) {
	n := 1
	if rnd.IntN(3) == 0 {
		n = 1 + rnd.IntN(uringDepth*3/2)
	}
	leaves := rnd.IntN(5) == 0
	reads := make([]Read, n)
	for i := range reads {
		reads[i] = Read{File: h, Off: readBlock * rnd.Int64N(int64(len(want)/readBlock)), Buf: d.Buffers().Get(readBlock), Len: readBlock}
	}
	if leaves {
		go cancel()
	}
	err := d.ReadMulti(ctx, reads)
	if err != nil && !leaves {
		t.Error(err)
	}
	for _, r := range reads {
		if err == nil && (r.Err != nil || !bytes.Equal(r.Buf.Bytes()[:r.N], want[r.Off:r.Off+readBlock])) {
			t.Error("a wrong read", r.Off, r.N, r.Err)
		}
		r.Buf.Release()
	}
}

// TestURingSingleReadAllocatesNothing is about the read of a page when nobody else reads.
func TestURingSingleReadAllocatesNothing(t *testing.T) {
	_, _ = uringDisk(t, NewOS(), DiskOptions{})
	d, err := NewDisk(NewOS(), DiskOptions{Engine: EngineURing}) // validation would allocate
	require.NoError(t, err)
	defer d.Close()
	h := writeFile(t, d, filepath.Join(t.TempDir(), "a"), 1, 1<<20)
	defer h.Close()
	ctx := cancelable(t)
	reads := make([]Read, 1)
	n := testing.AllocsPerRun(300, func() {
		buf := d.Buffers().Get(8192)
		reads[0] = Read{File: h, Buf: buf, Len: 8192}
		if err := d.ReadMulti(ctx, reads); err != nil || reads[0].N != 8192 {
			t.Error(err, reads[0])
		}
		buf.Release()
	})
	if !testkit.UnderRace { // under which a sync.Pool forgets at random
		require.Zero(t, n)
	}
}
