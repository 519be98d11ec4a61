// Package trace records which blocks a cache was asked for, and reads such records back, so that replacement
// policies can be compared on what really happens.
//
// A trace is the 8 bytes "strctrc1" and one entry after the other:
//
//	kind   uvarint  cache.Kind
//	file   varint   difference from the file of the entry before, which is 0 at first
//	block  varint   difference from the block of the entry before
//
// An entry takes three to six bytes as a rule. A trace ends anywhere between two entries.
package trace

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"sync"

	"github.com/stratapg/strata/cache"
)

const magic = "strctrc1"

// ErrCorrupt is wrapped by errors of Read about bytes that are no trace.
var ErrCorrupt = errors.New("trace: corrupt")

// Access is a block that was asked for.
type Access struct {
	Key  cache.Key
	Kind cache.Kind
}

// Recorder writes a trace. Its Observe goes into cache.Options. All methods may be called concurrently.
type Recorder struct {
	mu struct {
		sync.Mutex
		w    *bufio.Writer
		last cache.Key
		left int
		err  error
	}
}

// NewRecorder begins a trace of at most so many accesses; what follows is not recorded.
func NewRecorder(w io.Writer, accesses int) *Recorder {
	r := &Recorder{}
	r.mu.w = bufio.NewWriter(w)
	r.mu.left = accesses
	_, r.mu.err = r.mu.w.WriteString(magic)
	return r
}

// Observe records an access.
func (r *Recorder) Observe(k cache.Key, kind cache.Kind) {
	var b [3 * binary.MaxVarintLen64]byte
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mu.left <= 0 || r.mu.err != nil {
		return
	}
	r.mu.left--
	e := binary.AppendUvarint(b[:0], uint64(kind))
	e = binary.AppendVarint(e, int64(k.File-r.mu.last.File))
	e = binary.AppendVarint(e, int64(k.Block)-int64(r.mu.last.Block))
	r.mu.last = k
	_, r.mu.err = r.mu.w.Write(e)
}

// Close writes what is buffered, and gives the first error there was.
func (r *Recorder) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.left = 0
	return errors.Join(r.mu.err, r.mu.w.Flush())
}

// Read gives the accesses of a trace. An error is the last thing it gives.
func Read(from io.Reader) iter.Seq2[Access, error] {
	return func(yield func(Access, error) bool) {
		r := bufio.NewReader(from)
		head := make([]byte, len(magic))
		if _, err := io.ReadFull(r, head); err != nil || string(head) != magic {
			yield(Access{}, fmt.Errorf("%w: it begins with %q and not with %q (%v)", ErrCorrupt, head, magic, err))
			return
		}
		last := cache.Key{}
		for n := 0; ; n++ {
			a, err := readAccess(r, last)
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				yield(Access{}, fmt.Errorf("entry %d: %w", n, err))
				return
			}
			last = a.Key
			if !yield(a, nil) {
				return
			}
		}
	}
}

// readAccess reads an entry; io.EOF says that there is none.
func readAccess(r io.ByteReader, last cache.Key) (Access, error) {
	kind, err := binary.ReadUvarint(r)
	if err != nil {
		return Access{}, corruptUnless(io.EOF, err)
	}
	file, err := binary.ReadVarint(r)
	if err != nil {
		return Access{}, corruptUnless(nil, err)
	}
	diff, err := binary.ReadVarint(r)
	if err != nil {
		return Access{}, corruptUnless(nil, err)
	}
	block := int64(last.Block) + diff
	if kind >= uint64(cache.Kinds) || block != int64(uint32(block)) {
		return Access{}, fmt.Errorf("%w: block %d of kind %d", ErrCorrupt, block, kind)
	}
	return Access{cache.Key{File: last.File + uint64(file), Block: uint32(block)}, cache.Kind(kind)}, nil
}

func corruptUnless(fine, err error) error {
	if fine != nil && err == fine {
		return err
	}
	return fmt.Errorf("%w: %v", ErrCorrupt, err)
}
