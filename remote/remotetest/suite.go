// Package remotetest is the suite that every driver of remote passes.
package remotetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/remote"
)

// Options say what a driver may lack.
type Options struct {
	// NoIfAbsent says that PutOptions.IfAbsent is ErrUnsupported.
	NoIfAbsent bool
	// Large is the size of the object that is put in several parts; 0 leaves it out.
	Large int64
}

// Run tests a driver. open gives an empty store, closed by the test's end.
func Run(t *testing.T, open func(t *testing.T) remote.Storage, o Options) {
	t.Run("objects", func(t *testing.T) { objects(t, open(t)) })
	t.Run("ranges", func(t *testing.T) { ranges(t, open(t)) })
	t.Run("unless", func(t *testing.T) { unless(t, open(t)) })
	t.Run("if-absent", func(t *testing.T) { ifAbsent(t, open(t), o) })
	t.Run("list", func(t *testing.T) { list(t, open(t)) })
	t.Run("many", func(t *testing.T) { many(t, open(t)) })
	t.Run("delete", func(t *testing.T) { deletes(t, open(t)) })
	t.Run("copy", func(t *testing.T) { copies(t, open(t)) })
	t.Run("bad-keys", func(t *testing.T) { badKeys(t, open(t)) })
	t.Run("short-body", func(t *testing.T) { shortBody(t, open(t)) })
	t.Run("cancel", func(t *testing.T) { cancelled(t, open(t)) })
	t.Run("race", func(t *testing.T) { race(t, open(t)) })
	if o.Large > 0 {
		t.Run("large", func(t *testing.T) { large(t, open(t), o.Large) })
	}
}

func put(t *testing.T, s remote.Storage, key, data string) remote.Object {
	o, err := s.Put(t.Context(), key, strings.NewReader(data), int64(len(data)), remote.PutOptions{})
	require.NoError(t, err)
	require.Equal(t, key, o.Key)
	require.EqualValues(t, len(data), o.Size)
	return o
}

func get(t *testing.T, s remote.Storage, key string, o remote.GetOptions) (string, *remote.Download) {
	d, err := s.Get(t.Context(), key, o)
	require.NoError(t, err)
	b, err := io.ReadAll(d.Body)
	require.NoError(t, err)
	require.NoError(t, d.Body.Close())
	require.EqualValues(t, len(b), d.Length)
	return string(b), d
}

func objects(t *testing.T, s remote.Storage) {
	_, err := s.Head(t.Context(), "a/b")
	require.ErrorIs(t, err, remote.ErrNotFound)
	require.ErrorContains(t, err, "a/b", "the error names the object")
	_, err = s.Get(t.Context(), "a/b", remote.GetOptions{})
	require.ErrorIs(t, err, remote.ErrNotFound)
	put(t, s, "a/b", "first")
	put(t, s, "a/b", "the second")
	put(t, s, "a/empty", "")
	put(t, s, "a/ü b+c%20=?&#", "odd")
	got, d := get(t, s, "a/b", remote.GetOptions{})
	require.Equal(t, "the second", got)
	h, err := s.Head(t.Context(), "a/b")
	require.NoError(t, err)
	require.Equal(t, h.ETag, d.Object.ETag)
	require.NotEmpty(t, h.ETag)
	require.EqualValues(t, 10, h.Size)
	require.Equal(t, h.Modified.Unix(), d.Object.Modified.Unix())
	got, _ = get(t, s, "a/empty", remote.GetOptions{})
	require.Empty(t, got)
	got, _ = get(t, s, "a/ü b+c%20=?&#", remote.GetOptions{})
	require.Equal(t, "odd", got)
	_, err = s.Head(t.Context(), "a")
	require.ErrorIs(t, err, remote.ErrNotFound, "the beginning of a key is no object")
}

func ranges(t *testing.T, s remote.Storage) {
	put(t, s, "o", "0123456789")
	for _, c := range []struct {
		off, n int64
		want   string
	}{{0, 0, "0123456789"}, {3, 0, "3456789"}, {3, 4, "3456"}, {9, 1, "9"}, {8, 100, "89"}, {0, 1, "0"}} {
		got, d := get(t, s, "o", remote.GetOptions{Offset: c.off, Length: c.n})
		require.Equal(t, c.want, got)
		require.Equal(t, c.off, d.Offset)
		require.EqualValues(t, 10, d.Object.Size, "the object's size is that of all of it")
	}
	for _, off := range []int64{10, 11, 1 << 40} {
		_, err := s.Get(t.Context(), "o", remote.GetOptions{Offset: off})
		require.ErrorIs(t, err, remote.ErrRange)
	}
	_, err := s.Get(t.Context(), "o", remote.GetOptions{Offset: -1})
	require.ErrorIs(t, err, remote.ErrInvalid)
}

func unless(t *testing.T, s remote.Storage) {
	o := put(t, s, "o", "one")
	h, err := s.Head(t.Context(), "o")
	require.NoError(t, err)
	require.Equal(t, h.ETag, o.ETag, "Put tells the tag that Head gives")
	_, err = s.Get(t.Context(), "o", remote.GetOptions{Unless: o.ETag})
	require.ErrorIs(t, err, remote.ErrUnmodified)
	require.False(t, remote.Retryable(err))
	again := put(t, s, "o", "two, which differs")
	require.NotEqual(t, o.ETag, again.ETag)
	got, _ := get(t, s, "o", remote.GetOptions{Unless: o.ETag})
	require.Equal(t, "two, which differs", got)
}

func ifAbsent(t *testing.T, s remote.Storage, o Options) {
	absent := func(data string) error {
		_, err := s.Put(t.Context(), "o", strings.NewReader(data), int64(len(data)), remote.PutOptions{IfAbsent: true})
		return err
	}
	if o.NoIfAbsent {
		require.ErrorIs(t, absent("x"), remote.ErrUnsupported)
		_, err := s.Head(t.Context(), "o")
		require.ErrorIs(t, err, remote.ErrNotFound)
		return
	}
	require.NoError(t, absent("first"))
	require.ErrorIs(t, absent("second"), remote.ErrExists)
	got, _ := get(t, s, "o", remote.GetOptions{})
	require.Equal(t, "first", got)

	const writers = 8
	won := make(chan int, writers)
	done := make(chan struct{})
	for i := range writers {
		go func() {
			data := fmt.Sprint(i)
			_, err := s.Put(context.Background(), "raced", strings.NewReader(data), int64(len(data)), remote.PutOptions{IfAbsent: true})
			if err == nil {
				won <- i
			}
			done <- struct{}{}
		}()
	}
	for range writers {
		<-done
	}
	require.Len(t, won, 1, "one of those who race makes the object")
	got, _ = get(t, s, "raced", remote.GetOptions{})
	require.Equal(t, fmt.Sprint(<-won), got)
}

// names lists entries as text: prefixes end in a slash.
func names(t *testing.T, s remote.Storage, prefix string, o remote.ListOptions) (out []string) {
	for e, err := range s.List(t.Context(), prefix, o) {
		require.NoError(t, err)
		if e.Prefix != "" {
			require.Empty(t, e.Key)
			out = append(out, e.Prefix)
			continue
		}
		require.NotZero(t, e.Size)
		require.False(t, e.Modified.IsZero())
		out = append(out, e.Key)
	}
	return out
}

func list(t *testing.T, s remote.Storage) {
	require.Empty(t, names(t, s, "", remote.ListOptions{}))
	keys := []string{"a/b-c", "a/b/1", "a/b/2", "a/bc/3", "a/c", "b", "c/d/e/f"}
	for _, k := range keys {
		put(t, s, k, "data of "+k)
	}
	require.Equal(t, keys, names(t, s, "", remote.ListOptions{}))
	require.Equal(t, []string{"a/", "b", "c/"}, names(t, s, "", remote.ListOptions{Delimited: true}))
	require.Equal(t, []string{"a/b-c", "a/b/1", "a/b/2", "a/bc/3"}, names(t, s, "a/b", remote.ListOptions{}), "a prefix is one of text")
	require.Equal(t, []string{"a/b-c", "a/b/", "a/bc/"}, names(t, s, "a/b", remote.ListOptions{Delimited: true}))
	require.Equal(t, []string{"a/b/1", "a/b/2"}, names(t, s, "a/b/", remote.ListOptions{Delimited: true}))
	require.Equal(t, []string{"a/b/2", "a/bc/3", "a/c", "b", "c/d/e/f"}, names(t, s, "", remote.ListOptions{After: "a/b/1"}))
	require.Equal(t, []string{"b", "c/d/e/f"}, names(t, s, "", remote.ListOptions{After: "a/z"}))
	require.Empty(t, names(t, s, "nothing", remote.ListOptions{}))
	for e, err := range s.List(t.Context(), "", remote.ListOptions{}) {
		require.NoError(t, err)
		require.Equal(t, keys[0], e.Key)
		break // a caller may stop
	}
	require.NoError(t, s.Delete(t.Context(), "c/d/e/f"))
	require.Equal(t, []string{"a/", "b"}, names(t, s, "", remote.ListOptions{Delimited: true}), "what has no object any more is no prefix")
}

// many lists and deletes more than a store gives or takes in one request.
func many(t *testing.T, s remote.Storage) {
	const n = 1200
	var keys []string
	for i := range n {
		keys = append(keys, fmt.Sprintf("many/%d/%05d", i%7, i))
		put(t, s, keys[i], "x")
	}
	slices.Sort(keys)
	require.Equal(t, keys, names(t, s, "many/", remote.ListOptions{}))
	require.Len(t, names(t, s, "many/", remote.ListOptions{Delimited: true}), 7)
	require.NoError(t, s.Delete(t.Context(), keys...))
	require.Empty(t, names(t, s, "", remote.ListOptions{}))
}

func deletes(t *testing.T, s remote.Storage) {
	require.NoError(t, s.Delete(t.Context()))
	require.NoError(t, s.Delete(t.Context(), "not/there"))
	put(t, s, "a/1", "x")
	put(t, s, "a/2", "x")
	require.NoError(t, s.Delete(t.Context(), "a/1", "a/not-there", "a/1"))
	require.Equal(t, []string{"a/2"}, names(t, s, "", remote.ListOptions{}))
	err := s.Delete(t.Context(), "a//b", "a/2")
	var failed remote.KeyErrors
	require.ErrorAs(t, err, &failed)
	require.Len(t, failed, 1)
	require.ErrorIs(t, failed["a//b"], remote.ErrInvalid)
	require.Empty(t, names(t, s, "", remote.ListOptions{}), "the others are deleted all the same")
}

func copies(t *testing.T, s remote.Storage) {
	put(t, s, "from", "content")
	put(t, s, "b/to", "old")
	require.NoError(t, s.Copy(t.Context(), "from", "b/to"))
	require.NoError(t, s.Delete(t.Context(), "from"))
	got, _ := get(t, s, "b/to", remote.GetOptions{})
	require.Equal(t, "content", got)
	require.ErrorIs(t, s.Copy(t.Context(), "from", "b/else"), remote.ErrNotFound)
}

func badKeys(t *testing.T, s remote.Storage) {
	for _, key := range []string{"", "/a", "a/", "a//b", ".", "a/..", "../a", "a/./b", "a\x00b", "a\nb", "\xff", strings.Repeat("k", remote.MaxKeyLen+1)} {
		_, err := s.Put(t.Context(), key, strings.NewReader("x"), 1, remote.PutOptions{})
		require.ErrorIs(t, err, remote.ErrInvalid, "%q", key)
		_, err = s.Get(t.Context(), key, remote.GetOptions{})
		require.ErrorIs(t, err, remote.ErrInvalid, "%q", key)
		_, err = s.Head(t.Context(), key)
		require.ErrorIs(t, err, remote.ErrInvalid, "%q", key)
		require.ErrorIs(t, s.Delete(t.Context(), key), remote.ErrInvalid, "%q", key)
	}
	for _, prefix := range []string{"/a", "a//", "../", "a\x00"} {
		for _, err := range s.List(t.Context(), prefix, remote.ListOptions{}) {
			require.ErrorIs(t, err, remote.ErrInvalid, "%q", prefix)
		}
	}
}

// shortBody puts less than it says: that is an error, and no object.
func shortBody(t *testing.T, s remote.Storage) {
	_, err := s.Put(t.Context(), "o", strings.NewReader("short"), 100, remote.PutOptions{})
	require.Error(t, err)
	require.False(t, remote.Retryable(err), "%v", err)
	_, err = s.Head(t.Context(), "o")
	require.ErrorIs(t, err, remote.ErrNotFound)
}

func cancelled(t *testing.T, s remote.Storage) {
	put(t, s, "o", "data")
	ctx, cancel := context.WithCancel(t.Context())
	d, err := s.Get(ctx, "o", remote.GetOptions{})
	require.NoError(t, err)
	cancel()
	_, err = io.ReadAll(io.LimitReader(readerOnly{d.Body}, 1<<20))
	if err != nil { // the bytes may have come before
		require.ErrorIs(t, err, context.Canceled)
	}
	require.NoError(t, d.Body.Close())
	_, err = s.Put(ctx, "p", strings.NewReader("x"), 1, remote.PutOptions{})
	require.ErrorIs(t, err, context.Canceled)
	require.False(t, remote.Retryable(err))
	_, err = s.Head(ctx, "o")
	require.ErrorIs(t, err, context.Canceled)
	_, err = s.Get(ctx, "o", remote.GetOptions{})
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, s.Delete(ctx, "o"), context.Canceled)
	for _, err := range s.List(ctx, "", remote.ListOptions{}) {
		require.ErrorIs(t, err, context.Canceled)
	}
	_, err = s.Head(t.Context(), "o")
	require.NoError(t, err)
}

type readerOnly struct{ io.Reader }

// race lets readers read while writers replace: they meet one whole version each time.
func race(t *testing.T, s remote.Storage) {
	const size = 100_000
	version := func(i int) []byte { return bytes.Repeat([]byte{byte(i)}, size) }
	_, err := s.Put(t.Context(), "o", bytes.NewReader(version(0)), size, remote.PutOptions{})
	require.NoError(t, err)
	errs := make(chan error, 8)
	for w := range 2 {
		go func() {
			var err error
			for i := 0; i < 10 && err == nil; i++ {
				_, err = s.Put(context.Background(), "o", bytes.NewReader(version(2*i+w)), size, remote.PutOptions{})
			}
			errs <- err
		}()
	}
	for range 2 {
		go func() {
			var err error
			for i := 0; i < 10 && err == nil; i++ {
				err = readWhole(s, size)
			}
			errs <- err
		}()
	}
	for range 4 {
		require.NoError(t, <-errs)
	}
}

func readWhole(s remote.Storage, size int) error {
	d, err := s.Get(context.Background(), "o", remote.GetOptions{})
	if err != nil {
		return err
	}
	b, err := io.ReadAll(d.Body)
	if err = errors.Join(err, d.Body.Close()); err != nil {
		return err
	}
	if len(b) != size || bytes.Count(b, b[:1]) != size {
		return fmt.Errorf("a mixture of %d bytes", len(b))
	}
	return nil
}

// large puts an object of several parts.
func large(t *testing.T, s remote.Storage, size int64) {
	data := make([]byte, size)
	rnd := rand.NewChaCha8([32]byte{1})
	_, _ = rnd.Read(data)
	o, err := s.Put(t.Context(), "large", bytes.NewReader(data), size, remote.PutOptions{})
	require.NoError(t, err)
	require.Equal(t, size, o.Size)
	d, err := s.Get(t.Context(), "large", remote.GetOptions{})
	require.NoError(t, err)
	got, err := io.ReadAll(d.Body)
	require.NoError(t, err)
	require.NoError(t, d.Body.Close())
	require.True(t, bytes.Equal(data, got))
	from := size/2 - 100
	part, _ := get(t, s, "large", remote.GetOptions{Offset: from, Length: 200})
	require.Equal(t, string(data[from:from+200]), part)
}
