package s3store

import (
	"context"
	"errors"
	"iter"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/stratapg/strata/remote"
)

// List gives what the server's pages have, one page in memory.
func (s *Store) List(ctx context.Context, prefix string, o remote.ListOptions) iter.Seq2[remote.Entry, error] {
	return func(yield func(remote.Entry, error) bool) {
		if err := errors.Join(remote.CheckPrefix(prefix), remote.CheckPrefix(o.After), ctx.Err()); err != nil {
			yield(remote.Entry{}, remote.Wrap("list", prefix, err))
			return
		}
		in := &s3.ListObjectsV2Input{Bucket: &s.o.Bucket, Prefix: aws.String(s.prefix + prefix)}
		if o.Delimited {
			in.Delimiter = aws.String("/")
		}
		if o.After != "" {
			in.StartAfter = aws.String(s.prefix + o.After)
		}
		pages := s3.NewListObjectsV2Paginator(s.client, in)
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				yield(remote.Entry{}, remote.Wrap("list", prefix, reason(ctx, err)))
				return
			}
			if !s.give(page, yield) {
				return
			}
		}
	}
}

// give merges a page's objects and prefixes, each of which are in order.
func (s *Store) give(page *s3.ListObjectsV2Output, yield func(remote.Entry, error) bool) bool {
	objects, prefixes := page.Contents, page.CommonPrefixes
	for len(objects) > 0 || len(prefixes) > 0 {
		var e remote.Entry
		if len(prefixes) == 0 || len(objects) > 0 && aws.ToString(objects[0].Key) < aws.ToString(prefixes[0].Prefix) {
			o := &objects[0]
			e.Object = remote.Object{Key: strings.TrimPrefix(aws.ToString(o.Key), s.prefix), Size: aws.ToInt64(o.Size),
				ETag: aws.ToString(o.ETag), Modified: aws.ToTime(o.LastModified)}
			objects = objects[1:]
		} else {
			e.Prefix = strings.TrimPrefix(aws.ToString(prefixes[0].Prefix), s.prefix)
			prefixes = prefixes[1:]
		}
		if !yield(e, nil) {
			return false
		}
	}
	return true
}
