package timeline

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

// TestKeysOfAncestorsNeedNoTurn: a job of a branch asks which keys its ancestor's layers hold while it has a lane, and the
// ancestor's compactor waits for a lane while it has its turn. Neither may wait for the other.
func TestKeysOfAncestorsNeedNoTurn(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tl := newTestTimeline(t, readEnv(t, virtualfile.NewMem(), "store", nil), "store", "main", readFirst, nil)
	require.NoError(t, putOne(tl, blockKey(3), []byte("page")))
	require.NoError(t, tl.Flush(ctx))
	branch, err := tl.Branch(ctx, "store", "branch", page.TimelineID{9}, tl.LastRecordLSN())
	require.NoError(t, err)
	defer func() { require.NoError(t, branch.Close()) }()

	require.NoError(t, tl.compact.turn.take(ctx))
	defer tl.compact.turn.give()
	keys, err := branch.heldKeys(ctx)
	require.NoError(t, err)
	require.True(t, keys.Contains(blockKey(3)))
}
