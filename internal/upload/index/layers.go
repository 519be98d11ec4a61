package index

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"iter"
	"strconv"

	"github.com/stratapg/strata/internal/sorted"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
)

// Layers are those of an index. There may be very many, of timelines that nobody reads: one takes some 85 bytes.
type Layers struct {
	rows *sorted.Set[row]
	// rest are the fields that are not known here, of those layers that have any.
	rest map[identity]string
}

// identity is what makes two layers one.
type identity struct {
	keys  [2 * page.KeySize]byte
	image bool
	lsns  page.LSNRange
}

// row is a layer without pointers.
type row struct {
	keys       [2 * page.KeySize]byte
	shard      uint16
	flags      uint8
	generation uint32
	lsns       page.LSNRange
	size       int64
	sum        Sum
}

const (
	flagImage   = 1
	flagTrailer = 2
)

func compareRows(a, b *row) int {
	return cmp.Or(bytes.Compare(a.keys[:], b.keys[:]), cmp.Compare(a.lsns.Start, b.lsns.Start), cmp.Compare(a.lsns.End, b.lsns.End),
		cmp.Compare(a.flags&flagImage, b.flags&flagImage))
}

func rowOf(d *layer.Desc) (r row) {
	d.Keys.Start.Put(r.keys[:])
	d.Keys.End.Put(r.keys[page.KeySize:])
	r.lsns, r.size, r.generation = d.LSNs, d.Size, d.Generation
	if d.Image {
		r.flags |= flagImage
	}
	if d.Checked {
		r.flags |= flagTrailer
	}
	return r
}

func (r *row) identity() identity { return identity{r.keys, r.flags&flagImage != 0, r.lsns} }

func (r *row) desc() layer.Desc {
	return layer.Desc{Keys: page.Range{Start: page.KeyFromBytes(r.keys[:]), End: page.KeyFromBytes(r.keys[page.KeySize:])}, LSNs: r.lsns,
		Image: r.flags&flagImage != 0, Checked: r.flags&flagTrailer != 0, Size: r.size, Generation: r.generation}
}

func (s *Layers) layer(r *row) Layer {
	l := Layer{Desc: r.desc(), Sum: r.sum, Rest: s.rest[r.identity()]}
	if r.shard != 0 {
		l.Shard = fmt.Sprintf("%04x", r.shard)
	}
	return l
}

// Len is how many there are.
func (s *Layers) Len() int {
	if s.rows == nil {
		return 0
	}
	return s.rows.Len()
}

// Find gives the layer with the keys, the LSNs and the kind of d.
func (s *Layers) Find(d *layer.Desc) (l Layer, ok bool) {
	if s.rows == nil {
		return l, false
	}
	r := rowOf(d)
	found, ok := s.rows.Find(&r)
	if ok {
		l = s.layer(&found)
	}
	return l, ok
}

// All gives the layers, by keys and LSNs.
func (s *Layers) All() iter.Seq[Layer] {
	return func(yield func(Layer) bool) {
		if s.rows == nil {
			return
		}
		for r := range s.rows.All() {
			if !yield(s.layer(r)) {
				return
			}
		}
	}
}

// Put adds a layer, or replaces the one with its keys, LSNs and kind.
func (s *Layers) Put(l Layer) error {
	r, err := packed(&l)
	if err != nil {
		return err
	}
	if s.rows == nil {
		s.rows = sorted.New(compareRows)
	}
	s.rows.Put(r)
	if delete(s.rest, r.identity()); l.Rest != "" {
		s.keep(&r, l.Rest)
	}
	return nil
}

func (s *Layers) keep(r *row, rest string) {
	if s.rest == nil {
		s.rest = map[identity]string{}
	}
	s.rest[r.identity()] = rest
}

// Remove takes out the layer with the keys, the LSNs and the kind of d, if it is there.
func (s *Layers) Remove(d *layer.Desc) {
	if s.rows != nil {
		r := rowOf(d)
		s.rows.Delete(&r)
		delete(s.rest, r.identity())
	}
}

// packed checks what a name does not.
func packed(l *Layer) (r row, err error) {
	r = rowOf(&l.Desc)
	r.sum = l.Sum
	if l.Desc.Size <= 0 {
		return r, fmt.Errorf("file_size is %d", l.Desc.Size)
	}
	if l.Shard != "" {
		v, err := strconv.ParseUint(l.Shard, 16, 16)
		if err != nil || len(l.Shard) != 4 || !isLower(l.Shard) {
			return r, fmt.Errorf("shard is %.20q: want four hex digits", l.Shard)
		}
		r.shard = uint16(v)
	}
	return r, nil
}

func isLower(s string) bool {
	for _, c := range s {
		if c >= 'A' && c <= 'F' {
			return false
		}
	}
	return true
}

// encodedEntry is about an entry of ours with a delta's name, and what a document has beside its layers.
const encodedEntry = 220

// EncodedSize is about how large the document is, and how much memory its making takes.
func (s *Layers) EncodedSize() int64 { return int64(s.Len()+1) * encodedEntry }

// append writes the layers as an object of JSON.
func (s *Layers) append(b []byte) []byte {
	b = append(b, '{')
	if s.rows == nil {
		return append(b, '}')
	}
	b = append(make([]byte, 0, int64(len(b))+s.EncodedSize()), b...)
	comma := false
	for r := range s.rows.All() {
		if comma {
			b = append(b, ',')
		}
		comma = true
		b = r.appendName(append(b, '"'))
		b = r.appendFields(append(b, `":`...), s.rest[r.identity()])
	}
	return append(b, '}')
}

const upperDigits = "0123456789ABCDEF"

func appendHex(b, v []byte) []byte {
	for _, c := range v {
		b = append(b, upperDigits[c>>4], upperDigits[c&15])
	}
	return b
}

// appendName writes what layer.Desc.Name gives.
func (r *row) appendName(b []byte) []byte {
	var lsn [8]byte
	b = append(appendHex(b, r.keys[:page.KeySize]), '-')
	b = append(appendHex(b, r.keys[page.KeySize:]), "__"...)
	binary.BigEndian.PutUint64(lsn[:], uint64(r.lsns.Start))
	if b = appendHex(b, lsn[:]); r.flags&flagImage != 0 {
		return b
	}
	binary.BigEndian.PutUint64(lsn[:], uint64(r.lsns.End))
	return appendHex(append(b, '-'), lsn[:])
}

// appendFields writes the known fields and then the others.
func (r *row) appendFields(b []byte, rest string) []byte {
	b = strconv.AppendInt(append(b, `{"file_size":`...), r.size, 10)
	if r.generation != 0 {
		b = strconv.AppendUint(append(b, `,"generation":`...), uint64(r.generation), 10)
	}
	if r.shard != 0 {
		b = fmt.Appendf(b, `,"shard":"%04x"`, r.shard)
	}
	if r.sum != 0 {
		b = fmt.Appendf(b, `,"xxh64":"%0*x"`, sumDigits, uint64(r.sum))
	}
	if r.flags&flagTrailer != 0 {
		b = append(b, `,"trailer":true`...)
	}
	if rest != "" {
		b = append(append(b, ','), rest...)
	}
	return append(b, '}')
}
