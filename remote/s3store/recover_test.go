package s3store

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/remote"
)

// TestRecover brings a prefix back: what was changed, what was deleted and what was new, and again after all of it was done.
func TestRecover(t *testing.T) {
	server := testkit.StartS3(t)
	s, err := Open(t.Context(), Options{Bucket: server.Bucket, Endpoint: server.Endpoint, Prefix: "store"})
	require.NoError(t, err)
	_, err = s.client.PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{Bucket: &server.Bucket,
		VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled}})
	if err != nil {
		testkit.Skip(t, "the server keeps no versions: "+err.Error())
	}
	put := func(key, text string) time.Time {
		_, err := s.Put(t.Context(), key, strings.NewReader(text), int64(len(text)), remote.PutOptions{})
		require.NoError(t, err)
		var modified time.Time // of a listing, which is more precise than that of a head
		for e, err := range s.List(t.Context(), key, remote.ListOptions{}) {
			require.NoError(t, err)
			modified = e.Modified
		}
		return modified
	}
	// after waits until the server's clock has moved on, which may count seconds.
	after := func(then time.Time) (now time.Time) {
		require.Eventually(t, func() bool { now = put("clock", "x"); return now.After(then) }, time.Minute, 50*time.Millisecond)
		return now
	}
	for key, text := range map[string]string{"a/same": "1", "a/changed": "1", "a/deleted": "1", "b/changed": "1", "a/twice": "0"} {
		put(key, text)
	}
	at := put("a/twice", "1")
	after(at)
	put("a/changed", "22")
	put("a/new", "2")
	put("b/changed", "22")
	put("a/twice", "22")
	put("a/gone", "2")
	require.NoError(t, s.Delete(t.Context(), "a/deleted", "a/twice", "a/gone"))
	begun := after(put("clock", "y"))
	after(begun)

	o := remote.RecoverOptions{Prefix: "a/", At: at, DoneIfAfter: begun}
	done, err := s.Recover(t.Context(), o)
	require.NoError(t, err)
	require.Equal(t, remote.Recovered{Restored: 3, Deleted: 1, Unchanged: 2}, done)
	want := map[string]string{"a/same": "1", "a/changed": "1", "a/deleted": "1", "a/twice": "1", "b/changed": "22", "clock": "x"}
	got := map[string]string{}
	for e, err := range s.List(t.Context(), "", remote.ListOptions{}) {
		require.NoError(t, err)
		d, err := s.Get(t.Context(), e.Key, remote.GetOptions{})
		require.NoError(t, err)
		b, err := io.ReadAll(d.Body)
		require.NoError(t, err)
		require.NoError(t, d.Body.Close())
		got[e.Key] = string(b)
	}
	require.Equal(t, want, got)
	done, err = s.Recover(t.Context(), o)
	require.NoError(t, err)
	require.Equal(t, remote.Recovered{Unchanged: 2, Done: 4}, done)
	o.MaxVersions = 3
	_, err = s.Recover(t.Context(), o)
	require.ErrorIs(t, err, remote.ErrTooManyVersions)
	_, err = s.Recover(t.Context(), remote.RecoverOptions{At: at})
	require.ErrorIs(t, err, remote.ErrInvalid)
}

// TestPlanRecovery is the table of what can have happened to an object.
func TestPlanRecovery(t *testing.T) {
	at := func(n int, deleted bool) version {
		return version{id: string(rune('0' + n)), modified: time.Unix(int64(n), 0), deleted: deleted}
	}
	o := remote.RecoverOptions{At: time.Unix(5, 0), DoneIfAfter: time.Unix(8, 0)}
	for name, c := range map[string]struct {
		versions []version
		restore  string
		remove   bool
		done     remote.Recovered
	}{
		"as it was":                {[]version{at(1, false), at(5, false)}, "", false, remote.Recovered{Unchanged: 1}},
		"deleted before":           {[]version{at(1, false), at(2, true)}, "", false, remote.Recovered{Unchanged: 1}},
		"changed":                  {[]version{at(1, false), at(4, false), at(6, false), at(7, false)}, "4", false, remote.Recovered{}},
		"deleted":                  {[]version{at(4, false), at(6, true)}, "4", false, remote.Recovered{}},
		"new":                      {[]version{at(6, false)}, "", true, remote.Recovered{}},
		"made again":               {[]version{at(3, false), at(4, true), at(6, false)}, "", true, remote.Recovered{}},
		"new and deleted":          {[]version{at(6, false), at(7, true)}, "", false, remote.Recovered{Unchanged: 1}},
		"recovered before":         {[]version{at(4, false), at(6, false), at(9, false)}, "", false, remote.Recovered{Done: 1}},
		"recovered by its removal": {[]version{at(6, false), at(9, true)}, "", false, remote.Recovered{Done: 1}},
	} {
		var done remote.Recovered
		restore, remove := planRecovery(map[string][]version{"k": c.versions}, o, &done)
		require.Equal(t, c.restore, restore["k"], name)
		require.Equal(t, c.remove, len(remove) == 1, name)
		require.Equal(t, c.done, done, name)
	}
}
