package virtualfile

import (
	"errors"
	"io"
	"slices"
	"unsafe"
)

// faultFile is an open file of a faulty file system.
type faultFile struct {
	File
	fs     *faultFS
	direct bool
}

var _ allocator = (*faultFile)(nil)

// loser is a File that can lose what was not synced.
type loser interface{ lose() }

func (f *faultFile) ReadAt(p []byte, off int64) (int, error) {
	x := f.fs.hit(OpRead, f.Name())
	if x == nil {
		return f.File.ReadAt(p, off)
	}
	switch x.Effect {
	case Short:
		n, err := f.File.ReadAt(p[:f.part(x, p)], off)
		if errors.Is(err, io.EOF) && n > 0 {
			err = nil
		}
		return n, err
	case Flip:
		n, err := f.File.ReadAt(p, off)
		flip(p[:n], x.Bit)
		return n, err
	}
	return 0, x.failure("read", f.Name())
}

func (f *faultFile) Write(p []byte) (int, error) { return f.write(p, f.File.Write) }

func (f *faultFile) WriteAt(p []byte, off int64) (int, error) {
	return f.write(p, func(p []byte) (int, error) { return f.File.WriteAt(p, off) })
}

func (f *faultFile) write(p []byte, write func(p []byte) (int, error)) (int, error) {
	x := f.fs.hit(OpWrite, f.Name())
	if x == nil {
		return write(p)
	}
	switch x.Effect {
	case Short:
		return write(p[:f.part(x, p)])
	case Flip:
		p = alignedClone(p)
		flip(p, x.Bit)
		return write(p)
	}
	n, err := write(p[:f.torn(x, p)])
	return n, errors.Join(x.failure("write", f.Name()), err)
}

// part gives how much of p a short transfer moves: of whole sectors, as all layers are, whole ones.
func (f *faultFile) part(x *Fault, p []byte) int {
	unit := 1
	if f.direct || len(p)%sectorSize == 0 {
		unit = sectorSize
	}
	return min(max(x.Torn/unit, 1)*unit, len(p))
}

// torn gives how much of p a failing write puts down.
func (f *faultFile) torn(x *Fault, p []byte) int {
	n := min(x.Torn, len(p))
	if f.direct {
		n -= n % sectorSize
	}
	return n
}

// flip flips a bit of what there is.
func flip(p []byte, bit int) {
	const bits = 8
	if len(p) > 0 {
		bit %= len(p) * bits
		p[bit/bits] ^= 1 << (bit % bits)
	}
}

// alignedClone copies p to memory that direct I/O takes, as the caller's must not be changed.
func alignedClone(p []byte) []byte {
	b := make([]byte, len(p)+BufferAlign)
	skip := -int(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) & (BufferAlign - 1)
	b = slices.Clip(b[skip : skip+len(p)])
	copy(b, p)
	return b
}

func (f *faultFile) Sync() error {
	x := f.fs.hit(OpSync, f.Name())
	if x == nil || x.Effect == Short || x.Effect == Flip {
		return f.File.Sync()
	}
	if x.Effect == Lose {
		f.lose()
	}
	return x.failure("sync", f.Name())
}

// lose implements loser, for the case of two faulty file systems above each other.
func (f *faultFile) lose() {
	if l, ok := f.File.(loser); ok {
		l.lose()
	}
}

func (f *faultFile) Truncate(size int64) error {
	if err := f.fs.check(OpTruncate, "truncate", f.Name()); err != nil {
		return err
	}
	return f.File.Truncate(size)
}

// allocate implements allocator.
func (f *faultFile) allocate(size int64) error {
	if err := f.fs.check(OpAllocate, "allocate", f.Name()); err != nil {
		return err
	}
	return allocate(f.File, size)
}
