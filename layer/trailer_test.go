package layer

import (
	"encoding/binary"
	"testing"

	"github.com/cespare/xxhash/v2"
	"github.com/stretchr/testify/require"
)

// The document's footer is that of a file of three blocks under chunks of 1 KiB, whose summary is the
// document's too.
func TestDocumentsFooter(t *testing.T) {
	sum := docExample(t, "summary")
	sum = append(sum, make([]byte, blockSize-len(sum))...)
	ex := docExample(t, "footer")
	require.Len(t, ex, 52)
	b := append(append(ex[:44:44], make([]byte, blockSumAt-44)...), ex[44:]...)
	c, has, err := parseFooter("f", b, 5*blockSize)
	require.NoError(t, err)
	require.True(t, has)
	require.Equal(t, checksums{chunkSize: 1024, covered: 3 * blockSize, identity: xxhash.Sum64(sum), generation: 1}, c)
	require.Equal(t, b, c.appendFooter(nil))
	require.EqualValues(t, 24, binary.BigEndian.Uint64(b[24:]))
}
