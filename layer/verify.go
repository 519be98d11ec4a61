package layer

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

// Verified is what Verify found in a file that holds.
type Verified struct {
	// Desc describes the layer, with its size, and whether it has an integrity trailer.
	Desc     Desc
	Identity Identity
	Entries  int64
}

// Verify reads a layer file from end to end, every byte once, and compares all it holds with itself and with
// its name: checksums, footer and summary; each node of the index, that its parent names it, that keys and
// LSNs ascend and lie in the layer's ranges; each blob's length, that blobs lie back to back, and that what
// should be zero is. fn, if set, gets each value as it is stored, in order, to look into it; what it is given
// is valid during the call only. The error names file and offset, and wraps ErrCorrupt where that is the
// cause.
//
// Only files with a trailer (Verified.Desc.Checked) can be vouched for bit by bit. Memory does not depend on
// the file's size.
func Verify(ctx context.Context, disk *virtualfile.Disk, dir string, id Identity, d Desc, fn func(k page.Key, lsn page.LSN, willInit bool, s Stored) error) (_ Verified, err error) {
	f, err := disk.Open(filepath.Join(dir, d.FileName()))
	if err != nil {
		return Verified{}, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	v := verifier{file: f, desc: d, fn: fn}
	if err := v.open(ctx, id); err != nil {
		return Verified{}, err
	}
	ctx, cancel := context.WithCancel(ctx)
	v.values = newFileStream(ctx, f, v.trailer, dataStart, v.dataEnd())
	defer v.values.close()
	v.index = newFileStream(ctx, f, v.trailer, v.dataEnd(), v.sum.size())
	defer v.index.close()
	defer cancel() // before the streams are waited for
	if err := v.walk(ctx); err != nil {
		return Verified{}, err
	}
	return Verified{Desc: v.desc, Identity: v.sum.id, Entries: v.entries}, nil
}

// verifier is one run of Verify.
type verifier struct {
	file    *virtualfile.Handle
	desc    Desc
	fn      func(k page.Key, lsn page.LSN, willInit bool, s Stored) error
	sum     summary
	trailer *checksums // nil without
	values  *fileStream
	index   *fileStream
	keyLen  int
	entries int64
	last    place // the entry whose blob ends where the next one's begins
	node    *treeNode
	at      int             // it is that entry of node or, without a node,
	key     [maxKeyLen]byte // it has this key
	orphans [maxTreeLevels][]orphan
}

// place is where the value of an entry begins, and what the index says of it.
type place struct {
	lsn      page.LSN
	willInit bool
	start    int64
}

// orphan is a node of the index that no parent has named yet; the parent comes later in the file.
type orphan struct {
	blk   uint32
	first [maxKeyLen]byte
}

func (v *verifier) name() string { return v.file.Name() }

func (v *verifier) dataEnd() int64 { return int64(v.sum.indexStart) * blockSize }

// open reads the file's ends.
func (v *verifier) open(ctx context.Context, id Identity) error {
	size, err := v.file.Size()
	if err != nil {
		return err
	}
	if err := checkSize(v.name(), v.desc, size); err != nil {
		return err
	}
	b := v.file.Disk().Buffers().Get(2 * blockSize)
	defer b.Release()
	reads := []virtualfile.Read{
		{File: v.file, Buf: b, Len: blockSize},
		{File: v.file, Buf: b, Off: size - blockSize, At: blockSize, Len: blockSize},
	}
	if err := readExactly(ctx, v.file.Disk(), reads); err != nil {
		return err
	}
	first, tail := b.Bytes()[:blockSize], b.Bytes()[blockSize:2*blockSize]
	s, c, checked, err := parseEnds(v.name(), id, v.desc, size, first, tail)
	if err != nil {
		return err
	}
	if !bytes.Equal(s.append(nil), first) {
		return corruptf(v.name(), 0, "bytes behind the summary are not zero")
	}
	v.sum, v.keyLen = s, page.KeySize
	if !v.desc.Image {
		v.keyLen = deltaKeyLen
	}
	v.desc.Size, v.desc.Checked = size, checked
	if !checked {
		return nil
	}
	v.trailer = &c
	w := sumWindow{file: v.file, c: v.trailer}
	defer w.release()
	return w.verify(ctx, 0, first)
}

// walk goes through the index in the order of the file, which has every node before its parent, and beside
// it through the values.
func (v *verifier) walk(ctx context.Context) error {
	for n := uint32(0); n <= v.sum.indexRoot; n++ {
		at := v.dataEnd() + int64(n)*blockSize
		b, err := v.index.bytes(ctx, at, at+blockSize)
		if err != nil {
			return err
		}
		node, err := parseNode(b, v.keyLen)
		if err != nil {
			return v.corrupt(n, "%v", err)
		}
		if used := nodeHeader + len(node.prefix) + len(node.suffixes) + len(node.values); !allZero(b[used:]) {
			return v.corrupt(n, "bytes behind the last entry are not zero")
		}
		if node.level == 0 {
			err = v.leaf(ctx, n, &node)
		} else {
			err = v.parent(n, &node)
		}
		if err == nil {
			err = v.adopt(n, &node)
		}
		if err != nil {
			return err
		}
	}
	return v.end(ctx)
}

// end checks what can only be said after the last node.
func (v *verifier) end(ctx context.Context) error {
	open := 0
	for _, o := range v.orphans {
		open += len(o)
	}
	if open != 1 { // the root itself
		return v.corrupt(v.sum.indexRoot, "%d nodes of the index are no one's children", open-1)
	}
	if v.entries > 0 {
		if err := v.blob(ctx, v.dataEnd(), true); err != nil {
			return err
		}
	}
	return v.values.finish(ctx)
}

// adopt notes that a node waits for its parent.
func (v *verifier) adopt(n uint32, node *treeNode) error {
	l := v.orphans[node.level]
	if len(l) > maxFanout {
		return v.corrupt(n, "more nodes of level %d than a parent can have", node.level)
	}
	o := orphan{blk: n}
	node.copyKey(o.first[:v.keyLen], 0)
	v.orphans[node.level] = append(l, o)
	return nil
}

// parent checks that an inner node names the oldest nodes below it that have no parent yet, by their first
// keys.
func (v *verifier) parent(n uint32, node *treeNode) error {
	below := v.orphans[node.level-1]
	if node.n > len(below) {
		return v.corrupt(n, "%d children, only %d nodes of level %d are there", node.n, len(below), node.level-1)
	}
	var key [maxKeyLen]byte
	for i := range node.n {
		node.copyKey(key[:v.keyLen], i)
		if node.value(i) != childMark|uint64(below[i].blk) || key != below[i].first {
			return v.corrupt(n, "entry %d is key %x, child %010x; it should be %x, block %d",
				i, key[:v.keyLen], node.value(i), below[i].first[:v.keyLen], below[i].blk)
		}
	}
	v.orphans[node.level-1] = append(below[:0], below[node.n:]...)
	return nil
}

// leaf checks entries, and the blobs that they tell the ends of.
func (v *verifier) leaf(ctx context.Context, n uint32, node *treeNode) error {
	var key [maxKeyLen]byte
	p := copy(key[:], node.prefix)
	for i := 0; i < node.n; i++ {
		if i > 0 {
			i = v.plain(node, i)
		}
		copy(key[p:v.keyLen], node.suffix(i))
		if i > 0 && bytes.Compare(node.suffix(i), node.suffix(i-1)) <= 0 ||
			i == 0 && v.entries > 0 && bytes.Compare(key[:v.keyLen], v.key[:v.keyLen]) <= 0 {
			return v.corrupt(n, "key %x of entry %d does not ascend", string(key[:v.keyLen]), i)
		}
		value := node.value(i)
		e := place{lsn: v.desc.LSNs.Start, willInit: true, start: int64(value)}
		if !v.desc.Image {
			e = place{lsn: page.LSN(binary.BigEndian.Uint64(key[page.KeySize:])), willInit: value&1 == 1, start: int64(value >> 1)}
		}
		// Keys ascend, so that the ends of a node stand for all of it.
		outside := (i == 0 || i == node.n-1) && !v.desc.Keys.Contains(page.KeyFromBytes(key[:]))
		switch {
		case value > maxTreeValue:
			return v.corrupt(n, "entry %d of a leaf is a child (%010x)", i, value)
		case outside || !v.desc.LSNs.Contains(e.lsn):
			return v.corrupt(n, "key %x at LSN %s is outside the layer", string(key[:page.KeySize]), e.lsn)
		case v.entries == 0 && e.start != dataStart:
			return v.corrupt(n, "the first value lies at offset %d, not at %d", e.start, int64(dataStart))
		case v.entries > 0 && e.start <= v.last.start || e.start >= v.dataEnd():
			return v.corrupt(n, "key %x at LSN %s: value at offset %d, behind one at %d in values up to %d",
				string(key[:page.KeySize]), e.lsn, e.start, v.last.start, v.dataEnd())
		}
		if v.entries > 0 {
			if err := v.blob(ctx, e.start, false); err != nil {
				return err
			}
		}
		v.last, v.node, v.at = e, node, i
		v.entries++
	}
	v.key, v.node = key, nil
	return nil
}

// lastKey gives the key of the last entry.
func (v *verifier) lastKey() page.Key {
	if v.node != nil {
		v.node.copyKey(v.key[:v.keyLen], v.at)
	}
	return page.KeyFromBytes(v.key[:])
}

// blob checks the blob of the last entry, which ends at end; that of the file's last one is followed by
// zeros.
func (v *verifier) blob(ctx context.Context, end int64, last bool) error {
	e := &v.last
	b, err := v.values.bytes(ctx, e.start, end)
	if err != nil {
		return err
	}
	s, size, err := parseBlob(b)
	if err != nil {
		return v.badBlob("%v", err)
	}
	if rest := b[size:]; len(rest) > 0 && (!last || len(rest) >= blockSize || !allZero(rest)) {
		return v.badBlob("blob of %d bytes where %d lie before the next", size, len(b))
	}
	if v.fn == nil {
		return nil
	}
	if err := v.fn(v.lastKey(), e.lsn, e.willInit, s); err != nil {
		return v.badBlob("%w", err)
	}
	return nil
}

// badBlob reports what is wrong with the blob of the last entry.
func (v *verifier) badBlob(format string, args ...any) error {
	return fmt.Errorf("%w: %s, offset %d: %s at LSN %s: %w", ErrCorrupt, v.name(), v.last.start,
		v.lastKey().Describe(), v.last.lsn, fmt.Errorf(format, args...))
}

func (v *verifier) corrupt(n uint32, format string, args ...any) error {
	return corruptf(v.name(), v.dataEnd()+int64(n)*blockSize, "index block %d: %s", n, fmt.Sprintf(format, args...))
}

var zeroBlock [blockSize]byte

func allZero(b []byte) bool { return bytes.Equal(b, zeroBlock[:len(b)]) }
