package s3store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"

	"github.com/stratapg/strata/remote"
)

// reason gives an error of the SDK the sentinel that it stands for. Of nil it is nil.
func reason(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("%w (%w)", ctx.Err(), err)
	case errors.Is(err, remote.ErrSize):
		return err
	}
	var api smithy.APIError
	if errors.As(err, &api) {
		if is := byCode(api.ErrorCode()); is != nil {
			return fmt.Errorf("%w (%w)", is, err)
		}
	}
	var response *awshttp.ResponseError
	if errors.As(err, &response) {
		if is := byStatus(response.HTTPStatusCode()); is != nil {
			return fmt.Errorf("%w (%w)", is, err)
		}
	}
	var network net.Error
	var address *url.Error
	switch {
	case errors.As(err, &network) && network.Timeout():
		return fmt.Errorf("%w (%w)", remote.ErrTimeout, err)
	case errors.As(err, &network), errors.As(err, &address), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed):
		return fmt.Errorf("%w (%w)", remote.ErrUnavailable, err)
	}
	return err
}

// byCode knows the codes of S3's error responses
// (https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html). Nil is for the others. ServiceUnavailable is also what the SDK
// makes of a SlowDown without a text, as those to HEAD are.
func byCode(code string) error {
	switch code {
	case "NoSuchKey", "NotFound":
		return remote.ErrNotFound
	case "PreconditionFailed":
		return remote.ErrExists
	case "NotModified":
		return remote.ErrUnmodified
	case "InvalidRange":
		return remote.ErrRange
	case "SlowDown", "ServiceUnavailable", "Throttling", "ThrottlingException", "TooManyRequests", "RequestLimitExceeded":
		return remote.ErrThrottled
	case "RequestTimeout":
		return remote.ErrTimeout
	case "InternalError", "OperationAborted", "ConditionalRequestConflict", "NoSuchUpload":
		return remote.ErrUnavailable
	case "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "AccountProblem":
		return remote.ErrDenied
	case "NotImplemented", "MethodNotAllowed":
		return remote.ErrUnsupported
	case "NoSuchBucket", "InvalidBucketName", "PermanentRedirect", "EntityTooLarge", "InvalidRequest", "InvalidArgument":
		return remote.ErrInvalid
	}
	return nil
}

// byStatus knows HTTP's statuses, for answers without a code: those to HEAD have none.
func byStatus(status int) error {
	switch {
	case status == http.StatusNotFound:
		return remote.ErrNotFound
	case status == http.StatusNotModified:
		return remote.ErrUnmodified
	case status == http.StatusPreconditionFailed:
		return remote.ErrExists
	case status == http.StatusRequestedRangeNotSatisfiable:
		return remote.ErrRange
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return remote.ErrDenied
	case status == http.StatusTooManyRequests, status == http.StatusServiceUnavailable:
		return remote.ErrThrottled
	case status == http.StatusRequestTimeout:
		return remote.ErrTimeout
	case status == http.StatusNotImplemented:
		return remote.ErrUnsupported
	case status >= http.StatusInternalServerError:
		return remote.ErrUnavailable
	}
	return nil
}

// escapePath escapes what may not stand in a header's path, and leaves the slashes.
func escapePath(p string) string {
	steps := strings.Split(p, "/")
	for i := range steps {
		steps[i] = url.PathEscape(steps[i])
	}
	return strings.ReplaceAll(strings.Join(steps, "/"), "+", "%2B")
}
