package source

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// suffixes of compressed archives.
var suffixes = []string{".gz", ".tgz", ".zst"}

func trimCompression(name string) string {
	if n, ok := strings.CutSuffix(name, ".tgz"); ok {
		return n + ".tar"
	}
	for _, s := range suffixes {
		name = strings.TrimSuffix(name, s)
	}
	return name
}

// Marks that compressed files begin with.
var (
	gzipMark = []byte{0x1F, 0x8B}
	zstdMark = []byte{0x28, 0xB5, 0x2F, 0xFD}
	lz4Mark  = []byte{0x04, 0x22, 0x4D, 0x18}
	xzMark   = []byte{0xFD, '7', 'z', 'X', 'Z'}
)

// markSize is how many bytes tell how a file is compressed.
const markSize = 6

// Compressed says whether a file that begins so has to be unpacked; it refuses what nobody here can unpack.
func Compressed(head []byte) (bool, error) {
	switch {
	case bytes.HasPrefix(head, gzipMark), bytes.HasPrefix(head, zstdMark):
		return true, nil
	case bytes.HasPrefix(head, lz4Mark), bytes.HasPrefix(head, xzMark):
		return false, errors.New("compressed with LZ4 or xz: tars may be plain, gzip or zstd; decompress it first")
	}
	return false, nil
}

// CompressedAt is Compressed of what a reader begins with.
func CompressedAt(ctx context.Context, r ReaderAt, size int64) (bool, error) {
	head := make([]byte, min(markSize, size))
	if err := r.ReadAt(ctx, head, 0); err != nil {
		return false, err
	}
	return Compressed(head)
}

// maxWindow bounds the memory that a zstd stream may ask for.
const maxWindow = 256 << 20

// copyBytes is how much Unpack has in memory at once, beside what the decoder has.
const copyBytes = 1 << 20

// Unpack writes the plain form of what r gives, which may be compressed with gzip or zstd, to w, and gives its length.
func Unpack(ctx context.Context, w io.Writer, r io.Reader) (n int64, err error) {
	br := bufio.NewReaderSize(&checked{ctx, r}, copyBytes)
	head, err := br.Peek(markSize)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	packed, err := Compressed(head)
	if err != nil {
		return 0, err
	}
	in := io.Reader(br)
	switch {
	case packed && bytes.HasPrefix(head, gzipMark):
		z, err := gzip.NewReader(br)
		if err != nil {
			return 0, fmt.Errorf("gzip: %w", err)
		}
		in = z
	case packed:
		z, err := zstd.NewReader(br, zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderConcurrency(2))
		if err != nil {
			return 0, fmt.Errorf("zstd: %w", err)
		}
		defer z.Close()
		in = z
	}
	return io.CopyBuffer(onlyWriter{w}, onlyReader{in}, make([]byte, copyBytes))
}

// onlyWriter and onlyReader keep io.Copy from shortcuts that do not look at the context.
type (
	onlyWriter struct{ io.Writer }
	onlyReader struct{ io.Reader }
)

// checked ends with its context.
type checked struct {
	ctx context.Context
	r   io.Reader
}

func (c *checked) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
