package layer

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/stratapg/strata/cache"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

// Thousands of pages/s with io_uring and O_DIRECT, uncompressed images, from windows of 256 blocks of which
// one in so many is wanted, and with all wanted, pages/s and µs of CPU each. Typical of short runs on two busy
// cores, which scatter by 15 %:
//
//	maxGap   one in 2   in 3   in 5   in 12       maxRun   pread     io_uring
//	 4 KiB      27       35     42     24          64 KiB  47 7.5     84 3.7
//	16 KiB      42       41     42     27         128 KiB  50 5.0     73 3.3
//	64 KiB      39       32     33     27         256 KiB  69 4.3     69 3.2
const (
	// maxGap is how many unwanted bytes are read to save another read: about what one costs.
	maxGap = 16 << 10
	// maxRun bounds one read; a single larger value is still read whole. Shorter ones keep more of the drive
	// busy, longer ones cost less CPU.
	maxRun = 128 << 10
)

// source is a file in which values lie: a layer file, or what an in-memory layer has spilled.
type source interface {
	// handle gives the file. It stays readable until the Release of every Collector that has places in it.
	handle() *virtualfile.Handle
	// unit gives the size of the pieces that can be verified, 1 if none can: a span is made of whole ones.
	unit() int
	// end gives where the last piece ends. No span reaches beyond that, but for the alignment of the file.
	end() int64
	// verify checks b, whole pieces of the file from off on; sums gives blocks that sumBlocks has named.
	verify(off int64, b []byte, sums func(blk int64) []byte) error
	// value takes the value at lsn out of raw, the verified bytes [start, start+len(raw)) of the file. What
	// has to be made anew goes into room.
	value(lsn page.LSN, start int64, raw []byte, room *arena) ([]byte, error)

	// sumBlocks gives the first and the last block of the file that hold the checksums of [off, end), the
	// last below the first if none are needed. cachedSum pins one that is in memory; keepSum checks one that
	// was read and keeps it in memory.
	sumBlocks(off, end int64) (first, last int64)
	cachedSum(blk int64) (cache.Pin, bool)
	keepSum(blk int64, b []byte) error
}

// noSums is for sources without checksums in their file.
type noSums struct{}

func (noSums) sumBlocks(off, end int64) (first, last int64)    { return 0, -1 }
func (noSums) cachedSum(blk int64) (pin cache.Pin, there bool) { return cache.Pin{}, false }
func (noSums) keepSum(blk int64, b []byte) error               { return nil }

// fetcher reads what a Collector has found to lie in files: neighbours in one span, all spans and the blocks
// of checksums that are not in memory in one batch. It is pooled with the Collector.
type fetcher struct {
	order []int32 // the values to be read, by source and place
	spans []span
	reads []virtualfile.Read // of the spans, then of sums
	sums  []sumBlock
	bufs  []*virtualfile.Buffer
	room  arena
	// missing is how many of sums are to be read.
	missing int

	now    *span                  // whose sums are asked for
	sumsOf func(blk int64) []byte // f.sumOf, made once
}

// span is one stretch of a file: of the values order[first:last].
type span struct {
	src         int32
	first, last int32
	off, end    int64
	sums        int32 // where in sums its blocks of checksums begin, one behind the other
	firstSum    int64 // the number of the first
}

// sumBlock is one block of checksums: in memory, or at its place in a buffer.
type sumBlock struct {
	src  int32
	read int32 // in reads, noValue if it is pinned
	blk  int64
	pin  cache.Pin
	b    []byte
	err  error
}

// release gives all memory back.
func (f *fetcher) release() {
	for _, b := range f.bufs {
		b.Release()
	}
	clear(f.bufs)
	f.bufs = f.bufs[:0]
	f.room.release()
	f.releaseSums()
	clear(f.reads)
	f.order, f.spans, f.reads = f.order[:0], f.spans[:0], f.reads[:0]
}

func (f *fetcher) releaseSums() {
	for i := range f.sums {
		f.sums[i].pin.Release()
	}
	clear(f.sums)
	f.sums, f.missing = f.sums[:0], 0
}

// Fetch reads the values that layers on disk have named and that still count: all of them at once, in one
// round. What cannot be read, or is damaged, is an error of its value; Fetch itself fails if the context ends
// or the Disk is closed. Images that are not compressed stay where the kernel has put them.
func (c *Collector) Fetch(ctx context.Context) error {
	f := &c.fetch
	c.pending()
	if len(f.order) == 0 {
		return ctx.Err()
	}
	defer f.releaseSums()
	c.plan()
	d := c.sources[f.spans[0].src].handle().Disk()
	f.buffers(d.Buffers())
	c.noteRound()
	if err := d.ReadMulti(ctx, f.reads); err != nil {
		return err
	}
	if f.missing > 0 {
		c.keepSums()
	}
	for i := range f.spans {
		c.takeSpan(i)
	}
	clear(f.reads)
	f.order, f.spans, f.reads = f.order[:0], f.spans[:0], f.reads[:0]
	return nil
}

// pending lists the values to be read, by their places.
func (c *Collector) pending() {
	f := &c.fetch
	f.order = f.order[:0]
	for i := range c.entries {
		for at := c.entries[i].head; at != noValue; at = c.values[at].next {
			if c.values[at].src != noValue {
				f.order = append(f.order, at)
			}
		}
	}
	byPlace := func(a, b int32) int {
		x, y := &c.values[a], &c.values[b]
		if x.src != y.src {
			return int(x.src - y.src)
		}
		return cmp.Compare(x.start, y.start)
	}
	if !slices.IsSortedFunc(f.order, byPlace) {
		slices.SortFunc(f.order, byPlace)
	}
}

// plan makes spans and names the blocks of checksums that they need.
func (c *Collector) plan() {
	f := &c.fetch
	for i := 0; i < len(f.order); {
		v := &c.values[f.order[i]]
		s := span{src: v.src, first: int32(i), off: v.start, end: v.end}
		for i++; i < len(f.order); i++ {
			v := &c.values[f.order[i]]
			if v.src != s.src || v.start-s.end > maxGap || max(s.end, v.end)-s.off > maxRun {
				break
			}
			s.end = max(s.end, v.end)
		}
		s.last = int32(i)
		src := c.sources[s.src]
		unit := int64(src.unit())
		s.off, s.end = s.off&^(unit-1), min((s.end+unit-1)&^(unit-1), src.end())
		c.planSums(&s, src)
		f.spans = append(f.spans, s)
		f.reads = append(f.reads, readOf(src.handle(), s.off, s.end))
	}
	if f.missing == 0 {
		return
	}
	for i := range f.sums {
		if b := &f.sums[i]; b.b == nil {
			b.read = int32(len(f.reads))
			f.reads = append(f.reads, readOf(c.sources[b.src].handle(), b.blk*blockSize, (b.blk+1)*blockSize))
		}
	}
}

// readOf gives the aligned read that covers [off, end) of a file.
func readOf(h *virtualfile.Handle, off, end int64) virtualfile.Read {
	a := int64(h.Align())
	off = off &^ (a - 1)
	return virtualfile.Read{File: h, Off: off, Len: int((end - off + a - 1) &^ (a - 1))}
}

// planSums pins the blocks of checksums that a span needs, or notes that they are to be read.
func (c *Collector) planSums(s *span, src source) {
	f := &c.fetch
	first, last := src.sumBlocks(s.off, s.end)
	s.sums, s.firstSum = int32(len(f.sums)), first
	for blk := first; blk <= last; blk++ {
		if n := len(f.sums); n > 0 && f.sums[n-1].src == s.src && f.sums[n-1].blk >= blk {
			s.sums = int32(n-1) - int32(f.sums[n-1].blk-first) // spans ascend: the one before had it
			continue
		}
		b := sumBlock{src: s.src, read: noValue, blk: blk}
		if pin, ok := src.cachedSum(blk); ok {
			b.pin, b.b = pin, pin.Bytes()
		} else {
			f.missing++
		}
		f.sums = append(f.sums, b)
	}
}

// buffers finds room for all reads. Small ones share a buffer.
func (f *fetcher) buffers(pool *virtualfile.Buffers) {
	f.room.pool = pool
	for i := 0; i < len(f.reads); {
		n, j := 0, i
		for ; j < len(f.reads) && (j == i || n+f.reads[j].Len <= maxRun); j++ {
			f.reads[j].At = n
			n += f.reads[j].Len
		}
		b := pool.Get(n)
		f.bufs = append(f.bufs, b)
		for ; i < j; i++ {
			f.reads[i].Buf = b
		}
	}
}

// bytesRead gives the bytes [off, end) of what a read was made for.
func bytesRead(r *virtualfile.Read, off, end int64) ([]byte, error) {
	if r.Err != nil {
		return nil, fmt.Errorf("read layer %s, %d bytes at offset %d: %w", r.File.Name(), end-off, off, r.Err)
	}
	if int64(r.N) < end-r.Off {
		return nil, corruptf(r.File.Name(), off, "the file ends at %d, within %d bytes that were there when it was opened", r.Off+int64(r.N), end-off)
	}
	at := int64(r.At) - r.Off
	return r.Buf.Bytes()[at+off : at+end : at+end], nil
}

// keepSums checks the blocks of checksums that were read.
func (c *Collector) keepSums() {
	f := &c.fetch
	for i := range f.sums {
		s := &f.sums[i]
		if s.read == noValue {
			continue
		}
		if s.b, s.err = bytesRead(&f.reads[s.read], s.blk*blockSize, (s.blk+1)*blockSize); s.err == nil {
			s.err = c.sources[s.src].keepSum(s.blk, s.b)
		}
	}
}

// sumOf gives a block of checksums of the present span.
func (f *fetcher) sumOf(blk int64) []byte { return f.sumAt(f.now, blk).b }

func (f *fetcher) sumAt(s *span, blk int64) *sumBlock { return &f.sums[int64(s.sums)+blk-s.firstSum] }

// verified gives the bytes [off, end), whole pieces of span i.
func (c *Collector) verified(i int, off, end int64) ([]byte, error) {
	f := &c.fetch
	s := &f.spans[i]
	src := c.sources[s.src]
	b, err := bytesRead(&f.reads[i], off, end)
	if err != nil {
		return nil, err
	}
	first, last := src.sumBlocks(off, end)
	for blk := first; blk <= last; blk++ {
		if err := f.sumAt(s, blk).err; err != nil {
			return nil, err
		}
	}
	if f.sumsOf == nil {
		f.sumsOf = f.sumOf
	}
	f.now = s
	return b, src.verify(off, b, f.sumsOf)
}

// takeSpan takes the values out of span i. If something is wrong with it, each value is looked at alone: it
// fails if it lies in what is wrong, and others do not fail with it.
func (c *Collector) takeSpan(i int) {
	f := &c.fetch
	s := &f.spans[i]
	src := c.sources[s.src]
	unit := int64(src.unit())
	off := s.off
	b, err := c.verified(i, off, s.end)
	bad := err != nil
	for _, n := range f.order[s.first:s.last] {
		v := &c.values[n]
		v.src = noValue
		if bad {
			off = v.start &^ (unit - 1)
			b, err = c.verified(i, off, min((v.end+unit-1)&^(unit-1), s.end))
		}
		if v.Err = err; err == nil {
			v.Value, v.Err = src.value(v.LSN, v.start, b[v.start-off:v.end-off:v.end-off], &f.room)
		}
	}
}
