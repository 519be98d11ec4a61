package layer

import (
	"context"
	"errors"
	"iter"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

// ErrCorrupt marks bytes on disk that cannot be what was written. The error's text names file and offset.
var ErrCorrupt = errors.New("corrupt layer file")

type Identity struct {
	Tenant   page.TenantID
	Timeline page.TimelineID
}

type Desc struct {
	Keys       page.Range
	LSNs       page.LSNRange
	Image      bool
	Size       int64
	Generation uint32
}

func (d Desc) Name() string            { panic("skeleton") }
func (d Desc) FileName() string        { panic("skeleton") }
func (d Desc) IsL0() bool              { panic("skeleton") }
func ParseName(s string) (Desc, error) { panic("skeleton") }

// Compression says how an image layer's blobs are stored; the zero value is the default, zstd level 1.
type Compression struct {
	Disabled bool
	Level    int
}

type DeltaWriter struct{}

func NewDeltaWriter(fs virtualfile.FS, dir string, id Identity, startKey page.Key, lsns page.LSNRange, gen uint32) (*DeltaWriter, error) {
	panic("skeleton")
}
func (w *DeltaWriter) Add(k page.Key, lsn page.LSN, willInit bool, value []byte) error {
	panic("skeleton")
}
func (w *DeltaWriter) Finish(endKey page.Key) (Desc, error) { panic("skeleton") }
func (w *DeltaWriter) Abort()                               { panic("skeleton") }
func (w *DeltaWriter) EstimatedSize() int64                 { panic("skeleton") }

type ImageWriter struct{}

func NewImageWriter(fs virtualfile.FS, dir string, id Identity, keys page.Range, lsn page.LSN, gen uint32, c Compression) (*ImageWriter, error) {
	panic("skeleton")
}
func (w *ImageWriter) Add(k page.Key, image []byte) error   { panic("skeleton") }
func (w *ImageWriter) Finish(endKey page.Key) (Desc, error) { panic("skeleton") }
func (w *ImageWriter) Abort()                               { panic("skeleton") }
func (w *ImageWriter) EstimatedSize() int64                 { panic("skeleton") }

type Reader struct{}

func OpenReader(fs virtualfile.FS, dir string, id Identity, d Desc) (*Reader, error) {
	panic("skeleton")
}

// Collect adds to c what the layer holds of keys within lsns. An image layer settles all keys of its range.
func (r *Reader) Collect(ctx context.Context, c *Collector, keys page.Set, lsns page.LSNRange) error {
	panic("skeleton")
}

// Iterate gives all entries in (key, LSN) order; value is valid during the call only.
func (r *Reader) Iterate(ctx context.Context, fn func(k page.Key, lsn page.LSN, willInit bool, value []byte) error) error {
	panic("skeleton")
}
func (r *Reader) Desc() Desc   { panic("skeleton") }
func (r *Reader) Close() error { panic("skeleton") }

type Mem struct{}

func NewMem(start page.LSN) *Mem       { panic("skeleton") }
func (m *Mem) Put(b *page.Batch) error { panic("skeleton") }
func (m *Mem) Freeze(end page.LSN)     { panic("skeleton") }
func (m *Mem) Collect(ctx context.Context, c *Collector, keys page.Set, lsns page.LSNRange) error {
	panic("skeleton")
}
func (m *Mem) Iterate(ctx context.Context, fn func(k page.Key, lsn page.LSN, willInit bool, value []byte) error) error {
	panic("skeleton")
}
func (m *Mem) Size() int64 { panic("skeleton") }

// Len gives the number of values.
func (m *Mem) Len() int            { panic("skeleton") }
func (m *Mem) LSNs() page.LSNRange { panic("skeleton") }

type Map struct{}

func NewMap(ds []Desc) (*Map, error)                  { panic("skeleton") }
func (m *Map) Apply(add, remove []Desc) (*Map, error) { panic("skeleton") }
func (m *Map) Layers() []Desc                         { panic("skeleton") }
func (m *Map) L0() []Desc                             { panic("skeleton") }
func (m *Map) Len() int                               { panic("skeleton") }

// Visit is one layer to be asked for some keys within an LSN range.
type Visit struct {
	Desc Desc
	Keys page.Set
	LSNs page.LSNRange
}

// Visits gives, newest first, the layers that may hold what c still lacks of its keys below the exclusive
// LSN end. The caller calls Collect(ctx, c, v.Keys, v.LSNs) on each before it takes the next; nothing more
// is given once nothing is open. Keys already complete are not asked again, so the caller narrows nothing.
//
//	for v := range m.Visits(c, lsn+1) { r := open(v.Desc); r.Collect(ctx, c, v.Keys, v.LSNs) }
//	if !c.Open().Empty() { … ancestor: for v := range parent.Visits(c, branchLSN+1) … }
func (m *Map) Visits(c *Collector, end page.LSN) iter.Seq[Visit] { panic("skeleton") }

// Found is one version of a key.
type Found struct {
	LSN   page.LSN
	Value []byte // a serialized page.Value, or the bare image if Raw
	Raw   bool
}

type Collector struct{}

func NewCollector(keys page.Set, lsn page.LSN) *Collector { panic("skeleton") }
func (c *Collector) LSN() page.LSN                        { panic("skeleton") }
func (c *Collector) Add(k page.Key, lsn page.LSN, raw, willInit bool, value []byte) {
	panic("skeleton")
}

// Open gives the keys that lack an initializing value and that no image layer has settled.
func (c *Collector) Open() page.Set { panic("skeleton") }

// Results gives, in key order, every key for which something was found, its values newest first; the last
// one initializes, unless the chain is broken. The slice is valid during one step only.
func (c *Collector) Results() iter.Seq2[page.Key, []Found] { panic("skeleton") }

// Release gives the buffers back; no value may be used afterwards.
func (c *Collector) Release() { panic("skeleton") }
