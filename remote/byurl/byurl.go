// Package byurl opens a remote storage by its URL, with the limits and the patience that a store wants. Whoever uses one kind
// of storage only calls its driver instead, and does not build the others.
//
//	file:///srv/pages
//	s3://bucket/prefix?endpoint=http://127.0.0.1:9000&region=eu-central-1&profile=backup&class=STANDARD_IA
//
// Credentials are not part of a URL: s3store says where they come from.
package byurl

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"

	"github.com/stratapg/strata/remote"
	"github.com/stratapg/strata/remote/localstore"
	"github.com/stratapg/strata/remote/s3store"
	"github.com/stratapg/strata/virtualfile"
)

// Open opens the storage at a URL. Its requests are bounded in number and time, and repeated where that may help.
func Open(ctx context.Context, where string) (remote.Storage, error) {
	s, err := open(ctx, where)
	if err != nil {
		return nil, fmt.Errorf("remote storage %q: %w", where, err)
	}
	return remote.Retry(remote.Limit(s, remote.LimitOptions{}), remote.RetryOptions{}), nil
}

func open(ctx context.Context, where string) (remote.Storage, error) {
	u, err := url.Parse(where)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", remote.ErrInvalid, err)
	}
	if u.User != nil || u.Fragment != "" {
		return nil, fmt.Errorf("%w: it has a user or a fragment; credentials come from the environment or a profile", remote.ErrInvalid)
	}
	switch u.Scheme {
	case "file":
		if (u.Host != "" && u.Host != "localhost") || !filepath.IsAbs(u.Path) || u.RawQuery != "" {
			return nil, fmt.Errorf("%w: a folder's is file:///absolute/path", remote.ErrInvalid)
		}
		return localstore.Open(virtualfile.NewOS(), filepath.Clean(u.Path))
	case "s3":
		return openS3(ctx, u)
	}
	return nil, fmt.Errorf("%w: scheme %q: want file:// or s3://", remote.ErrInvalid, u.Scheme)
}

func openS3(ctx context.Context, u *url.URL) (remote.Storage, error) {
	o := s3store.Options{Bucket: u.Host, Prefix: u.Path}
	known := map[string]*string{"endpoint": &o.Endpoint, "region": &o.Region, "profile": &o.Profile, "class": &o.StorageClass}
	query, err := url.ParseQuery(u.RawQuery)
	var errs []error
	if err != nil {
		errs = append(errs, fmt.Errorf("%w: %w", remote.ErrInvalid, err))
	}
	names := make([]string, 0, len(query))
	for name := range query {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		to, ok := known[name]
		if !ok || len(query[name]) != 1 {
			errs = append(errs, fmt.Errorf("%w: %s: want endpoint, region, profile and class, each at most once", remote.ErrInvalid, name))
			continue
		}
		*to = query[name][0]
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return s3store.Open(ctx, o)
}
