package layer

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/stratapg/strata/cache"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

// Reader reads one layer file. It holds no descriptor and next to no memory: the Disk and the block cache
// do. All methods but Close may be called concurrently.
type Reader struct {
	file   *virtualfile.Handle
	blocks *cache.Blocks
	id     uint64 // of the file in blocks
	desc   Desc
	sum    summary
	sums   checksums // if desc.Checked
	keyLen int
	closed atomic.Bool
}

// OpenReader opens the layer d in dir and checks the file's length (against d.Size if that is known), its
// summary against the name and the tenant, and its integrity trailer, which must be there if d.Checked. A
// file that is missing gives fs.ErrNotExist, one that cannot be the layer ErrCorrupt.
func OpenReader(ctx context.Context, disk *virtualfile.Disk, blocks *cache.Blocks, dir string, id Identity, d Desc) (*Reader, error) {
	f, err := disk.Open(filepath.Join(dir, d.FileName()))
	if err != nil {
		return nil, err
	}
	r := &Reader{file: f, blocks: blocks, id: cache.NewFile(), desc: d, keyLen: page.KeySize}
	if !d.Image {
		r.keyLen = deltaKeyLen
	}
	if err := r.open(ctx, id); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return r, nil
}

// open reads the first block and the last, which say all there is to know of the file.
func (r *Reader) open(ctx context.Context, id Identity) error {
	size, err := r.file.Size()
	if err != nil {
		return err
	}
	if err := checkSize(r.file.Name(), r.desc, size); err != nil {
		return err
	}
	buf := r.file.Disk().Buffers().Get(2 * blockSize)
	defer buf.Release()
	reads := []virtualfile.Read{
		{File: r.file, Buf: buf, Len: blockSize},
		{File: r.file, Off: size - blockSize, Buf: buf, At: blockSize, Len: blockSize},
	}
	if err := r.file.Disk().ReadMulti(ctx, reads); err != nil {
		return err
	}
	first, err := bytesRead(&reads[0], 0, blockSize)
	if err != nil {
		return err
	}
	last, err := bytesRead(&reads[1], size-blockSize, size)
	if err != nil {
		return err
	}
	r.sum, r.sums, r.desc.Checked, err = parseEnds(r.file.Name(), id, r.desc, size, first, last)
	r.desc.Size = size
	return err
}

// Desc describes the layer, with its size and whether it has an integrity trailer.
func (r *Reader) Desc() Desc { return r.desc }

// Identity gives tenant and timeline as the file's summary has them.
func (r *Reader) Identity() Identity { return r.sum.id }

// Close lets go of the file. It may be called again.
func (r *Reader) Close() error {
	if r.closed.Swap(true) {
		return nil
	}
	r.blocks.Forget(r.id)
	return r.file.Close()
}

// dataEnd is where the padding before the index ends.
func (r *Reader) dataEnd() int64 { return int64(r.sum.indexStart) * blockSize }

// indexBlock gives an index block, from memory if it is there; loaded says that it was not. A Collector, if there is
// one, is told before.
func (r *Reader) indexBlock(ctx context.Context, n uint32, c *Collector) (pin cache.Pin, loaded bool, err error) {
	key := r.key(int64(r.sum.indexStart) + int64(n))
	if n > r.sum.indexRoot {
		return cache.Pin{}, false, r.corrupt(n, "beyond the root, block %d", r.sum.indexRoot)
	}
	if pin, ok := r.blocks.TryGet(key); ok {
		return pin, false, nil
	}
	if c != nil && c.ahead != nil {
		c.Missing(ctx)
		if pin, ok := r.blocks.TryGet(key); ok {
			return pin, false, nil
		}
	}
	pin, err = r.blocks.Get(ctx, key, cache.Index, func(ctx context.Context, dst []byte) error {
		return r.loadBlock(ctx, dst, int64(key.Block))
	})
	return pin, true, err
}

// loadBlock reads a block of the index, and at the same time the blocks of checksums that it needs.
func (r *Reader) loadBlock(ctx context.Context, dst []byte, blk int64) error {
	off := blk * blockSize
	var sums sync.WaitGroup
	defer sums.Wait()
	for first, last := r.sumBlocks(off, off+blockSize); first <= last; first++ {
		if pin, ok := r.cachedSum(first); ok {
			pin.Release()
			continue
		}
		sum := first
		sums.Go(func() {
			if pin, err := r.sumBlock(ctx, sum); err == nil { // otherwise the verification meets it again
				pin.Release()
			}
		})
	}
	buf := r.file.Disk().Buffers().Get(blockSize)
	defer buf.Release()
	b, err := r.readRaw(ctx, buf, off, blockSize)
	if err != nil {
		return err
	}
	sums.Wait()
	copy(dst, b)
	return r.verifyAlone(ctx, off, b)
}

func (r *Reader) blockOffset(n uint32) int64 { return (int64(r.sum.indexStart) + int64(n)) * blockSize }

func (r *Reader) corrupt(n uint32, format string, args ...any) error {
	return corruptf(r.file.Name(), r.blockOffset(n), "index block %d: %s", n, fmt.Sprintf(format, args...))
}

// read reads n bytes at off into buf, both multiples of the block size, and verifies them.
func (r *Reader) read(ctx context.Context, buf *virtualfile.Buffer, off int64, n int) ([]byte, error) {
	b, err := r.readRaw(ctx, buf, off, n)
	if err == nil {
		err = r.verifyAlone(ctx, off, b)
	}
	return b, err
}

// readRaw is read without the verification.
func (r *Reader) readRaw(ctx context.Context, buf *virtualfile.Buffer, off int64, n int) ([]byte, error) {
	reads := [1]virtualfile.Read{{File: r.file, Off: off, Buf: buf, Len: n}}
	if err := r.file.Disk().ReadMulti(ctx, reads[:]); err != nil {
		return nil, err
	}
	return bytesRead(&reads[0], off, off+int64(n))
}

// verifyAlone verifies b, the whole blocks of the file from off on, and reads the checksums that are not in
// memory.
func (r *Reader) verifyAlone(ctx context.Context, off int64, b []byte) error {
	first, last := r.sumBlocks(off, off+int64(len(b)))
	for blk := first; blk <= last; blk++ {
		pin, err := r.sumBlock(ctx, blk)
		if err != nil {
			return err
		}
		n := min(int64(len(b)), r.sumEnd(blk)-off)
		err = r.verify(off, b[:n], func(int64) []byte { return pin.Bytes() })
		pin.Release()
		if err != nil {
			return err
		}
		b, off = b[n:], off+n
	}
	return nil
}

// sumBlock gives a block of checksums, from memory if it is there.
func (r *Reader) sumBlock(ctx context.Context, blk int64) (cache.Pin, error) {
	if pin, ok := r.cachedSum(blk); ok {
		return pin, nil
	}
	return r.blocks.Get(ctx, r.key(blk), cache.Checksums, func(ctx context.Context, dst []byte) error {
		buf := r.file.Disk().Buffers().Get(blockSize)
		defer buf.Release()
		reads := [1]virtualfile.Read{readOf(r.file, blk*blockSize, (blk+1)*blockSize)}
		reads[0].Buf = buf
		if err := r.file.Disk().ReadMulti(ctx, reads[:]); err != nil {
			return err
		}
		b, err := bytesRead(&reads[0], blk*blockSize, (blk+1)*blockSize)
		if err == nil {
			err = r.sums.checkBlock(r.file.Name(), blk, b)
		}
		copy(dst, b)
		return err
	})
}
