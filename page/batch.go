package page

import (
	"encoding/binary"
	"fmt"
)

// Batch gathers serialized values and hands them to a timeline in one step. It owns one buffer for all of
// them, so that putting a value allocates nothing once the buffer has grown; Reset keeps it. A Batch must
// not be used from two goroutines at once. Values of one key are to be added in ascending LSN order; of two
// for one (key, LSN) the last wins.
type Batch struct {
	raw     []byte
	entries []BatchEntry
	// End is the LSN that the timeline has reached once the batch is in: the end of the last record, also
	// where that record left no value. It is at least the LSN of every entry.
	End LSN
	// Prev is where the record ending at End begins, or 0 if unknown.
	Prev LSN
	// Relations says what the batch does to the sizes of relations, if whoever fills it keeps count. Without it a
	// timeline finds out by itself.
	Relations *RelationChanges
	// RelDirs, if set, is how the timeline lists its relations from the record on that ends at its Since. All that reads so
	// needs is in the batch.
	RelDirs *RelDirs
}

// RelationChanges sum up what a batch does to the sizes of relations, beside the sizes that it holds.
type RelationChanges struct {
	// Blocks is by how many blocks all relations together become longer.
	Blocks int64
	// Dropped are the forks dropped, also those that are made anew later in the batch.
	Dropped []DroppedRelation
}

// DroppedRelation is a relation's fork and the end of the record that dropped it.
type DroppedRelation struct {
	Rel RelTag
	LSN LSN
}

// BatchEntry places one value in its batch's buffer.
type BatchEntry struct {
	Key      Key
	LSN      LSN
	Offset   uint32
	Size     uint32
	WillInit bool
}

// Reset empties the batch and keeps its memory.
func (b *Batch) Reset() {
	b.raw, b.entries, b.End, b.Prev, b.Relations, b.RelDirs = b.raw[:0], b.entries[:0], 0, 0, nil, nil
}

// Len gives the number of values, Bytes their serialized size.
func (b *Batch) Len() int   { return len(b.entries) }
func (b *Batch) Bytes() int { return len(b.raw) }

// Entries gives the values' places in the order they were added. The caller must not keep or change them.
func (b *Batch) Entries() []BatchEntry { return b.entries }

// Data gives the serialized value of e.
func (b *Batch) Data(e BatchEntry) []byte { return b.raw[e.Offset : e.Offset+e.Size : e.Offset+e.Size] }

// Truncate keeps the first n values and forgets those added later. End, Prev, Relations and RelDirs stay as they are: the
// caller sets them to what the kept values come to.
func (b *Batch) Truncate(n int) {
	if n < len(b.entries) {
		b.raw, b.entries = b.raw[:b.entries[n].Offset], b.entries[:n]
	}
}

func (b *Batch) added(k Key, lsn LSN, start int, willInit bool) {
	b.entries = append(b.entries, BatchEntry{})
	e := &b.entries[len(b.entries)-1]
	// Field by field: a key that was just made is at hand in the widths of its fields only; copied as a whole it
	// costs 10 ns more.
	e.Key.F1, e.Key.F2, e.Key.F3, e.Key.F4, e.Key.F5, e.Key.F6 = k.F1, k.F2, k.F3, k.F4, k.F5, k.F6
	e.LSN, e.Offset, e.Size, e.WillInit = lsn, uint32(start), uint32(len(b.raw)-start), willInit
	b.End = max(b.End, lsn)
}

// PutImage adds a full page or file.
func (b *Batch) PutImage(k Key, lsn LSN, image []byte) {
	start := len(b.raw)
	b.raw = binary.BigEndian.AppendUint32(b.raw, tagImage)
	b.raw = binary.BigEndian.AppendUint64(b.raw, uint64(len(image)))
	b.raw = append(b.raw, image...)
	b.added(k, lsn, start, true)
}

// PutRecord adds a whole WAL record as one block's next version.
func (b *Batch) PutRecord(k Key, lsn LSN, willInit bool, record []byte) {
	start := len(b.raw)
	b.raw = binary.BigEndian.AppendUint64(b.raw, tagRecord<<32)
	b.raw = append(b.raw, boolByte(willInit))
	b.raw = binary.BigEndian.AppendUint64(b.raw, uint64(len(record)))
	b.raw = append(b.raw, record...)
	b.added(k, lsn, start, willInit)
}

// PutValue adds any value.
func (b *Batch) PutValue(k Key, lsn LSN, v *Value) {
	start := len(b.raw)
	b.raw = v.Append(b.raw)
	b.added(k, lsn, start, v.Initializes())
}

// Check reports the first entry that no timeline at last may take: an LSN that is not above last or not
// aligned, a key that cannot be stored, or a value that is too long.
func (b *Batch) Check(last LSN) error {
	if !b.End.Aligned() {
		return fmt.Errorf("batch ends at LSN %s, which is not a multiple of 8", b.End)
	}
	for i := range b.entries {
		e := &b.entries[i]
		switch {
		case e.LSN <= last:
			return fmt.Errorf("%s at LSN %s: not above the timeline's last LSN %s", e.Key.Describe(), e.LSN, last)
		case !e.LSN.Aligned():
			return fmt.Errorf("%s at LSN %s: not a multiple of 8", e.Key.Describe(), e.LSN)
		case !e.Key.Storable():
			return fmt.Errorf("key %s at LSN %s: no valid form", e.Key, e.LSN)
		case e.Size > MaxValueSize:
			return fmt.Errorf("%s at LSN %s: value of %d bytes, at most %d fit", e.Key.Describe(), e.LSN, e.Size, MaxValueSize)
		}
	}
	return nil
}
