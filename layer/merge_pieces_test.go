package layer

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stratapg/strata/cache"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

// pieceEntry is an entry of a layer that is divided.
type pieceEntry struct {
	key   page.Key
	lsn   page.LSN
	bytes int64
}

// newPieceLayer writes a delta with some leaves of entries.
func newPieceLayer(t *rapid.T, disk *virtualfile.Disk, blocks *cache.Blocks) (*Reader, []pieceEntry) {
	lsns := page.LSNRange{Start: 10, End: 1000}
	w, err := NewDeltaWriter(disk, "/", Identity{}, page.MinKey, lsns, 1, WriterOptions{})
	require.NoError(t, err)
	defer w.Abort()
	var all []pieceEntry
	e := pieceEntry{key: page.Key{F2: 1663, F4: 5}, lsn: lsns.Start}
	for range rapid.IntRange(1, 3000).Draw(t, "entries") {
		if step := rapid.SampledFrom([]uint32{0, 1, 1, 7, 1 << 30}).Draw(t, "step"); step > 0 || e.lsn == lsns.End-1 {
			e.key, e.lsn = e.key.Add(max(step, 1)), lsns.Start
		} else {
			e.lsn++
		}
		size := rapid.SampledFrom([]int{0, 1, 90, 3000}).Draw(t, "size")
		e.bytes = int64(size + 1)
		if size >= smallBlob {
			e.bytes = int64(size + longBlobHeader)
		}
		require.NoError(t, w.Add(e.key, e.lsn, false, make([]byte, size)))
		all = append(all, e)
	}
	d, err := w.Finish(context.Background(), page.MaxKey)
	require.NoError(t, err)
	r, err := OpenReader(context.Background(), disk, blocks, "/", Identity{}, d)
	require.NoError(t, err)
	return r, all
}

// Pieces begin at entries, in order, and have between them all that a layer has of the keys, and of the last leaf perhaps more.
func TestPieces(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		disk, err := virtualfile.NewDisk(virtualfile.NewMem(), virtualfile.DiskOptions{})
		require.NoError(t, err)
		defer disk.Close()
		blocks, err := cache.New(cache.Options{Bytes: 1 << 20})
		require.NoError(t, err)
		defer blocks.Close()
		r, all := newPieceLayer(t, disk, blocks)
		defer r.Close()
		keys := page.FullRange
		if rapid.Bool().Draw(t, "some keys") {
			keys.Start = all[rapid.IntRange(0, len(all)-1).Draw(t, "from")].key
			keys.End = all[rapid.IntRange(0, len(all)-1).Draw(t, "to")].key.Next()
		}
		size := rapid.Int64Range(1, 300_000).Draw(t, "bytes")
		pieces, err := r.Pieces(context.Background(), keys, size)
		require.NoError(t, err)

		var want, got, tail int64
		there := map[page.Key]bool{}
		for i := range all {
			switch e := &all[i]; {
			case keys.Contains(e.key):
				want += e.bytes
				there[e.key] = true
			case !e.key.Less(keys.End):
				tail += e.bytes
			}
		}
		for i, p := range pieces {
			require.True(t, there[p.First], "%s begins no entry of the keys", p.First)
			got += p.Bytes
			if i > 0 {
				require.False(t, p.First.Less(pieces[i-1].First))
				require.GreaterOrEqual(t, pieces[i-1].Bytes, size)
			} else {
				require.Equal(t, all[indexOfKey(all, keys.Start)].key, p.First)
			}
		}
		require.Equal(t, len(there) > 0, len(pieces) > 0)
		require.GreaterOrEqual(t, got, want)
		require.LessOrEqual(t, got, want+tail+blockSize, "what fills the last block counts")
	})
}

// indexOfKey gives the first entry at a key or above.
func indexOfKey(all []pieceEntry, k page.Key) int {
	for i := range all {
		if !all[i].key.Less(k) {
			return i
		}
	}
	return len(all)
}
