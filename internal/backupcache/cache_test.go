package backupcache_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/stratapg/strata/internal/backupcache"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// key makes the n-th key. Every third is of one timeline at one LSN, and differs in its kind alone.
func key(n int) backupcache.Key {
	k := backupcache.Key{LSN: page.LSN(0x1000 + 8*(n/3)), Kind: fmt.Sprint("kind ", n%3)}
	k.Tenant[0], k.Timeline[0] = 1, byte(n/3)
	return k
}

// content is what belongs to a key: noise of a length.
func content(k backupcache.Key, length int) []byte {
	b := make([]byte, length)
	r := rand.NewChaCha8([32]byte([]byte(fmt.Sprintf("%-32.32s", fmt.Sprint(k.LSN, k.Kind, k.Timeline[0])))))
	_, _ = r.Read(b)
	return b
}

// filling gives what makes a content, in pieces of odd lengths.
func filling(k backupcache.Key, length int) backupcache.Fill {
	return func(ctx context.Context, w io.Writer) (int, error) {
		b := content(k, length)
		for len(b) > 0 {
			n := min(len(b), 77_777)
			if _, err := w.Write(b[:n]); err != nil {
				return 0, err
			}
			b = b[n:]
		}
		return int(k.LSN), nil
	}
}

func open(t *testing.T, o backupcache.Options) *backupcache.Cache {
	t.Helper()
	c, err := backupcache.Open(o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c
}

// take reads a backup and closes it.
func take(b *backupcache.Backup) ([]byte, error) {
	var w bytes.Buffer
	_, err := b.Copy(context.Background(), &w)
	return w.Bytes(), errors.Join(err, b.Close())
}

func fetch(t *testing.T, c *backupcache.Cache, n, length int) {
	t.Helper()
	k := key(n)
	b, err := c.Fetch(t.Context(), k, filling(k, length))
	require.NoError(t, err)
	require.EqualValues(t, length, b.Size())
	require.EqualValues(t, k.LSN, b.Files())
	got, err := take(b)
	require.NoError(t, err)
	require.True(t, bytes.Equal(content(k, length), got), "backup %d", n)
}

// large is too long for memory.
var large = testkit.Size(1<<20+17, 3<<20+17, 3<<20+17)

// later is a clock by which every file has been there for long.
func later() time.Time { return time.Now().Add(time.Hour) }

func TestHitsAndRestarts(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "mine.txt"), []byte("not the cache's"), 0o600))
	o := backupcache.Options{Dir: dir, Clock: later}
	lengths := []int{0, 1, 1 << 20, 1<<20 + 1, large}
	c, err := backupcache.Open(o)
	require.NoError(t, err)
	for n, length := range lengths {
		fetch(t, c, n, length)
		fetch(t, c, n, length)
	}
	m := c.Metrics()
	require.Equal(t, [5]int64{5, 5, 5, 5, 0}, [5]int64{m.Hits, m.Misses, m.Preparations, m.Entries, m.Failures})
	_, err = backupcache.Open(o)
	require.ErrorIs(t, err, virtualfile.ErrLocked)
	require.NoError(t, c.Close())
	require.NoError(t, c.Close())
	_, err = c.Open(t.Context(), key(0))
	require.ErrorIs(t, err, backupcache.ErrClosed)

	require.NoError(t, os.WriteFile(filepath.Join(dir, "1-2-3-ff.basebackup.___temp"), []byte("half"), 0o600))
	c = open(t, o)
	require.Equal(t, m.Bytes, c.Metrics().Bytes)
	for n, length := range lengths {
		b, err := c.Open(t.Context(), key(n))
		require.NoError(t, err)
		got, err := take(b)
		require.NoError(t, err)
		require.True(t, bytes.Equal(content(key(n), length), got))
	}
	names := filesIn(t, dir)
	require.Len(t, names, len(lengths))
	require.FileExists(t, filepath.Join(dir, "mine.txt"))
}

// filesIn lists the cache's files.
func filesIn(t *testing.T, dir string) (names []string) {
	t.Helper()
	all, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range all {
		if strings.Contains(e.Name(), ".basebackup") {
			names = append(names, filepath.Join(dir, e.Name()))
		}
	}
	return names
}

// TestVerifiedOnce shows when a large file is read to be verified: at its first use, and after any change.
func TestVerifiedOnce(t *testing.T) {
	dir := t.TempDir()
	c := open(t, backupcache.Options{Dir: dir, Clock: later})
	fetch(t, c, 0, large)
	fetch(t, c, 0, large)
	use := func() int64 {
		before := c.Metrics().Verified
		b, err := c.Open(t.Context(), key(0))
		require.NoError(t, err)
		var w fromFile
		_, err = b.Copy(t.Context(), &w)
		require.NoError(t, errors.Join(err, b.Close()))
		require.True(t, w.file, "the file itself is handed over")
		require.True(t, bytes.Equal(content(key(0), large), w.Bytes()))
		return c.Metrics().Verified - before
	}
	require.Zero(t, use())
	require.Zero(t, use())
	// Times that were set do not hide that something was done to it, and the content is what counts.
	name := filesIn(t, dir)[0]
	was, err := os.Stat(name)
	require.NoError(t, err)
	touchUntilSeen(t, name, func() {
		require.NoError(t, os.Chtimes(name, was.ModTime(), was.ModTime()))
	})
	require.EqualValues(t, large, use())
	require.Zero(t, use())
}

// touchUntilSeen repeats a change until the kernel's clock, which goes in steps, shows it.
func touchUntilSeen(t *testing.T, name string, change func()) {
	t.Helper()
	before := changedAt(t, name)
	for change(); changedAt(t, name) == before; change() {
	}
}

// fromFile is a writer that takes files whole, as a socket does.
type fromFile struct {
	bytes.Buffer
	file   bool
	during func(l *backupcache.LeasedFile) // called when half of it is read
}

func (w *fromFile) SendFile(_ context.Context, l *backupcache.LeasedFile) (n int64, err error) {
	w.file = true
	half := l.Size() / 2
	if n, err = io.CopyN(&w.Buffer, l.Reader(), half); err != nil {
		return n, err
	}
	if w.during != nil {
		w.during(l)
	}
	k, err := io.CopyN(&w.Buffer, l.Reader(), l.Size()-half)
	return n + k, errors.Join(err, l.Held(), l.Close())
}

// TestFreshFilesAreNotTrusted shows that a file whose times may not show a further change is verified while it is sent.
func TestFreshFilesAreNotTrusted(t *testing.T) {
	dir := t.TempDir()
	earlier := func() time.Time { return time.Now().Add(-time.Hour) }
	c := open(t, backupcache.Options{Dir: dir, Clock: earlier})
	fetch(t, c, 0, large)
	b, err := c.Open(t.Context(), key(0))
	require.NoError(t, err)
	damage(t, filesIn(t, dir)[0], int64(large/2))
	var w fromFile
	_, err = b.Copy(t.Context(), &w)
	require.ErrorIs(t, err, backupcache.ErrDamaged)
	require.NoError(t, b.Close())
	require.False(t, w.file)
	require.Zero(t, c.Metrics().Entries)
}

// damage flips a bit of a file.
func damage(t *testing.T, name string, at int64) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	require.NoError(t, err)
	defer f.Close()
	var b [1]byte
	_, err = f.ReadAt(b[:], at)
	require.NoError(t, err)
	b[0] ^= 4
	_, err = f.WriteAt(b[:], at)
	require.NoError(t, err)
}

// TestNotChangedWhileSent shows that who wants to change a file that is being sent waits, that the sender is told, and that
// the change is found afterwards.
func TestNotChangedWhileSent(t *testing.T) {
	for name, harm := range map[string]func(t *testing.T, name string){
		"bit flipped": func(t *testing.T, name string) { damage(t, name, 5) },
		"cut":         func(t *testing.T, name string) { require.NoError(t, os.Truncate(name, int64(large-9))) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			c := open(t, backupcache.Options{Dir: dir, Clock: later})
			fetch(t, c, 0, large)
			b, err := c.Open(t.Context(), key(0))
			require.NoError(t, err)
			file := filesIn(t, dir)[0]
			var harming sync.WaitGroup
			w := fromFile{during: func(l *backupcache.LeasedFile) {
				require.NoError(t, l.Held())
				harming.Go(func() { touchUntilSeen(t, file, func() { harm(t, file) }) })
				for l.Held() == nil { // until it waits
					runtime.Gosched()
				}
			}}
			_, err = b.Copy(t.Context(), &w)
			require.True(t, w.file)
			require.ErrorIs(t, err, backupcache.ErrWanted)
			require.True(t, bytes.Equal(content(key(0), large), w.Bytes()), "it waited to the end")
			require.NoError(t, b.Close())
			harming.Wait()
			_, err = c.Open(t.Context(), key(0))
			require.ErrorIs(t, err, backupcache.ErrMiss)
			fetch(t, c, 0, large)
		})
	}
}

// TestOpenForWriting shows that a file that somebody has open for writing is not handed over, and that the reader of one that is changed
// meanwhile is told at the end.
func TestOpenForWriting(t *testing.T) {
	dir := t.TempDir()
	c := open(t, backupcache.Options{Dir: dir, Clock: later})
	fetch(t, c, 0, large)
	writer, err := os.OpenFile(filesIn(t, dir)[0], os.O_WRONLY, 0)
	require.NoError(t, err)
	defer writer.Close()
	for _, harm := range []bool{false, true} {
		b, err := c.Open(t.Context(), key(0))
		require.NoError(t, err)
		if harm {
			_, err := writer.WriteAt([]byte("harm"), int64(large/2))
			require.NoError(t, err)
		}
		var w fromFile
		_, err = b.Copy(t.Context(), &w)
		require.False(t, w.file)
		require.Equal(t, harm, errors.Is(err, backupcache.ErrDamaged), "%v", err)
		require.NoError(t, b.Close())
	}
}

// TestDamage shows that what was done to a file makes it a miss, before and after a restart.
func TestDamage(t *testing.T) {
	for _, length := range []int{1000, large}[:testkit.Size(1, 2, 2)] {
		for name, harm := range map[string]func(t *testing.T, name string){
			"first bit":   func(t *testing.T, name string) { damage(t, name, 0) },
			"last bit":    func(t *testing.T, name string) { damage(t, name, int64(length)-1) },
			"key":         func(t *testing.T, name string) { damage(t, name, int64(length)+33) },
			"sum":         func(t *testing.T, name string) { st, _ := os.Stat(name); damage(t, name, st.Size()-10) },
			"cut":         func(t *testing.T, name string) { require.NoError(t, os.Truncate(name, int64(length)/2)) },
			"empty":       func(t *testing.T, name string) { require.NoError(t, os.Truncate(name, 0)) },
			"gone":        func(t *testing.T, name string) { require.NoError(t, os.Remove(name)) },
			"another one": func(t *testing.T, name string) { require.NoError(t, os.WriteFile(name, make([]byte, length), 0o600)) },
		} {
			for _, restart := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s of %d, restart %t", name, length, restart), func(t *testing.T) {
					o := backupcache.Options{Dir: t.TempDir()}
					c, err := backupcache.Open(o)
					require.NoError(t, err)
					fetch(t, c, 0, length)
					if restart {
						require.NoError(t, c.Close())
					}
					harm(t, filesIn(t, o.Dir)[0])
					if restart {
						c, err = backupcache.Open(o)
						require.NoError(t, err)
					}
					b, err := c.Open(t.Context(), key(0))
					if name == "key" || name == "sum" { // where the trailer was read before, it is the content that counts
						if err == nil {
							got, err := take(b)
							require.NoError(t, err)
							require.True(t, bytes.Equal(content(key(0), length), got))
						}
					} else {
						require.ErrorIs(t, err, backupcache.ErrMiss)
					}
					fetch(t, c, 0, length)
					m := c.Metrics()
					require.EqualValues(t, 1, m.Entries)
					require.Len(t, filesIn(t, o.Dir), 1)
					st, err := os.Stat(filesIn(t, o.Dir)[0])
					require.NoError(t, err)
					require.Equal(t, st.Size(), m.Bytes)
					require.NoError(t, c.Close())
				})
			}
		}
	}
}

// TestReadersOutliveEviction shows that a backup that is being read stays whole, whatever becomes of its entry.
func TestReadersOutliveEviction(t *testing.T) {
	for _, trusted := range []bool{false, true} {
		o := backupcache.Options{Dir: t.TempDir(), Entries: 1}
		if trusted {
			o.Clock = later
		}
		c := open(t, o)
		fetch(t, c, 0, large)
		b, err := c.Open(t.Context(), key(0))
		require.NoError(t, err)
		var w fromFile
		w.during = func(*backupcache.LeasedFile) { // or before, if it isn't the file that is handed over
			fetch(t, c, 1, 10)
			_, err = c.Open(t.Context(), key(0))
			require.ErrorIs(t, err, backupcache.ErrMiss)
			require.Len(t, filesIn(t, o.Dir), 1)
		}
		if !trusted {
			w.during(nil)
		}
		_, err = b.Copy(t.Context(), &w)
		require.NoError(t, errors.Join(err, b.Close()))
		require.True(t, w.file || !trusted)
		require.True(t, bytes.Equal(content(key(0), large), w.Bytes()))
		require.EqualValues(t, 1, c.Metrics().Evictions)
	}
}

// TestOneMakesForAll has many ask for one backup: it is made once, and who stops to wait harms nobody.
func TestOneMakesForAll(t *testing.T) {
	c := open(t, backupcache.Options{Dir: t.TempDir()})
	var made atomic.Int64
	begun, go_ := make(chan struct{}), make(chan struct{})
	k := key(0)
	fill := func(ctx context.Context, w io.Writer) (int, error) {
		if made.Add(1) == 1 {
			close(begun)
		}
		<-go_
		return filling(k, large)(ctx, w)
	}
	impatient, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	all.Go(func() { // it is the one who begins
		_, err := c.Fetch(impatient, k, fill)
		require.ErrorIs(t, err, context.Canceled)
	})
	<-begun
	cancel()
	all.Wait()
	for range 8 {
		all.Go(func() {
			b, err := c.Fetch(t.Context(), k, fill)
			if err != nil {
				t.Error(err)
				return
			}
			got, err := take(b)
			if err != nil || !bytes.Equal(content(k, large), got) {
				t.Error("wrong backup", err)
			}
		})
	}
	_, err := c.Fetch(impatient, k, fill)
	require.ErrorIs(t, err, context.Canceled)
	close(go_)
	all.Wait()
	require.EqualValues(t, 1, made.Load())
	m := c.Metrics()
	require.EqualValues(t, 8, m.Shared+m.Hits)
	require.Zero(t, m.Misses)
}

// TestTurns shows that who comes when all turns are taken is not kept waiting, and that Close calls off what runs.
func TestTurns(t *testing.T) {
	dir := t.TempDir()
	c := open(t, backupcache.Options{Dir: dir, Preparations: 1})
	begun := make(chan struct{})
	ended := make(chan error)
	go func() {
		ended <- c.Prepare(t.Context(), key(0), func(ctx context.Context, w io.Writer) (int, error) {
			_, _ = w.Write(make([]byte, 2<<20))
			close(begun)
			<-ctx.Done()
			return 0, ctx.Err()
		})
	}()
	<-begun
	_, err := c.Fetch(t.Context(), key(1), filling(key(1), 10))
	require.ErrorIs(t, err, backupcache.ErrMiss)
	m := c.Metrics()
	require.Equal(t, [3]int64{1, 1, 1}, [3]int64{m.Bypassed, m.Running, m.Misses})
	require.NoError(t, c.Close())
	require.ErrorIs(t, <-ended, backupcache.ErrMiss)
	require.Empty(t, filesIn(t, dir))
	require.ErrorIs(t, c.Prepare(t.Context(), key(1), nil), backupcache.ErrClosed)
}

// TestRemove takes out what is there and what is being made.
func TestRemove(t *testing.T) {
	dir := t.TempDir()
	c := open(t, backupcache.Options{Dir: dir})
	fetch(t, c, 0, 100)
	fetch(t, c, 3, 100)
	of := key(0).Timeline
	err := c.Prepare(t.Context(), key(1), func(ctx context.Context, w io.Writer) (int, error) {
		c.Remove(func(k backupcache.Key) bool { return k.Timeline == of })
		return filling(key(1), 100)(ctx, w)
	})
	require.ErrorIs(t, err, backupcache.ErrMiss)
	require.False(t, c.Has(key(0)))
	require.False(t, c.Has(key(1)))
	require.True(t, c.Has(key(3)))
	require.Len(t, filesIn(t, dir), 1)
}
