package backupcache_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stratapg/strata/internal/backupcache"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/virtualfile"
)

// model is what a cache must have: entries from the one used longest ago to the one used last.
type model struct {
	entries int
	bytes   int64
	recent  []modelEntry
	// tooLarge are those that were found to be since the cache was opened: nothing gives way for them any more.
	tooLarge map[int]bool
}

type modelEntry struct {
	n    int
	size int64
}

// fileSize is what a backup takes, with what is behind it.
func fileSize(n, length int) int64 { return int64(length) + 40 + int64(len(key(n).Kind)) + 48 }

func (m *model) used() (sum int64) {
	for _, e := range m.recent {
		sum += e.size
	}
	return sum
}

func (m *model) find(n int) int {
	return slices.IndexFunc(m.recent, func(e modelEntry) bool { return e.n == n })
}

// use has a backup asked for. It is there afterwards unless it is too large.
func (m *model) use(n, length int) {
	if at := m.find(n); at >= 0 {
		e := m.recent[at]
		m.recent = append(slices.Delete(m.recent, at, at+1), e)
		return
	}
	if m.tooLarge[n] {
		return
	}
	size := fileSize(n, length)
	// The content asks for room first, and then the trailer.
	for _, want := range []int64{int64(length), size} {
		if want > m.bytes {
			m.tooLarge[n] = true
			return
		}
		for m.used()+want > m.bytes {
			m.recent = m.recent[1:]
		}
	}
	m.recent = append(m.recent, modelEntry{n, size})
	if len(m.recent) > m.entries {
		m.recent = m.recent[1:]
	}
}

// TestModel compares what gives way, and what is there, with a model, over restarts with other limits.
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		fs := virtualfile.NewMem()
		const keys = 9
		lengths := rapid.SliceOfN(rapid.SampledFrom([]int{0, 1, 4000, 9000, 30_000}), keys, keys).Draw(rt, "lengths")
		m := model{}
		var c *backupcache.Cache
		start := func() {
			m.entries = rapid.IntRange(1, 6).Draw(rt, "entries")
			m.bytes = rapid.Int64Range(1, 60_000).Draw(rt, "bytes")
			m.tooLarge = map[int]bool{}
			var err error
			c, err = backupcache.Open(backupcache.Options{Dir: "/cache", FS: fs, Entries: m.entries, Bytes: m.bytes})
			require.NoError(rt, err)
			for len(m.recent) > m.entries || m.used() > m.bytes {
				m.recent = m.recent[1:]
			}
		}
		check := func() {
			for n := range keys {
				require.Equal(rt, m.find(n) >= 0, c.Has(key(n)), "backup %d", n)
			}
			got := c.Metrics()
			require.Equal(rt, [2]int64{int64(len(m.recent)), m.used()}, [2]int64{got.Entries, got.Bytes})
			require.LessOrEqual(rt, got.Bytes, m.bytes)
		}
		start()
		rt.Repeat(map[string]func(*rapid.T){
			"": func(*rapid.T) { check() },
			"use": func(rt *rapid.T) {
				n := rapid.IntRange(0, keys-1).Draw(rt, "n")
				m.use(n, lengths[n])
				b, err := c.Fetch(context.Background(), key(n), filling(key(n), lengths[n]))
				if m.find(n) < 0 {
					require.ErrorIs(rt, err, backupcache.ErrMiss)
					return
				}
				require.NoError(rt, err)
				got, err := take(b)
				require.NoError(rt, err)
				require.True(rt, bytes.Equal(content(key(n), lengths[n]), got))
			},
			"remove": func(rt *rapid.T) {
				n := rapid.IntRange(0, keys-1).Draw(rt, "n")
				c.Remove(func(k backupcache.Key) bool { return k == key(n) })
				m.recent = slices.DeleteFunc(m.recent, func(e modelEntry) bool { return e.n == n })
			},
			"restart": func(rt *rapid.T) {
				require.NoError(rt, c.Close())
				start()
			},
		})
		require.NoError(rt, c.Close())
	})
}

// big is too long for memory, and for the race detector in a loop.
var big = testkit.Size(20_000, 1<<20+5, 1<<20+5)

// stored adds up what a folder's files take.
func stored(t *testing.T, fs virtualfile.FS) (sum int64) {
	t.Helper()
	names, err := fs.List("/cache")
	require.NoError(t, err)
	for _, n := range names {
		if !strings.Contains(n, ".basebackup") {
			continue // the order of use
		}
		info, err := fs.Stat("/cache/" + n)
		require.NoError(t, err)
		sum += info.Size
	}
	return sum
}

// TestCrashes has the machine fail before each operation of the file system: what is there afterwards is whole.
func TestCrashes(t *testing.T) {
	r := testkit.Rand(t, 1)
	for nth := 1; ; nth++ {
		fs := virtualfile.NewMem()
		var clones []*virtualfile.MemFS
		crash := &virtualfile.Fault{Nth: nth, Effect: virtualfile.Delay, Before: func() {
			for range 4 {
				clones = append(clones, fs.CrashClone(r.Uint64()))
			}
		}}
		lengths := []int{9000, big, 0, 12_000, 9000}
		c, err := backupcache.Open(backupcache.Options{Dir: "/cache", FS: virtualfile.NewFaulty(fs, crash), Bytes: 1<<20 + 15_000})
		require.NoError(t, err)
		for n, length := range lengths {
			fetch(t, c, n, length)
		}
		require.NoError(t, c.Close())
		if crash.Hits() == 0 {
			require.Greater(t, nth, 30)
			return
		}
		for _, clone := range clones {
			c, err := backupcache.Open(backupcache.Options{Dir: "/cache", FS: clone, Bytes: 1<<20 + 15_000})
			require.NoError(t, err)
			require.Equal(t, stored(t, clone), c.Metrics().Bytes)
			require.Zero(t, c.Metrics().Damaged, "what has its name is whole")
			for n, length := range lengths {
				fetch(t, c, n, length)
			}
			require.NoError(t, c.Close())
		}
	}
}

// TestDurable shows that a backup that was made survives a crash at once.
func TestDurable(t *testing.T) {
	fs := virtualfile.NewMem()
	require.NoError(t, fs.MkdirAll("/cache"))
	require.NoError(t, fs.SyncDir("/"))
	c := open(t, backupcache.Options{Dir: "/cache", FS: fs})
	fetch(t, c, 0, 5000)
	for seed := range uint64(20) {
		again := open(t, backupcache.Options{Dir: "/cache", FS: fs.CrashClone(seed)})
		require.True(t, again.Has(key(0)))
	}
}

// TestFaults fails each operation of the file system in turn, once and for good: no request gets a wrong backup or any error
// but a miss, the limit holds, and once the disk works all is as before.
func TestFaults(t *testing.T) {
	lengths := []int{9000, big, 0, 12_000, 9000}
	for _, sticky := range []bool{false, true}[:testkit.Size(1, 2, 2)] {
		for _, effect := range []virtualfile.Effect{virtualfile.Fail, virtualfile.Short, virtualfile.Flip, virtualfile.Lose} {
			for nth := 1; ; nth++ {
				fault := &virtualfile.Fault{Effect: effect, Sticky: sticky, Err: syscall.EIO, Torn: 100, Bit: 4321}
				if effect == virtualfile.Lose {
					fault.Op = virtualfile.OpSync
				}
				fs := virtualfile.NewMem()
				var now atomic.Int64
				o := backupcache.Options{Dir: "/cache", FS: virtualfile.NewFaulty(fs, fault), Bytes: 1<<20 + 15_000, Rest: time.Minute,
					Clock: func() time.Time { return time.Unix(now.Load(), 0) }}
				c, err := backupcache.Open(o)
				require.NoError(t, err)
				fault.Arm(nth)
				for n, length := range lengths {
					b, err := c.Fetch(t.Context(), key(n), filling(key(n), length))
					if err != nil {
						require.ErrorIs(t, err, backupcache.ErrMiss)
						continue
					}
					got, err := take(b)
					if err == nil {
						require.True(t, bytes.Equal(content(key(n), length), got))
					}
					now.Add(100)
				}
				hits := fault.Hits()
				fault.Arm(0)
				now.Add(100)
				for n, length := range lengths {
					fetch(t, c, n, length)
				}
				require.Equal(t, stored(t, fs), c.Metrics().Bytes, "operation %d, sticky %t", nth, sticky)
				require.NoError(t, c.Close())
				if hits == 0 {
					break
				}
			}
		}
	}
}

// TestFullDisk shows that a full disk costs the cache its backups and nobody else anything, and that it is let alone for a while.
func TestFullDisk(t *testing.T) {
	fs := virtualfile.NewMem()
	fs.SetCapacity(100_000)
	var now atomic.Int64
	c := open(t, backupcache.Options{Dir: "/cache", FS: fs, Rest: time.Minute, Clock: func() time.Time { return time.Unix(now.Load(), 0) }})
	fetch(t, c, 0, 50_000)
	calls := 0
	ask := func(n, length int) error {
		b, err := c.Fetch(t.Context(), key(n), func(ctx context.Context, w io.Writer) (int, error) {
			calls++
			return filling(key(n), length)(ctx, w)
		})
		if err == nil {
			err = b.Close()
		}
		return err
	}
	err := ask(1, 80_000)
	require.ErrorIs(t, err, backupcache.ErrMiss)
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.ErrorIs(t, ask(2, 10), backupcache.ErrMiss)
	require.Equal(t, 1, calls)
	fetch(t, c, 0, 50_000)
	require.Equal(t, stored(t, fs), c.Metrics().Bytes)
	now.Add(61)
	require.NoError(t, ask(2, 10))
	require.Equal(t, 2, calls)
}

// TestTooLarge shows that a backup beyond the limit is tried once.
func TestTooLarge(t *testing.T) {
	c := open(t, backupcache.Options{Dir: "/cache", FS: virtualfile.NewMem(), Bytes: 100_000})
	for range 3 {
		_, err := c.Fetch(t.Context(), key(0), filling(key(0), 200_000))
		require.ErrorIs(t, err, backupcache.ErrMiss)
	}
	m := c.Metrics()
	require.Equal(t, [4]int64{1, 1, 2, 3}, [4]int64{m.Preparations, m.Failures, m.Bypassed, m.Misses})
	require.Zero(t, m.Bytes)
}

// TestFailedFill shows that what could not be made leaves nothing, and is tried again.
func TestFailedFill(t *testing.T) {
	c := open(t, backupcache.Options{Dir: "/cache", FS: virtualfile.NewMem()})
	for n := range 3 {
		_, err := c.Fetch(t.Context(), key(0), func(_ context.Context, w io.Writer) (int, error) {
			_, _ = w.Write(make([]byte, 3<<20))
			return 0, fmt.Errorf("attempt %d", n)
		})
		require.ErrorIs(t, err, backupcache.ErrMiss)
		require.ErrorContains(t, err, fmt.Sprint("attempt ", n))
		require.Zero(t, c.Metrics().Bytes)
	}
	fetch(t, c, 0, 10)
}

// TestOptions refuses what makes no sense, all at once.
func TestOptions(t *testing.T) {
	_, err := backupcache.Open(backupcache.Options{Entries: -1, Bytes: -1, Preparations: 1000, Rest: -1})
	for _, what := range []string{"folder", "entries", "bytes", "preparations", "rest"} {
		require.ErrorContains(t, err, what)
	}
}

// FuzzTrailer opens a cache with a file that ends in anything.
func FuzzTrailer(f *testing.F) {
	fs := virtualfile.NewMem()
	c, err := backupcache.Open(backupcache.Options{Dir: "/cache", FS: fs})
	require.NoError(f, err)
	require.NoError(f, c.Prepare(f.Context(), key(0), filling(key(0), 10)))
	require.NoError(f, c.Close())
	names, err := fs.List("/cache")
	require.NoError(f, err)
	for _, n := range names {
		b, err := virtualfile.ReadFile(fs, "/cache/"+n, 1<<20)
		require.NoError(f, err)
		f.Add(b)
		if len(b) > 0 {
			b = bytes.Clone(b)
			b[rand.N(len(b))] ^= 1
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		fs := virtualfile.NewMem()
		require.NoError(t, fs.MkdirAll("/cache"))
		require.NoError(t, virtualfile.WriteFileAtomic(fs, "/cache/a-b-c-1.basebackup", b))
		c, err := backupcache.Open(backupcache.Options{Dir: "/cache", FS: fs})
		require.NoError(t, err)
		defer c.Close()
		if c.Metrics().Entries == 1 {
			require.Equal(t, int64(len(b)), c.Metrics().Bytes)
		}
		if b, err := c.Open(t.Context(), key(0)); err == nil {
			got, err := take(b)
			require.NoError(t, err)
			require.True(t, bytes.Equal(content(key(0), 10), got))
		}
	})
}
