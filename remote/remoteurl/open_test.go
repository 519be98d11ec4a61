package remoteurl

import (
	"bytes"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/remote"
	"github.com/stratapg/strata/remote/s3store"
)

// TestOpen puts an object into each kind of store, and finds it with another handle.
func TestOpen(t *testing.T) {
	urls := map[string]string{"file": "file://" + t.TempDir()}
	t.Run("file", func(t *testing.T) { putAndHead(t, urls["file"]) })
	t.Run("s3", func(t *testing.T) {
		s := testkit.StartS3(t)
		putAndHead(t, "s3://"+s.Bucket+"/some/prefix?endpoint="+url.QueryEscape(s.Endpoint))
	})
}

func putAndHead(t *testing.T, text string) {
	s, err := Open(t.Context(), text)
	require.NoError(t, err)
	_, err = s.Put(t.Context(), "a/b", bytes.NewReader([]byte("x")), 1, remote.PutOptions{})
	require.NoError(t, err)
	require.NoError(t, s.Close())
	s, err = Open(t.Context(), text)
	require.NoError(t, err)
	o, err := s.Head(t.Context(), "a/b")
	require.NoError(t, err)
	require.EqualValues(t, 1, o.Size)
	require.NoError(t, s.Close())
}

// TestS3Options reads every parameter.
func TestS3Options(t *testing.T) {
	u, err := url.Parse("s3://bucket/deep/prefix/?region=r&profile=p&class=c&endpoint=http://h:1")
	require.NoError(t, err)
	o, err := s3Options(u)
	require.NoError(t, err)
	require.Equal(t, s3store.Options{Bucket: "bucket", Prefix: "deep/prefix", Region: "r", Profile: "p", StorageClass: "c", Endpoint: "http://h:1"}, o)
}

// TestBadURLs names what is wrong.
func TestBadURLs(t *testing.T) {
	for _, text := range []string{"", "/path", "http://x/y", "file://host/path", "file:relative", "file:///p?x=1", "s3:///prefix", "s3://b?region=a&region=b",
		"s3://b?secret=x", "s3://key:secret@b/p", "s3://b/p#f", "s3://b?%zz"} {
		_, err := Open(t.Context(), text)
		require.ErrorIs(t, err, remote.ErrInvalid, "%q", text)
	}
}
