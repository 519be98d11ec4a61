package s3store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/stratapg/strata/remote"
)

// Get opens an object for reading.
func (s *Store) Get(ctx context.Context, key string, o remote.GetOptions) (*remote.Download, error) {
	k, err := s.key(key)
	if err == nil && (o.Offset < 0 || o.Length < 0) {
		err = fmt.Errorf("%w: range of %d bytes from %d", remote.ErrInvalid, o.Length, o.Offset)
	}
	if err != nil {
		return nil, remote.Wrap("get", key, err)
	}
	in := &s3.GetObjectInput{Bucket: &s.o.Bucket, Key: k}
	if o.Offset > 0 || o.Length > 0 {
		in.Range = aws.String(header(o))
	}
	if o.Unless != "" {
		in.IfNoneMatch = &o.Unless
	}
	out, err := s.client.GetObject(ctx, in)
	if err != nil {
		return nil, remote.Wrap("get", key, reason(ctx, err))
	}
	d := &remote.Download{
		Object: remote.Object{Key: key, ETag: aws.ToString(out.ETag), Modified: aws.ToTime(out.LastModified)},
		Offset: o.Offset, Length: aws.ToInt64(out.ContentLength),
	}
	if d.Object.Size, err = wholeSize(in.Range, out); err != nil {
		return nil, remote.Wrap("get", key, errors.Join(err, out.Body.Close()))
	}
	d.Body = &body{ctx: ctx, key: key, left: d.Length, r: out.Body}
	return d, nil
}

func header(o remote.GetOptions) string {
	if o.Length == 0 {
		return fmt.Sprintf("bytes=%d-", o.Offset)
	}
	return fmt.Sprintf("bytes=%d-%d", o.Offset, o.Offset+o.Length-1)
}

// wholeSize gives the length of the object of which an answer has a range.
func wholeSize(asked *string, out *s3.GetObjectOutput) (int64, error) {
	if asked == nil {
		return aws.ToInt64(out.ContentLength), nil
	}
	r := aws.ToString(out.ContentRange)
	n, err := strconv.ParseInt(r[strings.LastIndexByte(r, '/')+1:], 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%w: the server answers range %s with Content-Range %q", remote.ErrUnavailable, *asked, r)
	}
	return n, nil
}

// body notices an answer that ends early.
type body struct {
	ctx  context.Context
	key  string
	left int64
	r    io.ReadCloser
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	b.left -= int64(n)
	switch {
	case err == nil:
		return n, nil
	case errors.Is(err, io.EOF) && b.left <= 0:
		return n, io.EOF
	case errors.Is(err, io.EOF):
		err = fmt.Errorf("%d bytes are missing: %w", b.left, io.ErrUnexpectedEOF)
	}
	if err = reason(b.ctx, err); !remote.Retryable(err) && b.ctx.Err() == nil {
		err = fmt.Errorf("%w (%w)", remote.ErrUnavailable, err) // a checksum that does not fit, for one
	}
	return n, remote.Wrap("get", b.key, err)
}

func (b *body) Close() error { return b.r.Close() }
