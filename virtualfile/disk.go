package virtualfile

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync/atomic"

	"github.com/stratapg/strata/internal/budget"
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

const (
	// defaultAlign is the least alignment that any device in use has: a sector of old.
	defaultAlign = 512
	// defaultInFlight bounds the reads in flight: at 128 KiB each, eight times what a drive takes at once.
	defaultInFlight = 64 << 20
)

// ErrClosed says that a Disk or a Handle is used after Close. It is fs.ErrClosed.
var ErrClosed = fs.ErrClosed

// DiskOptions have useful zeros.
type DiskOptions struct {
	Mode   Mode
	Engine EngineKind
	// Align is the least alignment in bytes, a power of two up to BufferAlign; the kernel may ask for more.
	// Default 512.
	Align int
	// Validate checks every transfer against the alignment, in every mode and on every platform, and poisons
	// free buffers. Files without descriptors, those in memory for example, are checked always.
	Validate bool
	// MaxDescriptors bounds the descriptors kept open; default half of RLIMIT_NOFILE.
	MaxDescriptors int
	// MaxInFlight bounds the bytes of transfers in flight, of the whole Disk; default 64 MiB. Too little
	// leaves the drive idle; too much only queues.
	MaxInFlight int64
	// InFlight, if set, is the share of a larger budget that takes the place of MaxInFlight.
	InFlight *budget.Share
	// MaxIdleBuffers bounds the bytes of free buffers that are kept; default 32 MiB.
	MaxIdleBuffers int64
	Logger         *slog.Logger
	// Fallback, if set, is told by NewDisk why io_uring is not used where it was wanted, be it by default.
	Fallback func(err error)
}

func (o DiskOptions) withDefaults() DiskOptions {
	if o.Align == 0 {
		o.Align = defaultAlign
	}
	if o.MaxDescriptors == 0 {
		o.MaxDescriptors = defaultDescriptors()
	}
	if o.MaxInFlight == 0 {
		o.MaxInFlight = defaultInFlight
	}
	if o.MaxIdleBuffers == 0 {
		o.MaxIdleBuffers = defaultIdleBuffers
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

func (o DiskOptions) validate() error {
	var errs []error
	bad := func(field string, value any, must string) {
		errs = append(errs, fmt.Errorf("virtualfile: DiskOptions.%s is %v, it must be %s", field, value, must))
	}
	if o.Align < 1 || o.Align > BufferAlign || o.Align&(o.Align-1) != 0 {
		bad("Align", o.Align, fmt.Sprintf("a power of two up to %d", BufferAlign))
	}
	if o.MaxDescriptors < 1 {
		bad("MaxDescriptors", o.MaxDescriptors, "at least 1")
	}
	if o.MaxInFlight < 1 {
		bad("MaxInFlight", o.MaxInFlight, "at least 1")
	}
	if o.MaxIdleBuffers < 0 {
		bad("MaxIdleBuffers", o.MaxIdleBuffers, "at least 0")
	}
	if o.Engine > EngineURing {
		bad("Engine", o.Engine, "one of the constants")
	}
	return errors.Join(append(errs, o.Mode.validate())...)
}

// Disk is the door to large immutable files (layers) and to scratch files: many more virtual files than
// descriptors, aligned transfers, one engine. Small files (manifests, locks) go through FS itself. All
// methods may be called concurrently.
type Disk struct {
	fs       FS
	o        DiskOptions
	log      *slog.Logger
	bufs     Buffers
	mode     atomic.Uint32
	engines  engines
	cache    descriptors
	names    names
	inFlight *budget.Share
	gate     gate
	counters diskCounters
	refused  atomic.Bool // the warning that a file system refuses direct I/O was given
}

// NewDisk makes the Disk of a file system. Close must be called.
func NewDisk(fsys FS, o DiskOptions) (*Disk, error) {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return nil, err
	}
	d := &Disk{fs: fsys, o: o, log: o.Logger, inFlight: o.InFlight}
	if d.inFlight == nil {
		share, err := budget.New(o.MaxInFlight).Share("transfers in flight", o.MaxInFlight)
		if err != nil {
			return nil, err
		}
		d.inFlight = share
	}
	e, err := newEngine(o)
	if err != nil {
		return nil, err
	}
	d.engines.add(e)
	d.bufs.maxIdle, d.bufs.poison = o.MaxIdleBuffers, o.Validate
	d.mode.Store(uint32(o.Mode.resolve()))
	d.cache.init(d, o.MaxDescriptors)
	d.names.init()
	d.gate.init()
	return d, nil
}

// FS is the file system below.
func (d *Disk) FS() FS { return d.fs }

// Buffers is the Disk's pool.
func (d *Disk) Buffers() *Buffers { return &d.bufs }

// Align gives the alignment in bytes that new files will ask for at least.
func (d *Disk) Align() int { return d.o.Align }

// Mode gives the mode in which files are opened now.
func (d *Disk) Mode() Mode { return Mode(d.mode.Load()) }

// SetMode changes the mode for files opened from now on. Handles keep the mode they were opened in, also
// when their descriptor is closed and opened again meanwhile.
func (d *Disk) SetMode(m Mode) error {
	if err := m.validate(); err != nil {
		return err
	}
	d.mode.Store(uint32(m.resolve()))
	return nil
}

// Close waits for transfers in flight, abandoned ones too, and closes all descriptors. Handles cannot be
// used afterwards, but for Close. Buffers still owned stay valid until they are released. In validation mode
// it is an error if there are any: somebody forgot to release them.
func (d *Disk) Close() error {
	if !d.gate.close() {
		return nil
	}
	err := d.cache.closeAll()
	err = errors.Join(err, d.engines.close())
	d.bufs.close()
	if n := d.bufs.inUse.Load(); n != 0 && d.o.Validate {
		err = errors.Join(err, fmt.Errorf("virtualfile: %d bytes of buffers were never released", n))
	}
	return err
}

// Open opens an existing file for reading.
func (d *Disk) Open(name string) (*Handle, error) {
	return d.open(context.Background(), name, d.Mode().flags(false))
}

// Create makes a file that must not exist yet, for writing and reading.
func (d *Disk) Create(name string) (*Handle, error) {
	return d.open(context.Background(), name, FlagWrite|FlagCreate|d.Mode().flags(true))
}

// open makes the handle of a file. Its name is known before the file is opened, so that a rename at the same
// time moves it.
func (d *Disk) open(ctx context.Context, name string, flags Flags) (*Handle, error) {
	if !d.gate.enter() {
		return nil, pathError("open", name, ErrClosed)
	}
	defer d.gate.leave()
	if err := d.cache.slot(ctx, true); err != nil {
		return nil, pathError("open", name, err)
	}
	h := &Handle{disk: d}
	h.pins.Store(absent)
	if err := d.names.add(ctx, h, name); err != nil {
		d.cache.freeSlot()
		return nil, pathError("open", name, err)
	}
	f, flags, err := d.openFile(name, flags)
	if err == nil {
		err = h.first(f, flags)
	}
	if err != nil {
		d.names.drop(h)
		d.cache.freeSlot()
		return nil, err
	}
	d.counters.opens.Add(1)
	d.counters.handles.Add(1)
	d.cache.publish(h, 0)
	return h, nil
}

// openFile opens a file, past the page cache if the flags say so and the file system can. It gives the
// flags for opening it again.
func (d *Disk) openFile(name string, flags Flags) (File, Flags, error) {
	f, err := d.cache.openFile(name, flags)
	if flags&FlagDirect == 0 || !directRefused(f, err) {
		return f, flags &^ FlagCreate, err
	}
	if !d.refused.Swap(true) {
		d.log.Warn("direct I/O is refused, the page cache is used", "file", name, "error", err)
	}
	d.counters.refused.Add(1)
	if f != nil {
		if err := f.Close(); err != nil {
			return nil, 0, err
		}
	}
	flags &^= FlagDirect
	f, err = d.cache.openFile(name, flags&^FlagCreate)
	if flags&FlagCreate != 0 && errors.Is(err, fs.ErrNotExist) {
		// Linux makes the file before it refuses; other systems may not.
		f, err = d.cache.openFile(name, flags)
	}
	return f, flags &^ FlagCreate, err
}
