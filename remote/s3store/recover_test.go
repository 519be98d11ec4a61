package s3store

import (
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/remote"
)

// versionTime reads the time from the server's version ids, which are ULIDs: what it says of when a version was written is, once the
// version was replaced, when that happened.
func versionTime(t *testing.T, id string) time.Time {
	const digits = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
	ms := int64(0)
	for _, c := range id[:10] {
		i := strings.IndexRune(digits, c)
		require.GreaterOrEqual(t, i, 0, "%q is no ULID", id)
		ms = ms*int64(len(digits)) + int64(i)
	}
	return time.UnixMilli(ms)
}

// timed is Store.versions with the right times.
func timed(t *testing.T, s *Store, prefix string) map[string][]version {
	all, err := s.versions(t.Context(), remote.RecoverOptions{Prefix: prefix, MaxVersions: 1000})
	require.NoError(t, err)
	for _, vs := range all {
		for i := range vs {
			vs[i].modified = versionTime(t, vs[i].id)
		}
		slices.SortFunc(vs, func(a, b version) int { return strings.Compare(a.id, b.id) })
	}
	return all
}

// TestRecover brings a prefix back: what was changed, what was deleted and what was new, and again after all of it was done.
func TestRecover(t *testing.T) {
	server := testkit.StartS3(t)
	s, err := Open(t.Context(), Options{Bucket: server.Bucket, Endpoint: server.Endpoint, Prefix: "store"})
	require.NoError(t, err)
	_, err = s.client.PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{Bucket: &server.Bucket,
		VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled}})
	require.NoError(t, err)
	put := func(key, text string) {
		_, err := s.Put(t.Context(), key, strings.NewReader(text), int64(len(text)), remote.PutOptions{})
		require.NoError(t, err)
	}
	// tick gives a time after all that was written, and before what is written from now on.
	tick := func() (now time.Time) {
		first := time.Now().Truncate(time.Millisecond)
		require.Eventually(t, func() bool {
			now = time.Now().Truncate(time.Millisecond)
			return now.After(first.Add(time.Millisecond))
		}, time.Minute, time.Millisecond)
		now = first.Add(time.Millisecond)
		return now
	}
	for _, key := range []string{"a/same", "a/changed", "a/deleted", "b/changed"} {
		put(key, "1")
	}
	put("a/twice", "0")
	put("a/twice", "1")
	at := tick()
	for _, key := range []string{"a/changed", "b/changed", "a/twice"} {
		put(key, "22")
	}
	put("a/new", "2")
	put("a/gone", "2")
	require.NoError(t, s.Delete(t.Context(), "a/deleted", "a/twice", "a/gone"))

	o := remote.RecoverOptions{Prefix: "a/", At: at, DoneIfAfter: tick()}
	done, err := s.bringBack(t.Context(), timed(t, s, "a/"), o)
	require.NoError(t, err)
	require.Equal(t, remote.Recovered{Restored: 3, Deleted: 1, Unchanged: 2}, done)
	want := map[string]string{"a/same": "1", "a/changed": "1", "a/deleted": "1", "a/twice": "1", "b/changed": "22"}
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
	done, err = s.bringBack(t.Context(), timed(t, s, "a/"), o)
	require.NoError(t, err)
	require.Equal(t, remote.Recovered{Unchanged: 2, Done: 4}, done)

	o.MaxVersions = 3
	_, err = s.Recover(t.Context(), o)
	require.ErrorIs(t, err, remote.ErrTooManyVersions)
	_, err = s.Recover(t.Context(), remote.RecoverOptions{At: at})
	require.ErrorIs(t, err, remote.ErrInvalid)
	// All that is there was written before the moment: nothing changes.
	done, err = s.Recover(t.Context(), remote.RecoverOptions{Prefix: "b/", At: time.Now().Add(time.Hour), DoneIfAfter: time.Now().Add(time.Hour)})
	require.NoError(t, err)
	require.Equal(t, remote.Recovered{Unchanged: 1}, done)
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
