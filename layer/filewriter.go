package layer

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/cespare/xxhash/v2"

	shares "github.com/stratapg/strata/internal/budget"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

// WriterOptions say how a layer file is written. The zero value is good.
type WriterOptions struct {
	// Unchecked leaves the integrity trailer out, as in Neon's files.
	Unchecked bool
	// Compression is that of an image layer's blobs.
	Compression Compression
	// IndexMemory bounds the bytes of the index, and those of checksums, that are kept in memory until they are
	// written behind the values; the rest waits in a temporary file. Default DefaultIndexMemory.
	IndexMemory int64
	// Transfer is the size in bytes of the writer's buffers, and so of its longest write; 0 is the size that is fastest.
	// What nobody waits for takes little, so that others find the drive free.
	Transfer int
	// Pace, if set, is told of the bytes of index and checksums before they are written, at most PaceStep of them, and may wait.
	// Of values the caller knows when it adds them; what comes behind them is a sixth of a layer of small ones, and all at once.
	Pace func(ctx context.Context, bytes int) error
	// Budget, if set, is charged for that memory, but for the first 256 KiB of either; what it refuses goes to
	// the temporary file.
	Budget *shares.Share
}

// PaceStep is the most that WriterOptions.Pace is told of at once.
const PaceStep = 128 << 10

func (o *WriterOptions) indexMemory() int64 {
	if o.IndexMemory > 0 {
		return o.IndexMemory
	}
	return DefaultIndexMemory
}

var errFinished = errors.New("layer writer: already finished or aborted")

// fileWriter is what delta and image writers share: the temporary file, the index, the checksums, the order of
// the end: data, padding, index, trailer, summary, sync, rename.
//
// What goes wrong stays wrong: after a failed write or sync nothing more is written, nothing is synced
// again, and the file is removed. Its caller has to write another from what it still holds.
type fileWriter struct {
	dir   string
	file  *virtualfile.Handle
	id    Identity
	out   *virtualfile.Writer
	tree  *treeBuilder
	index *blockList
	sums  *sumList // nil without a trailer
	err   error    // the first failure
	done  bool
	// transfer and pace are those of WriterOptions.
	transfer int
	pace     func(ctx context.Context, bytes int) error
}

func newFileWriter(d *virtualfile.Disk, dir, tempBase string, id Identity, keyLen int, o *WriterOptions) (*fileWriter, error) {
	f, err := createTemp(d, filepath.Join(dir, tempBase))
	if err != nil {
		return nil, err
	}
	w := &fileWriter{dir: dir, file: f, id: id, index: newBlockList(d, f.Name()+".index", o), transfer: o.Transfer, pace: o.Pace}
	w.tree = newTreeBuilder(keyLen, w.index)
	wo := virtualfile.WriterOptions{Start: dataStart, Buffer: o.Transfer}
	if !o.Unchecked {
		w.sums = newSumList(newBlockList(d, f.Name()+".sums", o), max(minChunk, f.Align()))
		wo.See = w.sums.see
	}
	w.out = virtualfile.NewWriter(f, wo)
	return w, nil
}

// offset is where the next byte goes.
func (w *fileWriter) offset() int64 { return w.out.Offset() }

// size estimates the length of the file if it were finished now.
func (w *fileWriter) size() int64 {
	n := w.offset() + blockSize + w.tree.size()
	if w.sums != nil {
		n += n>>w.sums.ratio + 2*blockSize
	}
	return n
}

// fail remembers the first error, with the file's name.
func (w *fileWriter) fail(err error) error {
	if err != nil && w.err == nil {
		w.err = fmt.Errorf("write layer %s: %w", w.file.Name(), err)
	}
	return w.err
}

// usable reports why nothing more can be added.
func (w *fileWriter) usable() error {
	if w.done {
		return errFinished
	}
	return w.err
}

// blob appends one blob.
func (w *fileWriter) blob(s Stored) error {
	n := longBlobHeader + len(s.Data)
	if room := w.out.Room(n); len(room) == n { // the usual way: in place
		h := len(appendBlobHeader(room[:0], len(s.Data), s.Zstd))
		copy(room[h:], s.Data)
		w.out.Advance(h + len(s.Data))
		return nil
	}
	var h [longBlobHeader]byte
	if _, err := w.out.Write(appendBlobHeader(h[:0], len(s.Data), s.Zstd)); err != nil {
		return w.fail(err)
	}
	_, err := w.out.Write(s.Data)
	return w.fail(err)
}

// entry adds an entry to the index. What the tree refuses breaks the writer.
func (w *fileWriter) entry(key *treeKey, value uint64) error {
	err := w.tree.add(key, value)
	if err == nil {
		return nil
	}
	if errors.Is(err, errTreeOrder) {
		err = fmt.Errorf("%w: %w", ErrOrder, err)
	}
	return w.fail(err)
}

// finish completes the file and gives it its name. Whatever fails, the temporary file is gone.
func (w *fileWriter) finish(ctx context.Context, d Desc) (Desc, error) {
	if err := w.usable(); err != nil {
		w.abort()
		return Desc{}, err
	}
	size, err := w.complete(ctx, d)
	if err != nil {
		_ = w.fail(err)
		w.abort()
		return Desc{}, w.err
	}
	w.release()
	temp := w.file.Name()
	if err = w.fail(w.file.Close()); err == nil {
		err = w.fail(w.file.Disk().RenameNew(temp, filepath.Join(w.dir, d.FileName())))
	}
	if err != nil {
		return Desc{}, errors.Join(err, w.file.Disk().Remove(temp))
	}
	d.Size, d.Checked = size, w.sums != nil
	return d, nil
}

// complete writes padding, index, trailer and summary, syncs, and gives the file's length.
func (w *fileWriter) complete(ctx context.Context, d Desc) (int64, error) {
	var zeros [blockSize]byte
	if pad := w.offset() % blockSize; pad != 0 {
		if _, err := w.out.Write(zeros[pad:]); err != nil {
			return 0, err
		}
	}
	s := summary{id: w.id, desc: d, indexStart: uint32(w.offset() / blockSize)}
	var err error
	if s.indexRoot, err = w.tree.finish(); err != nil {
		return 0, err
	}
	err = w.index.each(ctx, func(blocks []byte) error { return w.behind(ctx, w.out, blocks) })
	if err != nil {
		return 0, err
	}
	size, err := w.out.FinishContext(ctx, blockSize)
	if err != nil {
		return 0, err
	}
	first := w.file.Disk().Buffers().Get(blockSize)
	defer first.Release()
	copy(first.Bytes(), s.append(nil))
	if w.sums != nil {
		if size, err = w.trailer(ctx, first.Bytes()[:blockSize], size, d.Generation); err != nil {
			return 0, err
		}
	}
	if err := w.file.WriteAt(first, 0, blockSize, 0); err != nil {
		return 0, err
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if err := w.file.Sync(); err != nil {
		return 0, err
	}
	return size, ctx.Err()
}

// behind writes what comes behind the values, at the pace of whoever writes the layer.
func (w *fileWriter) behind(ctx context.Context, out *virtualfile.Writer, blocks []byte) error {
	for len(blocks) > 0 {
		n := len(blocks)
		if w.pace != nil {
			n = min(n, PaceStep)
			if err := w.pace(ctx, n); err != nil {
				return err
			}
		}
		if _, err := out.WriteContext(ctx, blocks[:n]); err != nil {
			return err
		}
		blocks = blocks[n:]
	}
	return nil
}

// trailer writes the integrity trailer from offset covered on, and gives where it ends.
func (w *fileWriter) trailer(ctx context.Context, first []byte, covered int64, generation uint32) (int64, error) {
	c := checksums{chunkSize: w.sums.chunk, covered: covered, identity: xxhash.Sum64(first), generation: generation}
	w.sums.finish(first)
	out := virtualfile.NewWriter(w.file, virtualfile.WriterOptions{Start: covered, Buffer: w.transfer})
	defer out.Abort()
	n := int64(0)
	err := w.sums.list.each(ctx, func(blocks []byte) error {
		for b := blocks; len(b) > 0; b = b[blockSize:] {
			c.seal(b[:blockSize], n)
			n++
		}
		return w.behind(ctx, out, blocks)
	})
	if err != nil {
		return 0, err
	}
	if n != c.blocks() {
		return 0, fmt.Errorf("%d blocks of checksums, %d are due", n, c.blocks())
	}
	if _, err := out.Write(c.appendFooter(nil)); err != nil {
		return 0, err
	}
	return out.FinishContext(ctx, blockSize)
}

// release ends the writing and gives back what it held but the file.
func (w *fileWriter) release() {
	w.done = true
	w.out.Abort()
	w.index.release()
	if w.sums != nil {
		w.sums.list.release()
	}
}

// abort removes the file. It may be called at any time, also after finish.
func (w *fileWriter) abort() {
	if w.done {
		return
	}
	w.release()
	// A leftover is harmless: the name says that it is temporary.
	temp := w.file.Name()
	_ = w.file.Close()
	_ = w.file.Disk().Remove(temp)
}

// checkRanges refuses a layer that could not be named.
func checkRanges(keys page.Range, lsns page.LSNRange) error {
	if keys.Empty() {
		return fmt.Errorf("%w: key range %s is empty", ErrOrder, keys)
	}
	if lsns.Empty() {
		return fmt.Errorf("%w: LSN range %s is empty", ErrOrder, lsns)
	}
	return nil
}
