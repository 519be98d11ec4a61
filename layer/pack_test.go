package layer

import (
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/page"
)

// TestLightFrames: at level 1 what is a quarter of its size without entropy coding stays without, everything else has it; at
// higher levels everything has it. Each is read as what was written.
func TestLightFrames(t *testing.T) {
	r := testkit.Rand(t, 1)
	alike := make([]byte, blockSize)
	for at := range alike {
		alike[at] = byte(at % 100 / 9 * 13) // long matches
	}
	var text []byte // few letters, short matches
	for len(text) < blockSize {
		text = append(text, []string{"layer ", "delta and ", "image", "\nthe LSN of ", "key: "}[r.IntN(5)]...)
		text = append(text, "etaoinshrdlu"[r.IntN(12)], "etaoinshrdlu"[r.IntN(12)], "etaoinshrdlu"[r.IntN(12)])
	}
	text = text[:blockSize]
	noise := make([]byte, blockSize)
	for at := range noise {
		noise[at] = byte(r.Uint32())
	}
	encoded := func(level int, light bool, b []byte) []byte {
		e, err := encoderFor(zstd.EncoderLevelFromZstd(level), light)
		require.NoError(t, err)
		defer e.release()
		return e.EncodeAll(b, nil)
	}
	require.Less(t, len(encoded(1, true, alike)), blockSize/lightShare)
	require.Less(t, len(encoded(1, false, text)), len(encoded(1, true, text)))
	for _, level := range []int{0, 1, 2, 5} {
		p := newPacker(level)
		var images [][]byte
		var wanted [][]byte
		for _, image := range [][]byte{alike, alike, text, alike, alike, noise, alike, text, text, alike} {
			images = append(images, image)
			require.Empty(t, p.add(page.Key{}, image))
		}
		// After one that is not light the next one has entropy coding; that one being small, light ones follow.
		for i, light := range []bool{true, true, false, false, true, false, false, false, false, false} {
			wanted = append(wanted, encoded(max(level, 1), light && level <= 1, images[i]))
		}
		batches := p.flush()
		require.Len(t, batches, 1)
		b := batches[0]
		<-b.done
		require.NoError(t, b.err)
		for i, image := range images {
			s := b.stored(i)
			if len(wanted[i]) >= blockSize {
				require.Equal(t, Stored{Data: image}, s)
				continue
			}
			require.Equal(t, Stored{Data: wanted[i], Zstd: true}, s, "level %d, image %d", level, i)
			for _, verified := range []bool{false, true} {
				got, err := decompress(s.Data, verified, func(n int) []byte { return make([]byte, n) })
				require.NoError(t, err)
				require.Equal(t, image, got)
			}
		}
	}
}

// TestDamagedFrames: a frame whose content is not what was written is found by its own checksum, unless the bytes have been
// verified otherwise.
func TestDamagedFrames(t *testing.T) {
	e, err := encoderFor(zstd.SpeedFastest, true)
	require.NoError(t, err)
	defer e.release()
	frame := e.EncodeAll(make([]byte, blockSize), nil)
	frame[len(frame)-1] ^= 1
	alloc := func(n int) []byte { return make([]byte, n) }
	_, err = decompress(frame, false, alloc)
	require.ErrorIs(t, err, zstd.ErrCRCMismatch)
	got, err := decompress(frame, true, alloc)
	require.NoError(t, err)
	require.Equal(t, make([]byte, blockSize), got)
}
