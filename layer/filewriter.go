package layer

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

const (
	// writeBuffer is what is gathered before it is handed to the file.
	writeBuffer = 512 << 10
	// maxTempNames bounds the search for a temporary name that no leftover has.
	maxTempNames = 1000
)

var writeBuffers = sync.Pool{New: func() any {
	b := make([]byte, 0, writeBuffer)
	return &b
}}

// fileWriter is what delta and image writers share: the temporary file, the buffer, the index, the order of
// the end: data, padding, index, summary, sync, rename.
type fileWriter struct {
	fs   virtualfile.FS
	dir  string
	file virtualfile.File
	id   Identity
	tree *treeBuilder

	buf     *[]byte
	flushed int64 // offset in the file where buf will go
	err     error // the first failure; nothing is written after it
	done    bool
}

func newFileWriter(fsys virtualfile.FS, dir, tempBase string, id Identity, keyLen int) (*fileWriter, error) {
	w := &fileWriter{fs: fsys, dir: dir, id: id, tree: newTreeBuilder(keyLen), flushed: dataStart}
	var err error
	for n := range maxTempNames {
		name := filepath.Join(dir, fmt.Sprintf("%s.%x%s", tempBase, n, virtualfile.TempSuffix))
		if w.file, err = fsys.Create(name); !errors.Is(err, fs.ErrExist) {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	w.buf = writeBuffers.Get().(*[]byte)
	return w, nil
}

// offset is where the next byte goes.
func (w *fileWriter) offset() int64 { return w.flushed + int64(len(*w.buf)) }

// size estimates the length of the file if it were finished now.
func (w *fileWriter) size() int64 { return w.offset() + blockSize + w.tree.size() }

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
		return errors.New("layer writer: already finished or aborted")
	}
	return w.err
}

// write appends bytes; those larger than the buffer go past it.
func (w *fileWriter) write(p []byte) error {
	if len(*w.buf)+len(p) > cap(*w.buf) {
		if err := w.flush(); err != nil {
			return err
		}
	}
	if len(p) > cap(*w.buf) {
		return w.writeThrough(p)
	}
	*w.buf = append(*w.buf, p...)
	return nil
}

func (w *fileWriter) flush() error {
	p := *w.buf
	*w.buf = p[:0]
	return w.writeThrough(p)
}

func (w *fileWriter) writeThrough(p []byte) error {
	if w.err != nil {
		return w.err
	}
	if len(p) == 0 {
		return nil
	}
	if _, err := w.file.WriteAt(p, w.flushed); err != nil {
		return w.fail(err)
	}
	w.flushed += int64(len(p))
	return nil
}

// blob appends one blob and gives its offset.
func (w *fileWriter) blob(s Stored) (int64, error) {
	at := w.offset()
	var h [longBlobHeader]byte
	if err := w.write(appendBlobHeader(h[:0], len(s.Data), s.Zstd)); err != nil {
		return 0, err
	}
	return at, w.write(s.Data)
}

// index adds an entry. What the tree refuses breaks the writer.
func (w *fileWriter) index(key []byte, value uint64) error {
	err := w.tree.append(key, value)
	if errors.Is(err, errTreeOrder) {
		err = fmt.Errorf("%w: %w", ErrOrder, err)
	}
	return w.fail(err)
}

// finish completes the file and gives it its name. Whatever fails, the temporary file is gone.
func (w *fileWriter) finish(d Desc) (Desc, error) {
	if err := w.usable(); err != nil {
		w.abort()
		return Desc{}, err
	}
	size, err := w.complete(d)
	if err == nil {
		err = w.fail(w.file.Close())
		w.done = true
		writeBuffers.Put(w.buf)
		if err == nil {
			err = w.fail(w.fs.RenameNew(w.file.Name(), filepath.Join(w.dir, d.FileName())))
		}
		if err != nil {
			return Desc{}, errors.Join(err, w.fs.Remove(w.file.Name()))
		}
		d.Size = size
		return d, nil
	}
	w.abort()
	return Desc{}, err
}

// complete writes padding, index and summary, syncs, and gives the file's length.
func (w *fileWriter) complete(d Desc) (int64, error) {
	if pad := w.offset() % blockSize; pad != 0 {
		if err := w.write(make([]byte, blockSize-pad)); err != nil {
			return 0, err
		}
	}
	s := summary{id: w.id, desc: d, indexStart: uint32(w.offset() / blockSize)}
	blocks, root, err := w.tree.finish()
	if err != nil {
		return 0, w.fail(err)
	}
	s.indexRoot = root
	if err := w.flush(); err != nil {
		return 0, err
	}
	if err := w.writeThrough(blocks); err != nil {
		return 0, err
	}
	if _, err := w.file.WriteAt(s.append(nil), 0); err != nil {
		return 0, w.fail(err)
	}
	return w.flushed, w.fail(w.file.Sync())
}

// abort removes the file. It may be called at any time, also after finish.
func (w *fileWriter) abort() {
	if w.done {
		return
	}
	w.done = true
	writeBuffers.Put(w.buf)
	// A leftover is harmless: the name says that it is temporary.
	_ = w.file.Close()
	_ = w.fs.Remove(w.file.Name())
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
