package s3store

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/remote"
	"github.com/stratapg/strata/remote/remotetest"
)

// TestSuite runs the drivers' suite against a real server, with a prefix and without.
func TestSuite(t *testing.T) {
	server := testkit.StartS3(t)
	t.Run("parts of a failed put", func(t *testing.T) { partsGo(t, server) })
	for _, prefix := range []string{"", "deep/prefix"} {
		t.Run("prefix="+prefix, func(t *testing.T) {
			remotetest.Run(t, func(t *testing.T) remote.Storage {
				s, err := Open(t.Context(), Options{Bucket: server.Bucket, Endpoint: server.Endpoint, Prefix: prefix, PartSize: minPart})
				require.NoError(t, err)
				t.Cleanup(func() { empty(t, s) })
				return s
			}, remotetest.Options{Large: 12 << 20})
		})
	}
}

// empty removes what a test left.
func empty(t *testing.T, s *Store) {
	ctx := context.WithoutCancel(t.Context()) // which ended with the test
	var keys []string
	for e, err := range s.List(ctx, "", remote.ListOptions{}) {
		require.NoError(t, err)
		keys = append(keys, e.Key)
	}
	require.NoError(t, s.Delete(ctx, keys...))
}
