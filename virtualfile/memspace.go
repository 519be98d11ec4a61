package virtualfile

// SetCapacity bounds the bytes of all files together, in blocks of 4 KiB: beyond it writes take what fits, and
// fail with ENOSPC. 0, as at first, is no bound. A file takes up its whole length, holes too, until it is
// removed and closed; names take up nothing.
func (m *MemFS) SetCapacity(bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.capacity = bytes
}

// Used gives the bytes that files take up.
func (m *MemFS) Used() int64 {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.mu.used
}

// blocksOf gives the bytes that a file of a size takes up.
func blocksOf(size int64) int64 { return (size + undoPage - 1) / undoPage * undoPage }

// roomLocked makes room for a file to be size bytes long, or as long as it can be, and gives that length.
func (m *MemFS) roomLocked(n *memNode, size int64) int64 {
	want := blocksOf(size) - n.blocks
	if want <= 0 {
		return size
	}
	if left := m.mu.capacity - m.mu.used; m.mu.capacity > 0 && want > left {
		want = max(left, 0) / undoPage * undoPage
		size = min(size, n.blocks+want)
	}
	n.blocks += want
	m.mu.used += want
	return size
}

// fitLocked gives back what a file takes up beyond its length.
func (m *MemFS) fitLocked(n *memNode) {
	blocks := blocksOf(int64(len(n.file.bytes)))
	m.mu.used -= n.blocks - blocks
	n.blocks = blocks
}

// unlinkLocked takes one of its names from a file or folder.
func (m *MemFS) unlinkLocked(n *memNode) {
	n.links--
	m.freeLocked(n)
}

// freeLocked gives back what a file takes up if nobody can reach it any more.
func (m *MemFS) freeLocked(n *memNode) {
	if n.links <= 0 && n.opens == 0 {
		m.mu.used -= n.blocks
		n.blocks = 0
	}
}
