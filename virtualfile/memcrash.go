package virtualfile

import (
	"maps"
	"math/rand/v2"
	"slices"
)

// CrashClone gives the file system as it may be found after a crash now: all synced bytes and entries, and
// of the rest a part that seed decides. Bytes survive by the sector. Of the changes of entries none may have
// survived, or all, or those before some moment, as where a journal orders them, or any of them by lot, as
// where nothing does; each survives whole (a rename is one change, but removing a folder with all in it is
// many). The original goes on unharmed; the clone holds no locks, and is as large.
func (m *MemFS) CrashClone(seed uint64) *MemFS {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := crasher{
		rnd:  rand.New(rand.NewPCG(seed, 0)),
		mode: crashMode(rand.New(rand.NewPCG(seed, 1)).IntN(int(crashModes))),
		seen: map[*memNode]*memNode{},
		lots: map[*memChange]bool{},
	}
	c.until = c.rnd.Uint64N(m.mu.changes + 1)
	out := NewMem()
	out.mu.capacity, out.mu.files = m.mu.capacity, m.mu.files
	out.mu.root = c.node(m.mu.root)
	for _, n := range c.seen {
		n.blocks = blocksOf(int64(len(n.file.bytes)))
		out.mu.used += n.blocks
	}
	return out
}

// crashMode says which changes of entries survive.
type crashMode int

const (
	crashNone crashMode = iota
	crashAll
	crashLots
	crashPrefix
	crashModes
)

type crasher struct {
	rnd   *rand.Rand
	mode  crashMode
	until uint64 // the last change that survives with crashPrefix
	seen  map[*memNode]*memNode
	lots  map[*memChange]bool
}

func (c *crasher) keeps(change *memChange) bool {
	switch {
	case change.durable:
		return true
	case c.mode == crashLots:
		if _, ok := c.lots[change]; !ok {
			c.lots[change] = c.rnd.IntN(2) == 0
		}
		return c.lots[change]
	case c.mode == crashPrefix:
		return change.number <= c.until
	}
	return c.mode == crashAll
}

// node gives what a crash leaves of a file or folder. Something reached by two names stays one thing.
func (c *crasher) node(n *memNode) *memNode {
	if done := c.seen[n]; done != nil {
		done.links++
		return done
	}
	if !n.isDir() {
		out := &memNode{file: n.file.crash(c.rnd), links: 1, born: n.born}
		c.seen[n] = out
		return out
	}
	out := newMemDir()
	c.seen[n] = out
	entries := maps.Clone(n.durable)
	for _, p := range n.pending {
		if !c.keeps(p.change) {
			continue
		}
		if p.node == nil {
			delete(entries, p.name)
		} else {
			entries[p.name] = p.node
		}
	}
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		e := c.node(entries[name])
		out.entries[name], out.durable[name] = e, e
	}
	return out
}
