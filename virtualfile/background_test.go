package virtualfile

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

// Reads of background work are cut into pieces, each of which is let through by itself, aligned, and one at a time.
func TestBackgroundReadsInPieces(t *testing.T) {
	const piece = 128 << 10
	const size = 5*piece + 3*BufferAlign
	d, err := NewDisk(NewMem(), DiskOptions{Mode: DirectRW, Validate: true})
	require.NoError(t, err)
	defer d.Close()
	f, err := d.Create("f")
	require.NoError(t, err)
	defer f.Close()
	buf := d.Buffers().Get(size)
	defer buf.Release()
	for i := range size {
		buf.Bytes()[i] = byte(i / 1000)
	}
	require.NoError(t, f.WriteAt(buf, 0, size, 0))
	want := append([]byte(nil), buf.Bytes()[:size]...)
	clear(buf.Bytes())

	var pieces []int
	before := d.Metrics().ReadBytes
	ctx := WithBackground(context.Background(), &Background{Transfer: piece, Wait: func(_ context.Context, n int) error {
		done := 0
		for _, p := range pieces {
			done += p
		}
		require.Equal(t, int64(done), d.Metrics().ReadBytes-before, "the piece before has been read")
		pieces = append(pieces, n)
		return nil
	}})
	r := []Read{{File: f, Buf: buf, Len: size}}
	require.NoError(t, d.ReadMulti(ctx, r))
	require.NoError(t, r[0].Err)
	require.Equal(t, size, r[0].N)
	require.Equal(t, want, buf.Bytes()[:size])
	require.Equal(t, []int{piece, piece, piece, piece, piece, 3 * BufferAlign}, pieces)

	stop := errors.New("stop")
	ctx = WithBackground(context.Background(), &Background{Transfer: piece, Wait: func(context.Context, int) error { return stop }})
	require.ErrorIs(t, d.ReadMulti(ctx, r), stop)
}
