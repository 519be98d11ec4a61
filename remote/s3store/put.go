package s3store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/errgroup"

	"github.com/stratapg/strata/remote"
)

// abortTime is what the end of a failed upload may take, the caller's context being over perhaps.
const abortTime = 10 * time.Second

// Put makes an object or replaces it.
func (s *Store) Put(ctx context.Context, key string, body io.ReaderAt, size int64, o remote.PutOptions) (out remote.Object, err error) {
	k, err := s.key(key)
	if err == nil && size < 0 {
		err = fmt.Errorf("%w: size %d", remote.ErrInvalid, size)
	}
	if err != nil {
		return out, remote.Wrap("put", key, err)
	}
	var absent *string
	if o.IfAbsent {
		absent = aws.String("*")
	}
	var etag *string
	if size <= s.o.PartSize {
		etag, err = s.putWhole(ctx, k, body, size, absent)
	} else {
		etag, err = s.putParts(ctx, k, body, size, absent)
	}
	if err != nil {
		return out, remote.Wrap("put", key, reason(ctx, err))
	}
	// The answer to a put has no time.
	return remote.Object{Key: key, Size: size, ETag: aws.ToString(etag)}, nil
}

func (s *Store) putWhole(ctx context.Context, key *string, body io.ReaderAt, size int64, absent *string) (*string, error) {
	out, err := s.client.PutObject(ctx, &s3.PutObjectInput{
		Bucket: &s.o.Bucket, Key: key, Body: newExact(body, 0, size), ContentLength: &size, IfNoneMatch: absent,
		StorageClass: types.StorageClass(s.o.StorageClass),
	})
	if err != nil {
		return nil, err
	}
	return out.ETag, nil
}

func (s *Store) putParts(ctx context.Context, key *string, body io.ReaderAt, size int64, absent *string) (*string, error) {
	begun, err := s.client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{
		Bucket: &s.o.Bucket, Key: key, StorageClass: types.StorageClass(s.o.StorageClass), ChecksumAlgorithm: types.ChecksumAlgorithmCrc32,
	})
	if err != nil {
		return nil, err
	}
	parts, err := s.sendParts(ctx, key, begun.UploadId, body, size)
	if err == nil {
		var out *s3.CompleteMultipartUploadOutput
		out, err = s.client.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
			Bucket: &s.o.Bucket, Key: key, UploadId: begun.UploadId, IfNoneMatch: absent,
			MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
		})
		if err == nil {
			return out.ETag, nil
		}
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTime)
	defer cancel()
	_, abortErr := s.client.AbortMultipartUpload(end, &s3.AbortMultipartUploadInput{Bucket: &s.o.Bucket, Key: key, UploadId: begun.UploadId})
	if abortErr != nil {
		abortErr = fmt.Errorf("upload %s is not ended: %w", aws.ToString(begun.UploadId), abortErr)
	}
	return nil, errors.Join(err, abortErr)
}

// sendParts sends the parts of an object, several at once.
func (s *Store) sendParts(ctx context.Context, key, upload *string, body io.ReaderAt, size int64) ([]types.CompletedPart, error) {
	partSize := max(s.o.PartSize, (size+maxParts-1)/maxParts)
	parts := make([]types.CompletedPart, (size+partSize-1)/partSize)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(s.o.Parts)
	for i := range parts {
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err // another part has failed
			}
			at := int64(i) * partSize
			n := min(partSize, size-at)
			number := int32(i + 1) // at most maxParts
			out, err := s.client.UploadPart(ctx, &s3.UploadPartInput{
				Bucket: &s.o.Bucket, Key: key, UploadId: upload, PartNumber: &number, Body: newExact(body, at, n), ContentLength: &n,
				ChecksumAlgorithm: types.ChecksumAlgorithmCrc32,
			})
			if err != nil {
				return fmt.Errorf("part %d: %w", number, err)
			}
			parts[i] = types.CompletedPart{PartNumber: &number, ETag: out.ETag, ChecksumCRC32: out.ChecksumCRC32}
			return nil
		})
	}
	return parts, g.Wait()
}

// exact is a section of a body that must be there whole.
type exact struct {
	io.SectionReader
	size int64
}

func newExact(body io.ReaderAt, off, n int64) *exact {
	return &exact{*io.NewSectionReader(body, off, n), n}
}

func (e *exact) Read(p []byte) (int, error) {
	n, err := e.SectionReader.Read(p)
	if errors.Is(err, io.EOF) {
		if at, _ := e.Seek(0, io.SeekCurrent); at < e.size {
			return n, fmt.Errorf("%w: the body ends early, %d of %d bytes into a part", remote.ErrSize, at, e.size)
		}
	}
	return n, err
}

// WriteTo hides that of io.SectionReader, which would not notice a missing end.
func (e *exact) WriteTo(w io.Writer) (int64, error) { return io.Copy(w, struct{ io.Reader }{e}) }
