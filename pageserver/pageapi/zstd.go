package pageapi

import (
	"io"
	"sync"

	"github.com/klauspost/compress/zstd"
	"google.golang.org/grpc/encoding"
)

// zstdName is how clients ask for the compression, besides gzip.
const zstdName = "zstd"

// windowMost bounds the memory for a message of a client. What it grows to is bounded by Config.MaxMessage.
const windowMost = 1 << 20

// zstdCompressor compresses messages, and takes apart those of clients. Coders are kept between messages.
type zstdCompressor struct{ writers, readers sync.Pool }

// gRPC takes compressors at the start of a program alone. One that the program has registered itself stays.
func init() {
	if encoding.GetCompressor(zstdName) == nil {
		encoding.RegisterCompressor(&zstdCompressor{})
	}
}

// Name implements encoding.Compressor.
func (*zstdCompressor) Name() string { return zstdName }

// Compress implements encoding.Compressor.
func (c *zstdCompressor) Compress(w io.Writer) (io.WriteCloser, error) {
	e, _ := c.writers.Get().(*zstd.Encoder)
	if e == nil {
		var err error
		if e, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(windowMost)); err != nil {
			return nil, err
		}
	}
	e.Reset(w)
	return &zstdWriter{e, c}, nil
}

type zstdWriter struct {
	*zstd.Encoder
	c *zstdCompressor
}

// Close ends the message.
func (w *zstdWriter) Close() error {
	err := w.Encoder.Close()
	w.Reset(nil)
	w.c.writers.Put(w.Encoder)
	return err
}

// Decompress implements encoding.Compressor.
func (c *zstdCompressor) Decompress(r io.Reader) (io.Reader, error) {
	d, _ := c.readers.Get().(*zstd.Decoder)
	if d == nil {
		var err error
		if d, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(windowMost)); err != nil {
			return nil, err
		}
	}
	if err := d.Reset(r); err != nil {
		return nil, err
	}
	return &zstdReader{d, c}, nil
}

type zstdReader struct {
	*zstd.Decoder
	c *zstdCompressor
}

// Read gives the decoder back at the message's end. gRPC reads no further then.
func (r *zstdReader) Read(b []byte) (int, error) {
	if r.Decoder == nil {
		return 0, io.EOF
	}
	n, err := r.Decoder.Read(b)
	if err != nil {
		_ = r.Reset(nil)
		r.c.readers.Put(r.Decoder)
		r.Decoder = nil
	}
	return n, err
}
