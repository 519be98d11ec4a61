package xlogrec

import (
	"fmt"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/wal"
)

// VMClear says which bits of the visibility map a heap record clears. Most minor versions do not name the map
// pages in such records; since 17.11 PostgreSQL registers those whose bits were set, behind the heap pages.
type VMClear struct {
	// New is the heap block that the record names under id 0, Old the one under id 1, or if there is no such
	// the same one.
	New, Old bool
	Flags    uint8 // VMAllVisible, VMAllFrozen
}

// Layout of a visibility map (access/heap/visibilitymap.c): a page header, then two bits per heap block.
const (
	VMBitsPerHeapBlock  = 2
	VMHeapBlocksPerByte = 4
	// VMHeapBlocksPerPage is how many heap blocks a map page tells of.
	VMHeapBlocksPerPage = (pg.BlockSize - 24) * VMHeapBlocksPerByte
)

// HeapBlocks gives the map, and the heap blocks whose bits in it are to be cleared beside the record:
// page.NoBlock where there is none, and where the record names the map page itself, whose own redo then
// clears them.
func (c VMClear) HeapBlocks(rec *wal.Record) (vm page.RelTag, newBlock, oldBlock uint32) {
	newBlock, oldBlock = page.NoBlock, page.NoBlock
	heap := rec.Block(0)
	if heap == nil {
		return vm, newBlock, oldBlock
	}
	vm = heap.Rel.WithFork(page.ForkVM)
	implied := func(b *wal.Block) uint32 {
		for i := range rec.Blocks {
			if m := &rec.Blocks[i]; m.Rel == vm && m.Blkno == b.Blkno/VMHeapBlocksPerPage {
				return page.NoBlock
			}
		}
		return b.Blkno
	}
	if c.New {
		newBlock = implied(heap)
	}
	if c.Old {
		if old := rec.Block(1); old != nil && old.Rel == heap.Rel {
			heap = old
		}
		oldBlock = implied(heap)
	}
	return vm, newBlock, oldBlock
}

// Bits of the visibility map (access/visibilitymapdefs.h).
const (
	VMAllVisible = 1
	VMAllFrozen  = 2
	vmValidBits  = VMAllVisible | VMAllFrozen
)

// Operations of the heap managers that may clear bits (access/heapam_xlog.h), and of Neon's own manager.
const (
	heapOpMask = 0x70

	heapInsert    = 0x00
	heapDelete    = 0x10
	heapUpdate    = 0x20
	heapHotUpdate = 0x40
	heapLock      = 0x60

	heap2MultiInsert = 0x50
	heap2LockUpdated = 0x60

	neonInsert      = 0x00
	neonDelete      = 0x10
	neonUpdate      = 0x20
	neonHotUpdate   = 0x30
	neonLock        = 0x40
	neonMultiInsert = 0x50
)

// Flags of heap records (XLH_*). The first bit of insert, delete, multi-insert and update means that the
// all-visible bit of the (old) tuple's page is cleared, of lock that its all-frozen bit is; the second bit of
// update is about the new tuple's page.
const (
	flagCleared    = 1
	flagNewCleared = 2
)

// heapKind is how a record's flags are to be read.
type heapKind uint8

const (
	kindNone heapKind = iota
	kindInsert
	kindUpdate
	kindLock
)

// heapOp is where an operation's flag byte is.
type heapOp struct {
	kind   heapKind
	offset uint8
}

var (
	// Offsets of flags in xl_heap_insert, xl_heap_delete, xl_heap_update and xl_heap_lock, the same in 14 to 17.
	stockHeap = [8]heapOp{
		heapInsert >> 4: {kindInsert, 2}, heapDelete >> 4: {kindInsert, 7}, heapUpdate >> 4: {kindUpdate, 7},
		heapHotUpdate >> 4: {kindUpdate, 7}, heapLock >> 4: {kindLock, 7},
	}
	// Neon's 14 and 15 put a command id before the last two bytes of delete and lock.
	neonHeap14 = [8]heapOp{
		heapInsert >> 4: {kindInsert, 2}, heapDelete >> 4: {kindInsert, 13}, heapUpdate >> 4: {kindUpdate, 7},
		heapHotUpdate >> 4: {kindUpdate, 7}, heapLock >> 4: {kindLock, 13},
	}
	heap2 = [8]heapOp{heap2MultiInsert >> 4: {kindInsert, 0}, heap2LockUpdated >> 4: {kindLock, 7}}
	// Neon's own manager, 16 and 17.
	neonRmgr = [8]heapOp{
		neonInsert >> 4: {kindInsert, 2}, neonDelete >> 4: {kindInsert, 7}, neonUpdate >> 4: {kindUpdate, 7},
		neonHotUpdate >> 4: {kindUpdate, 7}, neonLock >> 4: {kindLock, 11}, neonMultiInsert >> 4: {kindInsert, 0},
	}
)

// ParseVMClear reads from a record of Heap, Heap2 or Neon's manager which map bits it clears.
func ParseVMClear(v pg.Version, f pg.Flavour, rmgr pg.Rmgr, info uint8, main []byte) (VMClear, error) {
	i := info & heapOpMask >> 4
	op := stockHeap[i]
	switch {
	case rmgr == pg.RmHeap2:
		op = heap2[i]
	case rmgr == pg.RmNeon:
		op = neonRmgr[i]
	case f == pg.Neon && v <= pg.V15:
		op = neonHeap14[i]
	}
	if op.kind == kindNone {
		return VMClear{}, nil
	}
	if int(op.offset) >= len(main) {
		return VMClear{}, fmt.Errorf("%w: %s record with info %02X has %d bytes of main data, no flags at byte %d", ErrMalformed, rmgr, info, len(main), op.offset)
	}
	flags := main[op.offset]
	switch op.kind {
	case kindInsert:
		return VMClear{New: flags&flagCleared != 0, Flags: vmValidBits}, nil
	case kindUpdate:
		return VMClear{New: flags&flagNewCleared != 0, Old: flags&flagCleared != 0, Flags: vmValidBits}, nil
	default:
		return VMClear{Old: flags&flagCleared != 0, Flags: VMAllFrozen}, nil
	}
}
