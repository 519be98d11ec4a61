// Package remoteurl opens remote storage by a URL, as a command line or a configuration names it:
//
//	file:///var/lib/strata-remote
//	s3://bucket/prefix?region=eu-central-1&profile=backup&class=STANDARD_IA
//	s3://bucket/prefix?endpoint=http://127.0.0.1:9000
//
// It has all drivers, and so all that they depend upon: who uses one kind of store only opens that one's package.
package remoteurl

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/stratapg/strata/remote"
	"github.com/stratapg/strata/remote/localstore"
	"github.com/stratapg/strata/remote/s3store"
	"github.com/stratapg/strata/virtualfile"
)

// Open opens the storage that a URL names, with remote.Limit's defaults. Credentials never stand in a URL: the S3 driver finds them
// where the SDK looks.
func Open(ctx context.Context, text string) (remote.Storage, error) {
	s, err := open(ctx, text)
	if err != nil {
		return nil, fmt.Errorf("remote storage %q: %w", text, err)
	}
	return remote.Limit(s, remote.LimitOptions{}), nil
}

func open(ctx context.Context, text string) (remote.Storage, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", remote.ErrInvalid, err)
	}
	if u.User != nil || u.Fragment != "" {
		return nil, fmt.Errorf("%w: a user, a password and a fragment have no place in it", remote.ErrInvalid)
	}
	switch u.Scheme {
	case "file":
		if u.Host != "" || !strings.HasPrefix(u.Path, "/") || u.RawQuery != "" {
			return nil, fmt.Errorf("%w: want file:///absolute/path", remote.ErrInvalid)
		}
		return localstore.Open(virtualfile.NewOS(), u.Path)
	case "s3":
		o, err := s3Options(u)
		if err != nil {
			return nil, err
		}
		return s3store.Open(ctx, o)
	}
	return nil, fmt.Errorf("%w: want file:///path or s3://bucket/prefix", remote.ErrInvalid)
}

// s3Options reads bucket, prefix and parameters.
func s3Options(u *url.URL) (o s3store.Options, err error) {
	o = s3store.Options{Bucket: u.Host, Prefix: strings.Trim(u.Path, "/")}
	if o.Bucket == "" {
		return o, fmt.Errorf("%w: want s3://bucket/prefix", remote.ErrInvalid)
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return o, fmt.Errorf("%w: %w", remote.ErrInvalid, err)
	}
	fields := map[string]*string{"endpoint": &o.Endpoint, "region": &o.Region, "profile": &o.Profile, "class": &o.StorageClass}
	var names []string
	for name := range fields {
		names = append(names, name)
	}
	slices.Sort(names)
	for name, values := range query {
		field := fields[name]
		if field == nil || len(values) != 1 {
			return o, fmt.Errorf("%w: parameter %q: want each of %s once at most", remote.ErrInvalid, name, strings.Join(names, ", "))
		}
		*field = values[0]
	}
	return o, nil
}
