package wal

import (
	"fmt"
	"sync"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"

	"github.com/stratapg/strata/pg"
)

// RestoreImage makes the page of the stored image: decompressed, the hole filled with zeros. dst must have
// 8192 bytes; after an error its content means nothing. pd_lsn is left as it was in the image. Safe for
// concurrent use on different dst.
func (b *Block) RestoreImage(dst []byte) error {
	if err := b.restore(dst); err != nil {
		return fmt.Errorf("image of block %d of %v (block reference %d, %v): %w", b.Blkno, b.Rel, b.ID, b.Compression, err)
	}
	return nil
}

func (b *Block) restore(dst []byte) error {
	if !b.HasImage {
		return fmt.Errorf("the record has none")
	}
	if len(dst) != pg.BlockSize {
		return fmt.Errorf("restoring to %d bytes, want %d", len(dst), pg.BlockSize)
	}
	hole, length := int(b.HoleOffset), int(b.HoleLength)
	if hole+length > pg.BlockSize {
		return fmt.Errorf("hole of %d bytes at %d", length, hole)
	}
	// The bytes without the hole come to stand at the front; then those behind the hole move up.
	packed := dst[:pg.BlockSize-length]
	if b.Compression == Uncompressed {
		if len(b.Image) != len(packed) {
			return fmt.Errorf("%d bytes, want %d", len(b.Image), len(packed))
		}
		copy(dst, b.Image[:hole])
		copy(dst[hole+length:], b.Image[hole:])
	} else {
		if err := decompress(b.Compression, packed, b.Image); err != nil {
			return err
		}
		copy(dst[hole+length:], packed[hole:])
	}
	clear(dst[hole : hole+length])
	return nil
}

// decompress fills dst exactly.
func decompress(c Compression, dst, src []byte) error {
	switch c {
	case PGLZ:
		return pglzDecompress(dst, src)
	case LZ4:
		n, err := lz4.UncompressBlock(src, dst)
		if err != nil {
			return err
		}
		return wantLen(n, dst)
	case Zstd:
		return zstdDecompress(dst, src)
	}
	return fmt.Errorf("unknown method")
}

func wantLen(n int, dst []byte) error {
	if n != len(dst) {
		return fmt.Errorf("decompresses to %d bytes, want %d", n, len(dst))
	}
	return nil
}

// zstdDecoder serves all goroutines; it starts none and refuses what would be larger than a page.
var zstdDecoder = sync.OnceValues(func() (*zstd.Decoder, error) {
	return zstd.NewReader(nil, zstd.WithDecoderMaxMemory(zstdMaxMemory), zstd.WithDecoderMaxWindow(zstdMaxWindow))
})

// A page decompresses to at most 8 KiB, for which PostgreSQL's zstd uses a window not much larger.
const (
	zstdMaxMemory = 1 << 20
	zstdMaxWindow = 8 << 20
)

func zstdDecompress(dst, src []byte) error {
	dec, err := zstdDecoder()
	if err != nil {
		return err
	}
	out, err := dec.DecodeAll(src, dst[:0:len(dst)])
	if err != nil {
		return err
	}
	if len(out) > 0 && &out[0] != &dst[0] {
		return fmt.Errorf("decompresses to %d bytes, want %d", len(out), len(dst))
	}
	return wantLen(len(out), dst)
}
