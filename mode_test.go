package strata_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

// TestModeChangesAtRunTime: layers written in one mode are read beside those of another.
func TestModeChangesAtRunTime(t *testing.T) {
	e, tl := newTimeline(t, strata.Options{IOMode: virtualfile.Buffered})
	ctx := t.Context()
	lsn := page.LSN(0x1000)
	for _, mode := range []virtualfile.Mode{virtualfile.Buffered, virtualfile.DirectRW, virtualfile.Direct, virtualfile.Buffered} {
		require.NoError(t, e.SetIOMode(mode))
		require.Equal(t, mode, e.Metrics().Disk.Mode)
		lsn += 8
		putAt(t, tl, page.ControlFileKey, lsn, mode.String())
		require.NoError(t, tl.Flush(ctx))
		for at, want := range map[page.LSN]string{0x1008: "buffered", lsn: mode.String()} {
			v, err := tl.Get(ctx, page.ControlFileKey, at)
			require.NoError(t, err)
			require.Equal(t, want, string(v))
		}
	}
	require.Error(t, e.SetIOMode(9))
	require.Equal(t, virtualfile.Buffered, e.Metrics().Disk.Mode)
}
