package virtualfile

import (
	"context"
	"log/slog"
)

// Mode says which files bypass the kernel's page cache.
type Mode uint8

const (
	// ModeDefault is DirectRW on Linux, Buffered elsewhere.
	ModeDefault Mode = iota
	// Buffered uses the page cache for all.
	Buffered
	// Direct bypasses it for files opened to be read.
	Direct
	// DirectRW bypasses it for reading and writing.
	DirectRW
)

// EngineKind says how transfers reach the kernel.
type EngineKind uint8

const (
	// EngineDefault is what measurements favour where it is available.
	EngineDefault EngineKind = iota
	// EngineStd is pread and pwrite.
	EngineStd
	// EngineURing is io_uring; where it is forbidden EngineStd takes its place, with a warning.
	EngineURing
)

// DiskOptions have useful zeros.
type DiskOptions struct {
	Mode   Mode
	Engine EngineKind
	// Align is the least alignment in bytes, a power of two up to BufferAlign; the kernel may ask for more.
	// Default 512.
	Align int
	// Validate checks every transfer against the alignment, in every mode and on every platform.
	Validate bool
	// MaxDescriptors bounds the descriptors kept open; default from RLIMIT_NOFILE.
	MaxDescriptors int
	// MaxInFlight bounds the bytes of reads in flight, of the whole Disk; default 64 MiB.
	MaxInFlight int64
	Logger      *slog.Logger
}

// Disk is the door to large immutable files (layers) and to scratch files: many more virtual files than
// descriptors, aligned transfers, one engine. Small files (manifests, locks) go through FS itself. All
// methods may be called concurrently.
type Disk struct {
	fs   FS
	o    DiskOptions
	bufs Buffers

	engine engine
}

// NewDisk makes the Disk of a file system. Close must be called.
func NewDisk(fs FS, o DiskOptions) (*Disk, error) {
	if o.Align == 0 {
		o.Align = 512
	}
	return &Disk{fs: fs, o: o, engine: newStdEngine()}, nil
}

// FS is the file system below.
func (d *Disk) FS() FS { return d.fs }

// Buffers is the Disk's pool.
func (d *Disk) Buffers() *Buffers { return &d.bufs }

// Align gives the alignment in bytes that new files will ask for at least.
func (d *Disk) Align() int { return d.o.Align }

// Close closes all descriptors. Handles cannot be used afterwards.
func (d *Disk) Close() error { return nil }

// Open opens an existing file for reading.
func (d *Disk) Open(name string) (*Handle, error) {
	f, err := d.fs.OpenFile(name, 0)
	return d.handle(f, err)
}

// Create makes a file that must not exist yet, for writing and reading.
func (d *Disk) Create(name string) (*Handle, error) {
	f, err := d.fs.OpenFile(name, FlagWrite|FlagCreate)
	return d.handle(f, err)
}

func (d *Disk) handle(f File, err error) (*Handle, error) {
	if err != nil {
		return nil, err
	}
	return &Handle{disk: d, file: f, fd: descriptorOf(f)}, nil
}

// Rename moves a file; handles that have it open go with it. RenameNew fails with fs.ErrExist if the new
// name is taken.
func (d *Disk) Rename(oldName, newName string) error    { return d.fs.Rename(oldName, newName) }
func (d *Disk) RenameNew(oldName, newName string) error { return d.fs.RenameNew(oldName, newName) }

// Remove removes a file.
func (d *Disk) Remove(name string) error { return d.fs.Remove(name) }

// Handle is a virtual file of a Disk: it may or may not hold a descriptor at any time. All methods but Close
// may be called concurrently.
type Handle struct {
	disk *Disk
	file File
	fd   int
}

// Name gives the present name, Disk the Disk, Align what offsets and sizes of transfers must be multiples of.
func (h *Handle) Name() string         { return h.file.Name() }
func (h *Handle) Disk() *Disk          { return h.disk }
func (h *Handle) Align() int           { return h.disk.o.Align }
func (h *Handle) Size() (int64, error) { return h.file.Size() }
func (h *Handle) Close() error         { return h.file.Close() }

// Sync makes bytes and length durable. After it has failed once, or a write with EIO, it fails for good.
func (h *Handle) Sync() error { return h.file.Sync() }

// Truncate sets the length in bytes, which need not be aligned.
func (h *Handle) Truncate(size int64) error { return h.file.Truncate(size) }

// WriteAt writes n bytes of b, from at on, to offset off. at, n and off are multiples of Align.
func (h *Handle) WriteAt(b *Buffer, at, n int, off int64) error {
	_, err := h.file.WriteAt(b.b[at:at+n], off)
	return err
}

// Read is one read of a batch. Off, At and Len are multiples of the file's Align.
type Read struct {
	File *Handle
	Off  int64   // in the file
	Buf  *Buffer // where to
	At   int     // from here on
	Len  int     // so many bytes

	N   int   // result: bytes read; less than Len only at the file's end
	Err error // result
}

// ReadMulti does all reads at once and waits for them; each has its own N and Err. The error is that of the
// context, or ErrClosed: then nothing may be said of the reads, and their buffers may be released but not
// be looked at, as the kernel may still write to them.
func (d *Disk) ReadMulti(ctx context.Context, reads []Read) error {
	if len(reads) == 0 {
		return ctx.Err()
	}
	b := batches.Get().(*batch)
	for i := range reads {
		r := &reads[i]
		r.Buf.Retain()
		b.xs = append(b.xs, transfer{batch: b, pin: r.File, file: r.File.file, fd: r.File.fd,
			align: r.File.Align(), off: r.Off, buf: r.Buf, at: r.At, len: r.Len})
	}
	b.left.Store(int32(len(b.xs)))
	if err := d.engine.run(ctx, b); err != nil {
		return err
	}
	for i := range reads {
		reads[i].N, reads[i].Err = b.xs[i].n, b.xs[i].err
	}
	clear(b.xs)
	b.xs = b.xs[:0]
	batches.Put(b)
	return nil
}

// release gives back what a transfer held.
func (x *transfer) release() { x.buf.Release() }
