package virtualfile

import (
	"fmt"
	"io/fs"
	"unsafe"
)

// ErrMisaligned says that a transfer's offset, size or address is no multiple of what its file requires. It
// is a fs.ErrInvalid.
var ErrMisaligned = fmt.Errorf("misaligned transfer: %w", fs.ErrInvalid)

// checkTransfer refuses what no engine should see. The bounds are looked at always, the alignment if the
// Disk validates or nothing below would (there is no kernel to refuse it).
func (d *Disk) checkTransfer(op string, r *Read) error {
	switch {
	case r.File == nil || r.Buf == nil:
		return fmt.Errorf("%s: a transfer without file or buffer: %w", op, fs.ErrInvalid)
	case r.File.disk != d:
		return pathError(op, r.File.Name(), fmt.Errorf("the file is of another Disk: %w", fs.ErrInvalid))
	case r.At < 0 || r.Len < 0 || r.Off < 0 || r.At > len(r.Buf.b)-r.Len:
		return pathError(op, r.File.Name(), fmt.Errorf("%d bytes at %d of a buffer of %d, at offset %d of the file: %w",
			r.Len, r.At, len(r.Buf.b), r.Off, fs.ErrInvalid))
	}
	return nil
}

// checkAligned is validation: every address, offset and size of a transfer in every mode, so that what works
// where the page cache hides it works where nothing does.
func checkAligned(op string, h *Handle, p []byte, off int64) error {
	mask := uintptr(h.align - 1)
	address := uintptr(unsafe.Pointer(unsafe.SliceData(p)))
	if (address|uintptr(off)|uintptr(len(p)))&mask == 0 {
		return nil
	}
	return pathError(op, h.Name(), fmt.Errorf(
		"%w: offset %d, size %d and address %#x have to be multiples of %d", ErrMisaligned, off, len(p), address, h.align))
}
