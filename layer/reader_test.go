package layer

import (
	"context"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/cache"
	"github.com/stratapg/strata/virtualfile"
)

// testBlocks is the block cache of all tests: small, so that blocks are evicted.
var testBlocks = func() *cache.Blocks {
	c, err := cache.New(cache.Options{Bytes: 64 * blockSize})
	if err != nil {
		panic(err)
	}
	return c
}()

// openOn opens a layer on a Disk of its own, which lasts as long as the test.
func openOn(t require.TestingT, fs virtualfile.FS, dir string, id Identity, d Desc) (*Reader, error) {
	return OpenReader(context.Background(), diskFor(t, fs), testBlocks, dir, id, d)
}
