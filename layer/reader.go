package layer

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync/atomic"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

// cachedBlocks is how many index blocks a Reader keeps, 256 KiB at most. The root of a layer of usual size
// and the leaves of what is read again and again are found here.
const cachedBlocks = 32

// Reader reads one layer file. All methods but Close may be called concurrently.
type Reader struct {
	file   virtualfile.File
	desc   Desc
	sum    summary
	keyLen int
	slots  [cachedBlocks]atomic.Pointer[indexBlock]
	closed atomic.Bool
}

type indexBlock struct {
	n    uint32
	data [blockSize]byte
}

// OpenReader opens the layer d in dir and checks the file's length (against d.Size if that is known) and
// its summary against the name and the tenant. A file that is missing gives fs.ErrNotExist, one that cannot
// be the layer ErrCorrupt.
func OpenReader(fs virtualfile.FS, dir string, id Identity, d Desc) (*Reader, error) {
	f, err := fs.Open(filepath.Join(dir, d.FileName()))
	if err != nil {
		return nil, err
	}
	r, err := newReader(f, id, d)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return r, nil
}

func newReader(f virtualfile.File, id Identity, d Desc) (*Reader, error) {
	r := &Reader{file: f, desc: d, keyLen: page.KeySize}
	if !d.Image {
		r.keyLen = deltaKeyLen
	}
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if err := checkSize(f.Name(), d, size); err != nil {
		return nil, err
	}
	var b [blockSize]byte
	if err := r.readAt(b[:], 0); err != nil {
		return nil, err
	}
	var tail [blockSize]byte
	if err := r.readAt(tail[:], size-blockSize); err != nil {
		return nil, err
	}
	sum, _, checked, err := parseEnds(f.Name(), id, d, size, b[:], tail[:])
	if err != nil {
		return nil, err
	}
	r.sum = sum
	r.desc.Checked = checked
	r.desc.Size = size
	return r, nil
}

// Desc describes the layer, with its size.
func (r *Reader) Desc() Desc { return r.desc }

// Identity gives tenant and timeline as the file's summary has them.
func (r *Reader) Identity() Identity { return r.sum.id }

// Close closes the file. It may be called again.
func (r *Reader) Close() error {
	if r.closed.Swap(true) {
		return nil
	}
	return r.file.Close()
}

// readAt reads all of p. Every range asked for lies within the file's length at opening.
func (r *Reader) readAt(p []byte, off int64) error {
	n, err := r.file.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if errors.Is(err, io.EOF) || err == nil {
		return corruptf(r.file.Name(), off, "only %d of %d bytes could be read", n, len(p))
	}
	return fmt.Errorf("read layer %s, offset %d: %w", r.file.Name(), off, err)
}

// dataEnd is where the padding before the index ends.
func (r *Reader) dataEnd() int64 { return int64(r.sum.indexStart) * blockSize }

// block gives an index block, from memory if it is there. It stays valid for good.
func (r *Reader) block(ctx context.Context, n uint32) ([]byte, error) {
	slot := &r.slots[n%cachedBlocks]
	if b := slot.Load(); b != nil && b.n == n {
		return b.data[:], nil
	}
	b := &indexBlock{n: n}
	if err := r.readBlock(ctx, n, b.data[:]); err != nil {
		return nil, err
	}
	slot.Store(b)
	return b.data[:], nil
}

func (r *Reader) readBlock(ctx context.Context, n uint32, p []byte) error {
	if n > r.sum.indexRoot {
		return r.corrupt(n, "beyond the root, block %d", r.sum.indexRoot)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return r.readAt(p, r.blockOffset(n))
}

func (r *Reader) blockOffset(n uint32) int64 { return (int64(r.sum.indexStart) + int64(n)) * blockSize }

func (r *Reader) corrupt(n uint32, format string, args ...any) error {
	return corruptf(r.file.Name(), r.blockOffset(n), "index block %d: %s", n, fmt.Sprintf(format, args...))
}

// entry is one value's place in the file.
type entry struct {
	key      page.Key
	lsn      page.LSN
	willInit bool
	start    int64 // of the blob's header
	end      int64 // where the next blob starts, or the index
	last     bool  // end includes padding
	value    []byte
}

// entryScanner walks the index and tells where each blob ends, which only the next entry says.
type entryScanner struct {
	r   *Reader
	cur treeCursor
	// ahead is the entry after the one last given.
	ahead   entry
	hasNext bool
}

func (s *entryScanner) init(r *Reader, src blockReader) {
	s.r = r
	s.cur.init(src, r.sum.indexRoot, r.keyLen)
}

// seek goes to the first entry at or above (k, lsn).
func (s *entryScanner) seek(ctx context.Context, k page.Key, lsn page.LSN) error {
	var key [deltaKeyLen]byte
	k.Put(key[:])
	binary.BigEndian.PutUint64(key[page.KeySize:], uint64(lsn))
	if err := s.cur.seek(ctx, key[:s.r.keyLen]); err != nil {
		return err
	}
	return s.fetch(ctx)
}

// fetch reads the next index entry into ahead.
func (s *entryScanner) fetch(ctx context.Context) error {
	key, v, ok, err := s.cur.next(ctx)
	if err != nil {
		return err
	}
	s.hasNext = ok
	if !ok {
		return nil
	}
	e := entry{key: page.KeyFromBytes(key), lsn: s.r.desc.LSNs.Start, willInit: true, start: int64(v)}
	if !s.r.desc.Image {
		e.lsn = page.LSN(binary.BigEndian.Uint64(key[page.KeySize:]))
		e.willInit, e.start = v&1 == 1, int64(v>>1)
	}
	if e.start < dataStart || e.start >= s.r.dataEnd() {
		return s.r.corrupt(s.cur.path[0].blk, "%s at LSN %s: value at offset %d, values lie in [%d, %d)",
			e.key, e.lsn, e.start, int64(dataStart), s.r.dataEnd())
	}
	s.ahead = e
	return nil
}

// next gives the entry at the cursor.
func (s *entryScanner) next(ctx context.Context) (entry, bool, error) {
	if !s.hasNext {
		return entry{}, false, nil
	}
	e := s.ahead
	if err := s.fetch(ctx); err != nil {
		return entry{}, false, err
	}
	if !s.hasNext {
		e.end, e.last = s.r.dataEnd(), true
		return e, true, nil
	}
	e.end = s.ahead.start
	if e.end <= e.start {
		return entry{}, false, s.r.corrupt(s.cur.path[0].blk, "%s at LSN %s: value at offset %d, not above the one before at %d",
			s.ahead.key, s.ahead.lsn, e.end, e.start)
	}
	return e, true, nil
}

// blobOf takes the blob of e out of b, which holds [e.start, e.end) of the file. Blobs lie back to back, so
// the next one's place checks this one's length.
func (r *Reader) blobOf(e *entry, b []byte) (Stored, error) {
	s, size, err := parseBlob(b)
	if err != nil {
		return Stored{}, corruptf(r.file.Name(), e.start, "%s at LSN %s: %v", e.key, e.lsn, err)
	}
	if gap := len(b) - size; gap != 0 && !(e.last && gap < blockSize) {
		return Stored{}, corruptf(r.file.Name(), e.start, "%s at LSN %s: blob of %d bytes where %d lie before the next",
			e.key, e.lsn, size, len(b))
	}
	return s, nil
}

// plain gives a blob's content; alloc provides room for what is compressed.
func (r *Reader) plain(e *entry, s Stored, alloc func(int) []byte) ([]byte, error) {
	if !s.Zstd {
		return s.Data, nil
	}
	out, err := decompress(s.Data, alloc)
	if err != nil {
		return nil, corruptf(r.file.Name(), e.start, "%s at LSN %s: %v", e.key, e.lsn, err)
	}
	return out, nil
}
