package layer

import (
	"context"
	"fmt"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

const (
	deltaKeyLen = page.KeySize + 8
	// maxDeltaSize is the largest file that Neon uploads in one piece.
	maxDeltaSize = 4_500_000_000
)

// DeltaWriter writes a delta layer: serialized values of a range of keys and LSNs, never compressed. It
// writes to a temporary file, so that a crash leaves no half layer. Not for concurrent use.
type DeltaWriter struct {
	w      *fileWriter
	desc   Desc
	any    bool
	chains chainCounter
}

// NewDeltaWriter begins a delta layer in dir. Its end key is told to Finish, as it may depend on where the
// writer's caller decides to cut.
func NewDeltaWriter(disk *virtualfile.Disk, dir string, id Identity, startKey page.Key, lsns page.LSNRange, gen uint32, o WriterOptions) (*DeltaWriter, error) {
	if err := checkRanges(page.Range{Start: startKey, End: page.MaxKey}, lsns); err != nil {
		return nil, err
	}
	// The letters stand where the end key will, as in Neon's temporary names: no hex digits, so that no parser
	// takes the file for a layer.
	temp := fmt.Sprintf("%s-XXX__%s-%s", startKey, lsns.Start.Hex(), lsns.End.Hex())
	w, err := newFileWriter(disk, dir, temp, id, deltaKeyLen, &o)
	if err != nil {
		return nil, err
	}
	return &DeltaWriter{w: w, desc: Desc{Keys: page.Range{Start: startKey}, LSNs: lsns, Generation: gen}}, nil
}

// Add appends a serialized value. Entries must ascend by (key, LSN), each LSN within the layer's range.
// After an error the writer is only good for Abort.
func (w *DeltaWriter) Add(k page.Key, lsn page.LSN, willInit bool, value []byte) error {
	key := deltaKey(&k, lsn)
	return w.addAt(&key, willInit, value)
}

func (w *DeltaWriter) add(k *page.Key, lsn page.LSN, willInit bool, value []byte) error {
	key := deltaKey(k, lsn)
	return w.addAt(&key, willInit, value)
}

func (w *DeltaWriter) addAt(key *treeKey, willInit bool, value []byte) error {
	if err := w.w.usable(); err != nil {
		return err
	}
	lsn := key.lsn()
	if !w.any && key.page().Less(w.desc.Keys.Start) || lsn < w.desc.LSNs.Start || lsn >= w.desc.LSNs.End ||
		len(value) > maxBlob || w.w.size()+int64(len(value)) > maxDeltaSize {
		return w.refuse(key.page(), lsn, len(value))
	}
	ref := uint64(w.w.offset()) << 1
	if willInit {
		ref |= 1
	}
	if err := w.w.entry(key, ref); err != nil {
		return err
	}
	w.any = true
	w.chains.add(key, willInit, value)
	return w.w.blob(Stored{Data: value})
}

// Chains says, after Finish, how many records of a key follow each other.
func (w *DeltaWriter) Chains() page.Chains { return w.chains.finish() }

// PassOver has what follows count as if an image of the present key had been added: its page cannot be rebuilt, and no
// image would make its chain shorter.
func (w *DeltaWriter) PassOver() { w.chains.run = 0 }

// refuse says what is wrong with an entry.
func (w *DeltaWriter) refuse(k page.Key, lsn page.LSN, size int) error {
	switch {
	case !w.any && k.Less(w.desc.Keys.Start):
		return w.w.fail(fmt.Errorf("%w: key %s below the layer's %s", ErrOrder, k, w.desc.Keys.Start))
	case lsn < w.desc.LSNs.Start || lsn >= w.desc.LSNs.End:
		return w.w.fail(fmt.Errorf("%w: key %s at LSN %s outside %s", ErrOrder, k, lsn, w.desc.LSNs))
	case size > maxBlob:
		return w.w.fail(fmt.Errorf("key %s at LSN %s: value of %d bytes, at most %d fit", k, lsn, size, maxBlob))
	}
	return w.w.fail(fmt.Errorf("key %s at LSN %s: the file would pass %d bytes", k, lsn, int64(maxDeltaSize)))
}

// deltaKey is a key of the index: k.Put and the LSN behind it.
func deltaKey(k *page.Key, lsn page.LSN) treeKey {
	return treeKey{
		uint64(k.F1)<<56 | uint64(k.F2)<<24 | uint64(k.F3)>>8,
		uint64(k.F3)<<56 | uint64(k.F4)<<24 | uint64(k.F5)<<16 | uint64(k.F6)>>16,
		uint64(k.F6)<<48 | uint64(lsn)>>16,
		uint64(lsn) << 48,
	}
}

// EstimatedSize gives about the length of the file in bytes if it were finished now.
func (w *DeltaWriter) EstimatedSize() int64 { return w.w.size() }

// Finish ends the layer at endKey (exclusive), syncs the file and gives it its final name, which must not
// be taken. The folder is not synced: the caller does that once for all files of a step. A layer without
// entries is an error, and so is a context that ends before the file has its name: nothing is left then. After
// Finish, Abort does nothing.
func (w *DeltaWriter) Finish(ctx context.Context, endKey page.Key) (Desc, error) {
	key := w.w.tree.last.bytes()
	if last := page.KeyFromBytes(key[:]); w.any && !last.Less(endKey) {
		_ = w.w.fail(fmt.Errorf("%w: key %s is not below the end key %s", ErrOrder, last, endKey))
	}
	d := w.desc
	d.Keys.End = endKey
	return w.w.finish(ctx, d)
}

// Abort removes the unfinished file.
func (w *DeltaWriter) Abort() { w.w.abort() }
