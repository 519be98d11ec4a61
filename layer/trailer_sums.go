package layer

import (
	"encoding/binary"
	"math/bits"

	"github.com/cespare/xxhash/v2"
)

// sumList gathers the checksums of a file while it is written, in the form in which they will lie in its
// trailer but for the sums of their blocks.
type sumList struct {
	list  *blockList
	chunk int
	ratio int    // a layer has about 2^ratio bytes for each of its checksums'
	first []byte // the first block; the list keeps it in memory
	block []byte // the one being filled; nil after an error of the list
	at    int    // in block
}

func newSumList(l *blockList, chunk int) *sumList {
	s := &sumList{list: l, chunk: chunk, ratio: bits.TrailingZeros(uint(chunk / sumSize))}
	s.first = l.next()
	s.block, s.at = s.first, dataStart/chunk*sumSize // the summary's come last
	return s
}

// see adds the checksums of the stretch of the file that follows what it saw last; it has whole chunks.
func (s *sumList) see(_ int64, b []byte) {
	for ; len(b) > 0; b = b[s.chunk:] {
		if s.at == blockSumAt {
			s.block, s.at = s.list.next(), 0
		}
		if s.block == nil {
			return // each tells
		}
		binary.BigEndian.PutUint64(s.block[s.at:], xxhash.Sum64(b[:s.chunk]))
		s.at += sumSize
	}
}

// finish adds the summary's checksums and zeros behind the last.
func (s *sumList) finish(summary []byte) {
	if s.block == nil {
		return
	}
	clear(s.block[s.at:])
	for i := range dataStart / s.chunk {
		binary.BigEndian.PutUint64(s.first[i*sumSize:], xxhash.Sum64(summary[i*s.chunk:][:s.chunk]))
	}
}
