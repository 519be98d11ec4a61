package s3store

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go/logging"

	"github.com/stratapg/strata/remote"
)

// Options say which bucket, and how it is used. Bucket must be set.
type Options struct {
	Bucket string
	// Prefix comes before every key, with a slash between; default none.
	Prefix string
	// Region is that of the bucket; default what the environment or the profile says, or us-east-1 with an Endpoint.
	Region string
	// Endpoint is the address of a server other than AWS's, as http://127.0.0.1:9000.
	Endpoint string
	// Profile is one of the shared configuration; default what the environment says.
	Profile string
	// StorageClass of what is put; default the bucket's.
	StorageClass string
	// PartSize is what is sent in one request, and more in several; at least 5 MiB, default 16 MiB, raised for objects that
	// would have more than 10,000 parts.
	PartSize int64
	// Parts is how many parts of an object are sent at once; default 4. Each takes a small buffer only.
	Parts int
}

// Bounds of S3.
const (
	minPart      = 5 << 20
	maxParts     = 10_000
	maxDelete    = 1000
	defaultPart  = 16 << 20
	defaultParts = 4
)

func (o Options) withDefaults() (Options, error) {
	if o.PartSize == 0 {
		o.PartSize = defaultPart
	}
	if o.Parts == 0 {
		o.Parts = defaultParts
	}
	o.Prefix = strings.Trim(o.Prefix, "/")
	if o.Region == "" && o.Endpoint != "" {
		o.Region = "us-east-1"
	}
	var errs []error
	if o.Bucket == "" {
		errs = append(errs, fmt.Errorf("%w: Bucket must be set", remote.ErrInvalid))
	}
	if o.PartSize < minPart {
		errs = append(errs, fmt.Errorf("%w: PartSize is %d: S3 wants at least %d", remote.ErrInvalid, o.PartSize, minPart))
	}
	if o.Parts < 1 {
		errs = append(errs, fmt.Errorf("%w: Parts is %d: must be positive", remote.ErrInvalid, o.Parts))
	}
	return o, errors.Join(errs...)
}

// Store is a bucket, or what of it lies below a prefix.
type Store struct {
	o      Options
	client *s3.Client
	prefix string // "" or with a slash at its end
}

var _ remote.Storage = (*Store)(nil)

// Open looks for credentials. It sends nothing to the bucket.
func Open(ctx context.Context, o Options) (*Store, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	load := []func(*config.LoadOptions) error{config.WithRetryer(func() aws.Retryer { return aws.NopRetryer{} })}
	if o.Region != "" {
		load = append(load, config.WithRegion(o.Region))
	}
	if o.Profile != "" {
		load = append(load, config.WithSharedConfigProfile(o.Profile))
	}
	c, err := config.LoadDefaultConfig(ctx, load...)
	if err != nil {
		return nil, fmt.Errorf("configuration of S3: %w", err)
	}
	if c.Region == "" {
		return nil, fmt.Errorf("%w: the region of bucket %s is not known: set Region or AWS_REGION", remote.ErrInvalid, o.Bucket)
	}
	s := &Store{o: o, client: s3.NewFromConfig(c, func(so *s3.Options) {
		so.Logger, so.DisableLogOutputChecksumValidationSkipped = logging.Nop{}, true
		if o.Endpoint != "" {
			so.BaseEndpoint, so.UsePathStyle = &o.Endpoint, true
		}
	})}
	if o.Prefix != "" {
		s.prefix = o.Prefix + "/"
	}
	return s, nil
}

// Close does nothing: connections that are idle end by themselves.
func (s *Store) Close() error { return nil }

// key gives an object's key in the bucket.
func (s *Store) key(key string) (*string, error) {
	if err := remote.CheckKey(key); err != nil {
		return nil, err
	}
	full := s.prefix + key
	if len(full) > remote.MaxKeyLen {
		return nil, fmt.Errorf("%w: with the prefix the key has %d bytes, and S3 takes %d", remote.ErrInvalid, len(full), remote.MaxKeyLen)
	}
	return &full, nil
}

// Head gives what is known of an object.
func (s *Store) Head(ctx context.Context, key string) (o remote.Object, err error) {
	k, err := s.key(key)
	if err != nil {
		return o, remote.Wrap("head", key, err)
	}
	out, err := s.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &s.o.Bucket, Key: k})
	if err != nil {
		return o, remote.Wrap("head", key, reason(ctx, err))
	}
	return remote.Object{Key: key, Size: aws.ToInt64(out.ContentLength), ETag: aws.ToString(out.ETag), Modified: aws.ToTime(out.LastModified)}, nil
}

// Copy makes an object of another's bytes, up to the 5 GiB that S3 copies in one request.
func (s *Store) Copy(ctx context.Context, from, to string) error {
	src, err := s.key(from)
	if err != nil {
		return remote.Wrap("copy", from, err)
	}
	dst, err := s.key(to)
	if err != nil {
		return remote.Wrap("copy", to, err)
	}
	in := &s3.CopyObjectInput{Bucket: &s.o.Bucket, Key: dst, CopySource: aws.String(escapePath(s.o.Bucket + "/" + *src)), StorageClass: types.StorageClass(s.o.StorageClass)}
	_, err = s.client.CopyObject(ctx, in)
	return remote.Wrap("copy", from, reason(ctx, err))
}

// Delete removes objects, a thousand in a request.
func (s *Store) Delete(ctx context.Context, keys ...string) error {
	failed := remote.KeyErrors{}
	names := map[string]string{} // of the bucket's keys
	var batch []types.ObjectIdentifier
	flush := func() {
		if len(batch) == 0 {
			return
		}
		s.deleteBatch(ctx, batch, names, failed)
		batch = batch[:0]
		clear(names)
	}
	for _, key := range keys {
		k, err := s.key(key)
		if err != nil {
			failed[key] = err
			continue
		}
		if _, twice := names[*k]; twice {
			continue
		}
		names[*k] = key
		if batch = append(batch, types.ObjectIdentifier{Key: k}); len(batch) == maxDelete {
			flush()
		}
	}
	flush()
	if len(failed) > 0 {
		return remote.Wrap("delete", keys[0], failed)
	}
	return nil
}

func (s *Store) deleteBatch(ctx context.Context, batch []types.ObjectIdentifier, names map[string]string, failed remote.KeyErrors) {
	out, err := s.client.DeleteObjects(ctx, &s3.DeleteObjectsInput{Bucket: &s.o.Bucket, Delete: &types.Delete{Objects: batch, Quiet: aws.Bool(true)}})
	if err != nil {
		err = reason(ctx, err)
		for _, name := range names {
			failed[name] = err
		}
		return
	}
	for _, e := range out.Errors {
		err := fmt.Errorf("%s: %s", aws.ToString(e.Code), aws.ToString(e.Message))
		if is := byCode(aws.ToString(e.Code)); is != nil {
			err = fmt.Errorf("%w (%w)", is, err)
		}
		if !errors.Is(err, remote.ErrNotFound) {
			failed[names[aws.ToString(e.Key)]] = err
		}
	}
}
