package layer

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	shares "github.com/stratapg/strata/internal/budget"
	"github.com/stratapg/strata/internal/offheap"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

// faultPool is a pool of chunks of 4 KiB with room for hardly any.
func faultPool(t *testing.T, fs virtualfile.FS, grace int64) *MemPool {
	before := goleak.IgnoreCurrent()
	inUse := offheap.InUse()
	d := memDisk(t, fs)
	share, err := shares.New(1).Share("mem", 1)
	require.NoError(t, err)
	p, err := NewMemPool(MemPoolOptions{Disk: d, Dir: "mem", Budget: share, Chunk: minMemChunk, Grace: grace})
	require.NoError(t, err)
	t.Cleanup(func() {
		s := p.Stats()
		require.Zero(t, s.Memory+s.Beyond+s.Spilled+s.Files)
		p.Close()
		require.NoError(t, d.Close())
		// Not more than before: what tests that ran earlier gave up in the meantime is no fault of this one.
		require.LessOrEqual(t, offheap.InUse(), inUse)
		goleak.VerifyNone(t, before)
	})
	return p
}

// putImages puts one batch of n images of 500 bytes and adds them to the model.
func putImages(m *Mem, want memModel, lsn page.LSN, n int) error {
	var b page.Batch
	add := memModel{}
	for i := range n {
		v := strings.Repeat(string(rune('a'+i%26)), 500)
		k := modelKey(i * 7 % 50)
		b.PutImage(k, lsn, []byte(v))
		add[memAt{k, lsn}] = v
	}
	err := m.Put(context.Background(), &b)
	if err == nil {
		for a, v := range add {
			want[a] = v
		}
	}
	return err
}

func checkImages(t *testing.T, m *Mem, want memModel) {
	t.Helper()
	keys, lsns := page.NewSet(page.FullRange), page.LSNRange{Start: 8, End: 1 << 20}
	require.Equal(t, want.expect(keys, lsns), collectImages(t, m, keys, lsns))
	require.Equal(t, want, iterateImages(t, m))
}

// Any one operation on the ephemeral file fails: values stay in memory, or go into another file.
func TestMemOutlivesAFailure(t *testing.T) {
	for _, op := range []virtualfile.Op{virtualfile.OpCreate, virtualfile.OpWrite} {
		for nth, hit := 1, true; hit; nth++ {
			f := &virtualfile.Fault{Op: op, Nth: nth, Path: func(name string) bool { return strings.Contains(name, ephemeralPrefix) }}
			p := faultPool(t, virtualfile.NewFaulty(virtualfile.NewMem(), f), 1<<20)
			m := NewMem(8, p)
			want := memModel{}
			for i := range 6 {
				require.NoError(t, putImages(m, want, page.LSN(8+8*i), 20))
			}
			checkImages(t, m, want)
			m.Freeze(1 << 20)
			checkImages(t, m, want)
			hit = f.Hits() > 0
			require.Equal(t, hit && op == virtualfile.OpWrite, p.Stats().SpillErrors > 0)
			require.Positive(t, p.Stats().Written)
			m.Release()
			require.Greater(t, 40, nth, "it never ends")
		}
	}
}

// On a full disk puts fail when the grace is used up, and store nothing; what was taken stays, and when there
// is room again the same puts go through.
func TestMemOnAFullDisk(t *testing.T) {
	fs := virtualfile.NewMem()
	const grace = 256 << 10
	p := faultPool(t, fs, grace)
	fs.SetCapacity(64 << 10)
	m := NewMem(8, p)
	defer m.Release()
	want := memModel{}
	var err error
	lsn := page.LSN(8)
	for ; err == nil; lsn += 8 {
		err = putImages(m, want, lsn, 20)
		require.Less(t, lsn, page.LSN(8000), "no end of memory")
	}
	lsn -= 8
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.ErrorContains(t, err, "cannot be written to disk")
	require.ErrorContains(t, err, filepath.Join("mem", ephemeralPrefix))
	for range 5 {
		require.Error(t, putImages(m, want, lsn, 20))
	}
	require.Len(t, want, m.Len())
	require.LessOrEqual(t, p.Stats().Beyond, int64(grace+(spillDepth+1)*minMemChunk), "failing puts take no memory")
	checkImages(t, m, want)
	fs.SetCapacity(0)
	for range 50 {
		require.NoError(t, putImages(m, want, lsn, 20))
		lsn += 8
	}
	m.Freeze(1 << 20)
	require.Less(t, m.mu.values.memory, int64((spillDepth+2)*minMemChunk), "values go to disk again")
	checkImages(t, m, want)
}

// Whatever bit flips in what is read back: the value is an error that names file and offset, or right.
func TestMemFindsFlips(t *testing.T) {
	flip := func(nth int) *virtualfile.Fault {
		return &virtualfile.Fault{Op: virtualfile.OpRead, Effect: virtualfile.Flip, Nth: nth, Bit: nth * 1237}
	}
	damaged := func(t *testing.T, err error) {
		require.ErrorIs(t, err, ErrCorrupt)
		require.ErrorContains(t, err, filepath.Join("mem", ephemeralPrefix))
		require.ErrorContains(t, err, "offset")
	}
	for nth, hit := 1, true; hit; nth++ {
		f := flip(nth)
		p := faultPool(t, virtualfile.NewFaulty(virtualfile.NewMem(), f), 1<<20)
		m := NewMem(8, p)
		want := memModel{}
		for i := range 6 {
			require.NoError(t, putImages(m, want, page.LSN(8+8*i), 20))
		}
		m.Freeze(1 << 20)
		c := NewCollector(page.NewSet(page.FullRange), 1<<20)
		require.NoError(t, m.Collect(t.Context(), c, c.Keys(), page.LSNRange{Start: 8, End: 1 << 20}))
		require.NoError(t, c.Fetch(t.Context()))
		bad := 0
		for k, found := range c.Results() {
			if found[0].Err != nil {
				damaged(t, found[0].Err)
				bad++
				continue
			}
			v, err := page.DecodeValue(found[0].Value)
			require.NoError(t, err)
			require.Equal(t, want[memAt{k, found[0].LSN}], string(v.Bytes))
		}
		c.Release()
		hit = f.Hits() > 0
		require.Equal(t, hit, bad > 0)
		m.Release()
	}
	require.Positive(t, flip(1).Bit)
	f := flip(1)
	p := faultPool(t, virtualfile.NewFaulty(virtualfile.NewMem(), f), 1<<20)
	m := NewMem(8, p)
	defer m.Release()
	require.NoError(t, putImages(m, memModel{}, 8, 50))
	m.Freeze(9)
	damaged(t, m.Iterate(t.Context(), func(page.Key, page.LSN, bool, []byte) error { return nil }))
}

// What a crash leaves behind does no harm and goes when a pool is made; foreign files stay.
func TestMemLeavesNothingBehind(t *testing.T) {
	fs := virtualfile.NewMem()
	p := faultPool(t, fs, 1<<20)
	m := NewMem(8, p)
	defer m.Release()
	require.NoError(t, putImages(m, memModel{}, 8, 50))
	m.Freeze(9)
	require.NoError(t, fs.SyncDir("mem"))
	f, err := fs.Create("mem/mem-of-somebody-else")
	require.NoError(t, err)
	require.NoError(t, f.Sync())
	require.NoError(t, f.Close())
	require.NoError(t, fs.SyncDir("mem"))
	require.NoError(t, fs.SyncDir("."))
	crashed := fs.CrashClone(1)
	names, err := crashed.List("mem")
	require.NoError(t, err)
	require.Greater(t, len(names), 1, "an ephemeral file is there after the crash")
	d := memDisk(t, crashed)
	defer d.Close()
	_, err = NewMemPool(MemPoolOptions{Disk: d, Dir: "mem"})
	require.NoError(t, err)
	names, err = crashed.List("mem")
	require.NoError(t, err)
	require.Equal(t, []string{"mem-of-somebody-else"}, names)
}

// A put that waits for the disk ends with its context, and has stored nothing.
func TestMemPutEndsWithItsContext(t *testing.T) {
	stuck, ctx := make(chan struct{}), context.Context(nil)
	ctx, cancel := context.WithCancel(t.Context())
	f := &virtualfile.Fault{Op: virtualfile.OpWrite, Effect: virtualfile.Delay, Nth: 1, Sticky: true, Before: func() {
		cancel()
		<-stuck
	}}
	m := NewMem(8, faultPool(t, virtualfile.NewFaulty(virtualfile.NewMem(), f), 1<<20))
	defer m.Release()
	var b page.Batch
	for i := range 100 {
		b.PutImage(modelKey(i), 8, make([]byte, 500))
	}
	done := make(chan error)
	go func() { done <- m.Put(ctx, &b) }()
	<-ctx.Done()
	close(stuck) // the put rolls back when what is on its way has come to an end
	// A put that is as long as this one asks for room after a write that it waits for; so it cannot be through
	// before it sees the context.
	require.ErrorIs(t, <-done, context.Canceled)
	require.Zero(t, m.Len())
	require.NoError(t, m.Put(t.Context(), &b))
	require.Equal(t, 100, m.Len())
}

// A walk ends with its function's error or its context, and leaves no goroutine.
func TestMemWalksEnd(t *testing.T) {
	p := faultPool(t, virtualfile.NewMem(), 1<<20)
	for _, pool := range []*MemPool{p, nil} {
		m := NewMem(8, pool)
		for i := range 3000 {
			memPutRaw(t, m, modelKey(i*7919%3000), page.LSN(8+i), true, make([]byte, 10))
		}
		stop := errors.New("enough")
		for _, after := range []int{0, 1, residentWindow, 2999} {
			n := 0
			require.ErrorIs(t, m.Iterate(t.Context(), func(page.Key, page.LSN, bool, []byte) error {
				if n++; n > after {
					return stop
				}
				return nil
			}), stop)
			require.Equal(t, after+1, n, "not called again")
		}
		ctx, cancel := context.WithCancel(t.Context())
		err := m.Iterate(ctx, func(page.Key, page.LSN, bool, []byte) error { cancel(); return nil })
		require.ErrorIs(t, err, context.Canceled)
		m.Release()
	}
}
