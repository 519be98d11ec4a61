package virtualfile

import (
	"maps"
	"math/rand/v2"
	"slices"
)

// undoPage is the unit in which a kernel holds and writes a file's bytes, and memData remembers what is on
// disk; sectorSize the unit that a disk writes whole, and the alignment that direct I/O asks for.
const (
	undoPage   = 4096
	sectorSize = 512
)

// memData is a file's bytes, and what of them is on disk: the length at the last sync, and the old content
// of each page that has another one by now.
type memData struct {
	bytes       []byte
	version     int64 // counts changes
	durableSize int64
	undo        map[int64][]byte
	// dirty are the pages that the next sync writes. Those of undo that are not in it are lost: a sync failed,
	// and the kernel holds them for clean.
	dirty map[int64]bool
}

// touch remembers the pages of [from, to) before they change.
func (d *memData) touch(from, to int64) {
	d.version++
	if d.undo == nil {
		d.undo = map[int64][]byte{}
	}
	if d.dirty == nil {
		d.dirty = map[int64]bool{}
	}
	for p := from / undoPage; p*undoPage < to; p++ {
		d.dirty[p] = true
		if _, ok := d.undo[p]; ok {
			continue
		}
		lo := min(p*undoPage, int64(len(d.bytes)))
		hi := min(lo+undoPage, int64(len(d.bytes)))
		d.undo[p] = slices.Clone(d.bytes[lo:hi])
	}
}

func (d *memData) resize(size int64) {
	old := int64(len(d.bytes))
	if size < old {
		d.touch(size, old)
		d.bytes = d.bytes[:size]
		return
	}
	d.version++
	d.bytes = slices.Grow(d.bytes, int(size-old))[:size]
	clear(d.bytes[old:])
}

func (d *memData) writeAt(p []byte, off int64) {
	if len(p) == 0 {
		return
	}
	end := off + int64(len(p))
	d.touch(off, end)
	if end > int64(len(d.bytes)) {
		d.resize(end)
	}
	copy(d.bytes[off:], p)
}

// sync writes the dirty pages and the length.
func (d *memData) sync() {
	d.durableSize = int64(len(d.bytes))
	for p := range d.dirty {
		delete(d.undo, p)
	}
	d.dirty = nil
}

// lose is a sync that could write nothing: the dirty pages count as clean from now on, and reads give them,
// but no later sync will write them.
func (d *memData) lose() { d.dirty = nil }

// crash gives a file as a crash may leave it: every sector written since the last sync is old or new, and
// so is the length; what a failed sync has lost is old.
func (d *memData) crash(rnd *rand.Rand) memData {
	size := d.durableSize
	if now := int64(len(d.bytes)); now != size {
		switch rnd.IntN(3) {
		case 1:
			size = now
		case 2:
			size = min(size, now) + rnd.Int64N(max(size-now, now-size)+1)
		}
	}
	out := make([]byte, size)
	copy(out, d.bytes)
	for _, p := range slices.Sorted(maps.Keys(d.undo)) {
		old := d.undo[p]
		mode := rnd.IntN(3) // all sectors old, all new, or each by lot
		for s := int64(0); s < undoPage; s += sectorSize {
			keepNew := d.dirty[p] && (mode == 1 || mode == 2 && rnd.IntN(2) == 0)
			if lo := p*undoPage + s; !keepNew && lo < size {
				sector := out[lo:min(lo+sectorSize, size)]
				clear(sector)
				if s < int64(len(old)) {
					copy(sector, old[s:])
				}
			}
		}
	}
	return memData{bytes: out, durableSize: size}
}
