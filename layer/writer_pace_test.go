package layer

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

// A writer tells its pace of all that comes behind the values, in small steps, and gives up where the pace does.
func TestWriterPace(t *testing.T) {
	const entries, size = 40_000, 20
	fsys := virtualfile.NewMem()
	disk := diskFor(t, fsys)
	var told int64
	var steps int
	errEnough := errors.New("enough")
	write := func(most int) (Desc, error) {
		told, steps = 0, 0
		pace := func(_ context.Context, bytes int) error {
			require.LessOrEqual(t, bytes, PaceStep)
			if steps++; steps > most {
				return errEnough
			}
			told += int64(bytes)
			return nil
		}
		w, err := NewDeltaWriter(disk, "/", testID, page.MinKey, page.LSNRange{Start: 8, End: 16}, 1, WriterOptions{Pace: pace})
		require.NoError(t, err)
		defer w.Abort()
		for i := range entries {
			require.NoError(t, w.Add(modelKey(i), 8, true, make([]byte, size)))
		}
		require.Zero(t, told, "of values the caller knows")
		return w.Finish(context.Background(), modelKey(entries))
	}
	_, err := write(2)
	require.ErrorIs(t, err, errEnough)
	names, err := fsys.List("/")
	require.NoError(t, err)
	require.Empty(t, names)

	d, err := write(1 << 20)
	require.NoError(t, err)
	values := toBlock(dataStart + entries*(size+1))
	require.Greater(t, told, int64(2*PaceStep))
	require.InDelta(t, d.Size-values, told, blockSize, "but for the last block of the trailer")
}
