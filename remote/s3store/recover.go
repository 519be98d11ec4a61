package s3store

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/errgroup"

	"github.com/stratapg/strata/remote"
)

var _ remote.Recoverer = (*Store)(nil)

const (
	defaultMaxVersions = 1_000_000
	// recoverCopies is how many objects are brought back at once.
	recoverCopies = 16
	// noVersion is the id of what was written while the bucket kept no versions.
	noVersion = "null"
)

// version is one of an object, or a mark that it was deleted.
type version struct {
	id       string
	modified time.Time
	latest   bool
	deleted  bool
}

// Recover brings a prefix back to a time. The rules are those of Neon's time travel (libs/remote_storage/src/s3_bucket.rs).
func (s *Store) Recover(ctx context.Context, o remote.RecoverOptions) (done remote.Recovered, err error) {
	if o.MaxVersions == 0 {
		o.MaxVersions = defaultMaxVersions
	}
	if err := remote.CheckPrefix(o.Prefix); err != nil {
		return done, remote.Wrap("recover", o.Prefix, err)
	}
	if o.At.IsZero() || o.DoneIfAfter.Before(o.At) {
		return done, remote.Wrap("recover", o.Prefix, fmt.Errorf("%w: DoneIfAfter, %s, must not be before At, %s", remote.ErrInvalid, o.DoneIfAfter, o.At))
	}
	all, err := s.versions(ctx, o)
	if err != nil {
		return done, remote.Wrap("recover", o.Prefix, err)
	}
	return s.bringBack(ctx, all, o)
}

// bringBack does what the plan for these versions says.
func (s *Store) bringBack(ctx context.Context, all map[string][]version, o remote.RecoverOptions) (done remote.Recovered, err error) {
	restore, remove := planRecovery(all, o, &done)
	if err := s.restore(ctx, restore); err != nil {
		return done, err
	}
	done.Restored = len(restore)
	if err := s.Delete(ctx, remove...); err != nil {
		return done, err
	}
	done.Deleted = len(remove)
	return done, nil
}

// versions lists all versions by key, oldest first.
func (s *Store) versions(ctx context.Context, o remote.RecoverOptions) (map[string][]version, error) {
	all, n := map[string][]version{}, 0
	add := func(key, id *string, at *time.Time, latest *bool, deleted bool) {
		k := strings.TrimPrefix(aws.ToString(key), s.prefix)
		all[k] = append(all[k], version{aws.ToString(id), aws.ToTime(at), aws.ToBool(latest), deleted})
		n++
	}
	pages := s3.NewListObjectVersionsPaginator(s.client, &s3.ListObjectVersionsInput{Bucket: &s.o.Bucket, Prefix: aws.String(s.prefix + o.Prefix)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, reason(ctx, err)
		}
		for i := range page.Versions {
			v := &page.Versions[i]
			if id := aws.ToString(v.VersionId); id == "" || id == noVersion {
				return nil, fmt.Errorf("%w: %q was written while bucket %s kept no versions", remote.ErrUnsupported, aws.ToString(v.Key), s.o.Bucket)
			}
			add(v.Key, v.VersionId, v.LastModified, v.IsLatest, false)
		}
		for i := range page.DeleteMarkers {
			m := &page.DeleteMarkers[i]
			add(m.Key, m.VersionId, m.LastModified, m.IsLatest, true)
		}
		if n > o.MaxVersions {
			return nil, fmt.Errorf("%w: more than %d below the prefix; recover parts of it", remote.ErrTooManyVersions, o.MaxVersions)
		}
	}
	for _, vs := range all {
		slices.Reverse(vs) // as they come the newest is first
		slices.SortStableFunc(vs, func(a, b version) int {
			switch c := a.modified.Compare(b.modified); {
			case c != 0:
				return c
			case a.latest:
				return 1
			case b.latest:
				return -1
			}
			return 0
		})
	}
	return all, nil
}

// planRecovery says which versions come back, by key, and which objects go.
func planRecovery(all map[string][]version, o remote.RecoverOptions, done *remote.Recovered) (restore map[string]string, remove []string) {
	restore = map[string]string{}
	for _, key := range slices.Sorted(maps.Keys(all)) {
		vs := all[key]
		newest := vs[len(vs)-1]
		var then *version
		for i := range vs {
			if !vs[i].modified.After(o.At) {
				then = &vs[i]
			}
		}
		switch {
		case newest.modified.After(o.DoneIfAfter):
			done.Done++
		case !newest.modified.After(o.At):
			done.Unchanged++
		case then != nil && !then.deleted:
			restore[key] = then.id
		case newest.deleted:
			done.Unchanged++
		default:
			remove = append(remove, key)
		}
	}
	return restore, remove
}

// restore copies versions over their objects.
func (s *Store) restore(ctx context.Context, ids map[string]string) error {
	g, inner := errgroup.WithContext(ctx)
	g.SetLimit(recoverCopies)
	for key, id := range ids {
		g.Go(func() error {
			k, err := s.key(key)
			if err == nil {
				from := escapePath(s.o.Bucket+"/"+*k) + "?versionId=" + url.QueryEscape(id)
				_, err = s.client.CopyObject(inner, &s3.CopyObjectInput{Bucket: &s.o.Bucket, Key: k, CopySource: &from, StorageClass: types.StorageClass(s.o.StorageClass)})
			}
			return remote.Wrap("recover", key, reason(inner, err))
		})
	}
	return g.Wait()
}
