package layer

import (
	"context"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

// Image is what ReadImage has read. The zero Image is none.
type Image struct {
	Value []byte // valid until Release
	buf   *virtualfile.Buffer
	room  arena
}

// Release gives the memory back.
func (m *Image) Release() {
	if m.buf != nil {
		m.buf.Release()
		m.room.release()
		m.buf, m.Value = nil, nil
	}
}

// ReadImage reads the image that an image layer has of k. It is the short way for who knows that no other
// layer counts: one search, one read, nothing gathered. It gives false if there is no image, or if anything
// is not as usual: a block of checksums that is not in memory, damage, a context that ends. A Collector then
// does all of it, and says what is wrong.
func (r *Reader) ReadImage(ctx context.Context, k page.Key, m *Image) bool {
	if !r.desc.Image || !r.desc.Keys.Contains(k) {
		return false
	}
	e, ok := r.imageOf(ctx, k)
	if !ok {
		return false
	}
	unit := int64(r.unit())
	off, end := e.start&^(unit-1), min((e.end+unit-1)&^(unit-1), r.end())
	var sums [sumsAtOnce * sumSize]byte
	if r.desc.Checked && !r.copySums(sums[:], off, end) {
		return false
	}
	reads := [1]virtualfile.Read{readOf(r.file, off, end)}
	m.buf = r.file.Disk().Buffers().Get(reads[0].Len)
	reads[0].Buf = m.buf
	if r.file.Disk().ReadMulti(ctx, reads[:]) != nil {
		return false
	}
	b, err := bytesRead(&reads[0], off, end)
	if err != nil || r.desc.Checked && r.sums.compare(r.file.Name(), off, b, sums[:]) != nil {
		return false
	}
	m.room.pool = r.file.Disk().Buffers()
	m.Value, err = r.value(e.lsn, e.start, b[e.start-off:e.end-off:e.end-off], &m.room)
	return err == nil
}

// copySums copies the checksums of the chunks [off, end) to dst, before these are read: what memory has to bring for
// it comes while the read is begun, and no block stays pinned. It gives false if there are too many, or if they are
// not in memory.
func (r *Reader) copySums(dst []byte, off, end int64) bool {
	chunk, n := off/int64(r.sums.chunk()), int((end-off)/int64(r.sums.chunk()))
	if n*sumSize > len(dst) {
		return false
	}
	for n > 0 {
		blk, at := r.sums.blockOf(chunk)
		pin, ok := r.cachedSum(blk)
		if !ok {
			return false
		}
		done := copy(dst[:n*sumSize], pin.Bytes()[at:blockSumAt]) / sumSize
		pin.Release()
		dst, chunk, n = dst[done*sumSize:], chunk+int64(done), n-done
	}
	return true
}

// imageOf finds the place of the image of k.
func (r *Reader) imageOf(ctx context.Context, k page.Key) (entry, bool) {
	var key [page.KeySize]byte
	k.Put(key[:])
	p, err := r.spot(ctx, key[:], nil)
	if err != nil {
		return entry{}, false
	}
	defer p.pin.Release()
	if !p.equal {
		return entry{}, false
	}
	return r.imageAt(&p, k)
}
