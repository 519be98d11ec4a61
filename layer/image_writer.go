package layer

import (
	"context"
	"fmt"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

// ImageWriter writes an image layer: the bare images of keys at one LSN. Compression runs on a few
// goroutines beside the caller's, which writes the results in order. Not for concurrent use.
type ImageWriter struct {
	w    *fileWriter
	desc Desc
	last page.Key
	any  bool
	pack *packer
	raw  int64 // bytes handed to pack and not written yet
}

// NewImageWriter begins an image layer in dir of keys (which Finish may shorten) at lsn.
func NewImageWriter(disk *virtualfile.Disk, dir string, id Identity, keys page.Range, lsn page.LSN, gen uint32, o WriterOptions) (*ImageWriter, error) {
	d := Desc{Keys: keys, LSNs: page.LSNRange{Start: lsn, End: lsn + 1}, Image: true, Generation: gen}
	if err := checkRanges(keys, d.LSNs); err != nil {
		return nil, err
	}
	w, err := newFileWriter(disk, dir, d.Name(), id, page.KeySize, &o)
	if err != nil {
		return nil, err
	}
	iw := &ImageWriter{w: w, desc: d}
	if !o.Compression.Disabled {
		iw.pack = newPacker(o.Compression.Level)
	}
	return iw, nil
}

// check takes note of the next key.
func (w *ImageWriter) check(k page.Key, size int) error {
	if err := w.w.usable(); err != nil {
		return err
	}
	switch {
	case !w.desc.Keys.Contains(k):
		return w.w.fail(fmt.Errorf("%w: key %s outside %s", ErrOrder, k, w.desc.Keys))
	case w.any && !w.last.Less(k):
		return w.w.fail(fmt.Errorf("%w: key %s after %s", ErrOrder, k, w.last))
	case size > maxBlob:
		return w.w.fail(fmt.Errorf("key %s: image of %d bytes, at most %d fit", k, size, maxBlob))
	}
	w.last, w.any = k, true
	return nil
}

// Add appends an image, which is copied. Keys must ascend. After an error the writer is only good for
// Abort.
func (w *ImageWriter) Add(k page.Key, image []byte) error {
	if err := w.check(k, len(image)); err != nil {
		return err
	}
	if w.pack == nil {
		return w.put(k, Stored{Data: image})
	}
	w.raw += int64(len(image))
	return w.drain(w.pack.add(k, image))
}

// AddStored appends a blob as it lies in another layer.
func (w *ImageWriter) AddStored(k page.Key, s Stored) error {
	if err := w.check(k, len(s.Data)); err != nil {
		return err
	}
	if w.pack != nil {
		if err := w.drain(w.pack.flush()); err != nil {
			return err
		}
	}
	return w.put(k, s)
}

// drain writes finished batches in order. The packer says which are due.
func (w *ImageWriter) drain(due []*packBatch) error {
	var err error
	for _, b := range due {
		<-b.done // also after an error, so that no goroutine is left behind
		if err == nil {
			err = w.writeBatch(b)
		}
		w.pack.recycle(b)
	}
	return err
}

func (w *ImageWriter) writeBatch(b *packBatch) error {
	if b.err != nil {
		return w.w.fail(b.err)
	}
	for i := range b.items {
		it := &b.items[i]
		w.raw -= int64(it.size)
		if err := w.put(it.key, b.stored(i)); err != nil {
			return err
		}
	}
	return nil
}

func (w *ImageWriter) put(k page.Key, s Stored) error {
	key := deltaKey(&k, 0) // the LSN is behind what is written of it
	if err := w.w.entry(&key, uint64(w.w.offset())); err != nil {
		return err
	}
	return w.w.blob(s)
}

// EstimatedSize gives about the length of the file in bytes if it were finished now; what is not yet
// compressed counts in full.
func (w *ImageWriter) EstimatedSize() int64 { return w.w.size() + w.raw }

// Finish ends the layer at endKey (exclusive), at most the end it was begun with, syncs the file and gives
// it its final name, which must not be taken. The folder is not synced. A layer without entries is an
// error, and so is a context that ends before the file has its name: nothing is left then. After Finish, Abort
// does nothing.
func (w *ImageWriter) Finish(ctx context.Context, endKey page.Key) (Desc, error) {
	if w.pack != nil && w.w.usable() == nil {
		_ = w.drain(w.pack.flush()) // the writer keeps the error
	}
	w.stop()
	switch {
	case w.any && !w.last.Less(endKey):
		_ = w.w.fail(fmt.Errorf("%w: key %s is not below the end key %s", ErrOrder, w.last, endKey))
	case w.desc.Keys.End.Less(endKey):
		_ = w.w.fail(fmt.Errorf("%w: end key %s above the layer's %s", ErrOrder, endKey, w.desc.Keys.End))
	}
	d := w.desc
	d.Keys.End = endKey
	return w.w.finish(ctx, d)
}

// Abort removes the unfinished file.
func (w *ImageWriter) Abort() {
	w.stop()
	w.w.abort()
}

func (w *ImageWriter) stop() {
	if w.pack != nil {
		w.pack.wait()
		w.pack = nil
	}
}
