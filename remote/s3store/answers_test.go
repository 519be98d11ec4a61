package s3store

import (
	"context"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/remote"
)

// scripted opens a store whose server answers as it is told.
func scripted(t *testing.T, answer http.HandlerFunc) (*Store, *httptest.Server) {
	for name, value := range map[string]string{"AWS_ACCESS_KEY_ID": "u", "AWS_SECRET_ACCESS_KEY": "s", "AWS_SESSION_TOKEN": "",
		"AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull, "AWS_EC2_METADATA_DISABLED": "true"} {
		t.Setenv(name, value)
	}
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	s, err := Open(t.Context(), Options{Bucket: "bucket", Endpoint: server.URL, Prefix: "p"})
	require.NoError(t, err)
	return s, server
}

// TestErrorsOfAServer: what a server says has one meaning, with a code or by the status alone, and only what may get better is retried.
func TestErrorsOfAServer(t *testing.T) {
	var status int
	var code string
	s, server := scripted(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(status)
		if r.Method != http.MethodHead && code != "" {
			_, _ = fmt.Fprintf(w, "<Error><Code>%s</Code><Message>so it is</Message></Error>", code)
		}
	})
	get := func() error {
		_, err := s.Get(t.Context(), "k", remote.GetOptions{})
		return err
	}
	head := func() error {
		_, err := s.Head(t.Context(), "k")
		return err
	}
	for _, c := range []struct {
		status int
		code   string
		want   error
		retry  bool
	}{
		{404, "NoSuchKey", remote.ErrNotFound, false},
		{412, "PreconditionFailed", remote.ErrExists, false},
		{416, "InvalidRange", remote.ErrRange, false},
		{503, "SlowDown", remote.ErrThrottled, true},
		{429, "TooManyRequests", remote.ErrThrottled, true},
		{500, "InternalError", remote.ErrUnavailable, true},
		{502, "", remote.ErrUnavailable, true},
		{403, "AccessDenied", remote.ErrDenied, false},
		{403, "SignatureDoesNotMatch", remote.ErrDenied, false},
		{501, "NotImplemented", remote.ErrUnsupported, false},
	} {
		status, code = c.status, c.code
		for name, err := range map[string]error{"get": get(), "head": head()} {
			require.ErrorIs(t, err, c.want, "%s %d %s", name, c.status, c.code)
			require.Equal(t, c.retry, remote.Retryable(err), "%s %d %s", name, c.status, c.code)
			require.ErrorContains(t, err, `"k"`)
		}
	}
	// The code says more than the status.
	for named, want := range map[string]error{"RequestTimeout": remote.ErrTimeout, "NoSuchBucket": remote.ErrInvalid, "ExpiredToken": remote.ErrDenied} {
		status, code = http.StatusBadRequest, named
		require.ErrorIs(t, get(), want, named)
	}
	server.Close()
	require.ErrorIs(t, get(), remote.ErrUnavailable, "nobody is there")
	require.True(t, remote.Retryable(get()))
}

// TestConnectionsThatBreak: an answer that ends early, and one that does not come, are faults that another attempt may overcome.
func TestConnectionsThatBreak(t *testing.T) {
	hang := make(chan struct{})
	s, _ := scripted(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead {
			select {
			case <-hang:
			case <-r.Context().Done():
			}
			return
		}
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, "only this")
	})
	defer close(hang)
	d, err := s.Get(t.Context(), "k", remote.GetOptions{})
	require.NoError(t, err)
	_, err = io.ReadAll(d.Body)
	require.ErrorIs(t, err, remote.ErrUnavailable)
	require.True(t, remote.Retryable(err))
	require.NoError(t, d.Body.Close())

	_, err = remote.Limit(s, remote.LimitOptions{SmallTimeout: time.Millisecond}).Head(t.Context(), "k")
	require.ErrorIs(t, err, remote.ErrTimeout)
	require.True(t, remote.Retryable(err))
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	_, err = s.Head(ctx, "k")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.False(t, remote.Retryable(err), "the caller has ended it")
}

// TestDeletesInBatches: no request names more than a thousand objects, and what it could not delete is told by name.
func TestDeletesInBatches(t *testing.T) {
	var mu sync.Mutex
	var sizes []int
	s, _ := scripted(t, func(w http.ResponseWriter, r *http.Request) {
		var asked struct {
			Object []struct{ Key string }
		}
		_ = xml.NewDecoder(r.Body).Decode(&asked)
		mu.Lock()
		sizes = append(sizes, len(asked.Object))
		nth := len(sizes)
		mu.Unlock()
		if nth == 3 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, "<DeleteResult>")
		for _, o := range asked.Object {
			if code, bad := map[string]string{"p/k7": "InternalError", "p/k8": "NoSuchKey", "p/k9": "Unheard"}[o.Key]; bad {
				_, _ = fmt.Fprintf(w, "<Error><Key>%s</Key><Code>%s</Code><Message>so it is</Message></Error>", o.Key, code)
			}
		}
		_, _ = io.WriteString(w, "</DeleteResult>")
	})
	keys := make([]string, 2500)
	for i := range keys {
		keys[i] = fmt.Sprintf("k%d", i)
	}
	err := s.Delete(t.Context(), keys...)
	require.Equal(t, []int{1000, 1000, 500}, sizes)
	var failed remote.KeyErrors
	require.ErrorAs(t, err, &failed)
	require.Len(t, failed, 502, "those of the third request, and two of the first")
	require.ErrorIs(t, failed["k7"], remote.ErrUnavailable)
	require.EqualError(t, failed["k9"], "Unheard: so it is")
	require.NotContains(t, failed, "k8", "what is not there is deleted")
	require.ErrorIs(t, failed["k2499"], remote.ErrThrottled)
}

// partsGo: an upload in parts that fails, or that meets an object where there is to be none, leaves neither an object nor
// parts, which would be paid for.
func partsGo(t *testing.T, server *testkit.S3) {
	s, err := Open(t.Context(), Options{Bucket: server.Bucket, Endpoint: server.Endpoint, PartSize: minPart})
	require.NoError(t, err)
	const size = minPart + 1
	_, err = s.Put(t.Context(), "short", strings.NewReader(strings.Repeat("x", minPart)), size, remote.PutOptions{})
	require.ErrorIs(t, err, remote.ErrSize)
	_, err = s.Head(t.Context(), "short")
	require.ErrorIs(t, err, remote.ErrNotFound)
	whole := strings.Repeat("y", size)
	_, err = s.Put(t.Context(), "whole", strings.NewReader(whole), size, remote.PutOptions{IfAbsent: true})
	require.NoError(t, err)
	_, err = s.Put(t.Context(), "whole", strings.NewReader(strings.ToUpper(whole)), size, remote.PutOptions{IfAbsent: true})
	require.ErrorIs(t, err, remote.ErrExists)
	d, err := s.Get(t.Context(), "whole", remote.GetOptions{Length: 1})
	require.NoError(t, err)
	b, err := io.ReadAll(d.Body)
	require.NoError(t, err)
	require.NoError(t, d.Body.Close())
	require.Equal(t, "y", string(b))
	left, err := s.client.ListMultipartUploads(t.Context(), &s3.ListMultipartUploadsInput{Bucket: &server.Bucket})
	require.NoError(t, err)
	require.Empty(t, left.Uploads)
	empty(t, s)
}

// zeros is a body that needs no memory.
type zeros struct{}

func (zeros) ReadAt(p []byte, _ int64) (int, error) {
	clear(p)
	return len(p), nil
}

// TestPartsOfAHugeObject: an object that would have more parts than S3 takes has larger ones.
func TestPartsOfAHugeObject(t *testing.T) {
	var first atomic.Int64
	s, _ := scripted(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Query().Has("uploads"):
			_, _ = io.WriteString(w, "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>")
		case r.Method == http.MethodPut:
			n, _ := io.Copy(io.Discard, r.Body)
			first.CompareAndSwap(0, n)
			w.WriteHeader(http.StatusForbidden)
		}
	})
	s.o.PartSize, s.o.Parts = 1000, 1
	_, err := s.Put(t.Context(), "k", zeros{}, 2000*maxParts, remote.PutOptions{})
	require.ErrorIs(t, err, remote.ErrDenied)
	require.GreaterOrEqual(t, first.Load(), int64(2000))
}
