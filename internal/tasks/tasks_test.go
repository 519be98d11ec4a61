package tasks

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestStopCancelsWaitsAndRefuses(t *testing.T) {
	g := New()
	ended := false
	require.NoError(t, g.Go(func(ctx context.Context) {
		<-ctx.Done()
		ended = true
	}))
	g.Stop()
	require.True(t, ended)
	require.ErrorIs(t, g.Go(func(context.Context) {}), ErrStopped)
	g.Stop()
}
