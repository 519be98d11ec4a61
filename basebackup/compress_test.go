package basebackup

import (
	"bytes"
	"compress/gzip"
	"io"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/pg"
)

// A compressed archive is the archive, and its length is told as it was written.
func TestCompression(t *testing.T) {
	m := small(pg.V16, true)
	_, want := full(t, m, Options{LSN: smallLSN, Version: pg.V16})
	all := []string{"zstd:1", "gzip", "none", "gzip:9", "zstd", "zstd:19"}
	for _, s := range all[:testkit.Size(2, len(all), len(all))] {
		c, err := ParseCompression(s)
		require.NoError(t, err)
		var b bytes.Buffer
		r, err := Write(t.Context(), &b, m, Options{LSN: smallLSN, Version: pg.V16, Compression: c})
		require.NoError(t, err)
		require.EqualValues(t, b.Len(), r.Bytes, s)
		var plain io.Reader = &b
		switch c.Algorithm {
		case Gzip:
			plain, err = gzip.NewReader(&b)
		case Zstd:
			var d *zstd.Decoder
			d, err = zstd.NewReader(&b)
			defer d.Close()
			plain = d
		}
		require.NoError(t, err)
		got, err := io.ReadAll(plain)
		require.NoError(t, err)
		require.True(t, bytes.Equal(want, got), s)
		if s != "none" {
			require.Less(t, r.Bytes, int64(len(want)/20), s)
		}
	}
}

func TestCompressionRefused(t *testing.T) {
	for _, s := range []string{"", "lz4", "none:1", "gzip:0", "gzip:10", "gzip:x", "gzip:", "zstd:23", "zstd:-1"} {
		_, err := ParseCompression(s)
		require.Error(t, err, s)
	}
	_, err := Write(t.Context(), io.Discard, small(pg.V16, true), Options{LSN: smallLSN, Version: pg.V16, Compression: Compression{Algorithm: 7}})
	require.ErrorContains(t, err, "algorithm 7")
}

// A failing destination fails a compressed backup, also where all of it fits into the compressor's memory.
func TestCompressionFails(t *testing.T) {
	for _, s := range []string{"gzip", "zstd"} {
		c, err := ParseCompression(s)
		require.NoError(t, err)
		_, err = Write(t.Context(), &limited{10, io.ErrShortWrite}, small(pg.V16, true), Options{LSN: smallLSN, Version: pg.V16, Compression: c})
		require.ErrorIs(t, err, io.ErrShortWrite, s)
	}
}
