package layer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/stratapg/strata/page"
)

// A blob is a stored value behind a header of one or four bytes; the length counts the bytes as stored:
//
//	0LLLLLLL                                  under 128 bytes, as they are
//	1000LLLL LLLLLLLL LLLLLLLL LLLLLLLL (BE)  up to 2^28-1 bytes, as they are
//	1001LLLL LLLLLLLL LLLLLLLL LLLLLLLL (BE)  a zstd frame of that many bytes
//
// Source: Neon, pageserver/src/tenant/blob_io.rs (whose comment names another bit for zstd than its code).
const (
	smallBlob      = 128
	longBlobHeader = 4
	blobPlain      = 0x80
	blobZstd       = 0x90
	blobKindMask   = 0xF0
	maxBlob        = page.MaxValueSize
)

// Stored is a blob's content as it lies in a file.
type Stored struct {
	Data []byte
	// Zstd says that Data is a zstd frame.
	Zstd bool
}

// Plain gives the content of the blob: Data itself or, decompressed, a slice of room, which grows if need be.
func (s Stored) Plain(room []byte) ([]byte, error) {
	if !s.Zstd {
		return s.Data, nil
	}
	return decompress(s.Data, false, func(n int) []byte { return slices.Grow(room[:0], n)[:n] })
}

// appendBlobHeader appends the header of a blob of n stored bytes. Compressed ones have the long form.
func appendBlobHeader(dst []byte, n int, isZstd bool) []byte {
	switch {
	case isZstd:
		return binary.BigEndian.AppendUint32(dst, blobZstd<<24|uint32(n))
	case n < smallBlob:
		return append(dst, byte(n))
	}
	return binary.BigEndian.AppendUint32(dst, blobPlain<<24|uint32(n))
}

// blobHeader reads a header from the start of b: its own length, the stored length behind it, and whether
// that is compressed. The caller checks that the stored length fits.
func blobHeader(b []byte) (header, stored int, isZstd bool, err error) {
	if len(b) == 0 {
		return 0, 0, false, errors.New("no room for a blob header")
	}
	if b[0] < blobPlain {
		return 1, int(b[0]), false, nil
	}
	if len(b) < longBlobHeader {
		return 0, 0, false, errors.New("no room for a blob header of 4 bytes")
	}
	v := binary.BigEndian.Uint32(b)
	switch b[0] & blobKindMask {
	case blobPlain, blobZstd:
		return longBlobHeader, int(v & maxBlob), b[0]&blobKindMask == blobZstd, nil
	}
	return 0, 0, false, fmt.Errorf("unknown blob kind 0x%02X", b[0]&blobKindMask)
}

// parseBlob takes the blob at the start of b, which may be followed by other bytes.
func parseBlob(b []byte) (s Stored, size int, err error) {
	h, n, isZstd, err := blobHeader(b)
	if err != nil {
		return Stored{}, 0, err
	}
	if n > len(b)-h {
		return Stored{}, 0, fmt.Errorf("blob of %d bytes, only %d are there", n, len(b)-h)
	}
	return Stored{Data: b[h : h+n : h+n], Zstd: isZstd}, h + n, nil
}

// decoders are kept because a zstd decoder is some 100 KiB of tables. The second ones leave the checksums of contents alone.
var decoders = [2]sync.Pool{{New: newDecoder(false)}, {New: newDecoder(true)}}

func newDecoder(verified bool) func() any {
	return func() any {
		d, err := zstd.NewReader(nil,
			zstd.IgnoreChecksum(verified),
			zstd.WithDecoderConcurrency(1),
			zstd.WithDecoderMaxMemory(maxBlob+1),
			zstd.WithDecodeAllCapLimit(true))
		if err != nil {
			return err
		}
		return d
	}
}

// usualImage is room for what most images are: a page, or a commit log page with its time stamp.
const usualImage = blockSize + 8

// decompress gives the content of a zstd frame in a buffer from alloc. Frames need not say how long their
// content is: then the room grows until it fits or is beyond what a value may be. verified says that src is what was
// written, by other checksums than the frame's.
func decompress(src []byte, verified bool, alloc func(int) []byte) ([]byte, error) {
	pool := &decoders[0]
	if verified {
		pool = &decoders[1]
	}
	got := pool.Get()
	d, ok := got.(*zstd.Decoder)
	if !ok {
		return nil, got.(error)
	}
	defer pool.Put(d)
	room, most := usualImage, mostContent(len(src))
	var h zstd.Header
	if err := h.Decode(src); err == nil && h.HasFCS {
		if h.FrameContentSize > uint64(most) {
			return nil, fmt.Errorf("zstd frame of %d bytes content, at most %d are possible in %d", h.FrameContentSize, most, len(src))
		}
		room = int(min(h.FrameContentSize, maxExpansion*uint64(len(src))))
	}
	for {
		out, err := d.DecodeAll(src, alloc(room)[:0])
		if err == nil {
			return out, nil
		}
		if !errors.Is(err, zstd.ErrDecoderSizeExceeded) || room >= most {
			return nil, fmt.Errorf("zstd: %w", err)
		}
		room = min(max(room, usualImage)*growRoom, most)
	}
}

// maxExpansion bounds what a frame's own claim makes us allocate before a byte is decoded; growRoom is the
// step when that, or the first guess, was not enough.
const (
	maxExpansion = 1024
	growRoom     = 8
	// A frame is made of blocks of four bytes at the least, each of which becomes 128 KiB at the most.
	minZstdBlock = 4
	maxZstdBlock = 128 << 10
)

// mostContent gives how much a frame of n bytes can hold at the most, whatever it says of itself.
func mostContent(n int) int {
	if n/minZstdBlock >= maxBlob/maxZstdBlock {
		return maxBlob
	}
	return max(n/minZstdBlock, 1) * maxZstdBlock
}
