package byurl_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/remote"
	"github.com/stratapg/strata/remote/byurl"
)

func TestFolder(t *testing.T) {
	s, err := byurl.Open(t.Context(), "file://"+filepath.Join(t.TempDir(), "a b"))
	require.NoError(t, err)
	_, err = s.Put(t.Context(), "x/y", strings.NewReader("abc"), 3, remote.PutOptions{})
	require.NoError(t, err)
	o, err := s.Head(t.Context(), "x/y")
	require.NoError(t, err)
	require.EqualValues(t, 3, o.Size)
	require.NoError(t, s.Close())
}

func TestBucket(t *testing.T) {
	s, err := byurl.Open(t.Context(), "s3://bucket/some/prefix?endpoint=http://127.0.0.1:1&region=here")
	require.NoError(t, err)
	require.NoError(t, s.Close())
}

func TestRefused(t *testing.T) {
	for url, why := range map[string]string{
		"":                         "scheme",
		"/srv/x":                   "scheme",
		"ftp://x/y":                "scheme",
		"file://host/x":            "absolute",
		"file:x":                   "absolute",
		"file:///x?y=1":            "absolute",
		"s3://":                    "Bucket",
		"s3://b?colour=red":        "colour",
		"s3://b?region=a&region=b": "region",
		"s3://key:secret@b/":       "credentials",
		"s3://b/%zz":               "escape",
	} {
		_, err := byurl.Open(t.Context(), url)
		require.ErrorIs(t, err, remote.ErrInvalid, url)
		require.ErrorContains(t, err, why, url)
	}
}
