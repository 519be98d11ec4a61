package cachesim

import (
	"container/heap"
	"container/list"

	"github.com/stratapg/strata/cache"
)

// Policy is a cache without bytes.
type Policy interface {
	// Access asks for a block, and says whether it was there. It is afterwards, or the policy refused it.
	Access(k cache.Key) bool
}

// LRU drops what was not used for longest.
type LRU struct {
	size int
	all  map[cache.Key]*list.Element
	used list.List // the latest in front
}

// NewLRU makes an LRU of so many blocks.
func NewLRU(size int) *LRU { return &LRU{size: size, all: map[cache.Key]*list.Element{}} }

// Access implements Policy.
func (p *LRU) Access(k cache.Key) bool {
	if e, ok := p.all[k]; ok {
		p.used.MoveToFront(e)
		return true
	}
	p.push(k)
	if p.used.Len() > p.size {
		p.drop()
	}
	return false
}

func (p *LRU) push(k cache.Key) { p.all[k] = p.used.PushFront(k) }

func (p *LRU) last() cache.Key { return p.used.Back().Value.(cache.Key) }

func (p *LRU) drop() cache.Key {
	k := p.used.Remove(p.used.Back()).(cache.Key)
	delete(p.all, k)
	return k
}

// remove takes a block out, if it is there.
func (p *LRU) remove(k cache.Key) bool {
	e, ok := p.all[k]
	if ok {
		p.used.Remove(e)
		delete(p.all, k)
	}
	return ok
}

// TinyLFU is W-TinyLFU (Einziger et al., 2017): a small LRU window, behind it a segmented LRU that lets a block
// in only if a sketch of past frequencies says that it is asked for more often than the one that would leave.
type TinyLFU struct {
	window, probation, protected *LRU
	counts                       []uint8 // count-min sketch of four rows
	asked, period                int
}

// NewTinyLFU makes one of so many blocks, with the window (1 %) and segments (20 and 80 %) of its authors.
func NewTinyLFU(size int) *TinyLFU {
	window := max(1, size/100)
	protected := (size - window) * 8 / 10
	width := 1
	for width < size*2 {
		width *= 2
	}
	return &TinyLFU{window: NewLRU(window), protected: NewLRU(protected), probation: NewLRU(size - window - protected),
		counts: make([]uint8, width*4), period: 10 * size}
}

func (p *TinyLFU) cells(k cache.Key) (at [4]int) {
	h := (k.File*0x9e3779b97f4a7c15 ^ uint64(k.Block)) * 0xd6e8feb86659fd93
	width := len(p.counts) / 4
	for row := range at {
		h ^= h >> 29
		h *= 0xbf58476d1ce4e5b9
		at[row] = row*width + int(h>>32)%width
	}
	return at
}

func (p *TinyLFU) count(k cache.Key) {
	const most = 15
	for _, at := range p.cells(k) {
		if p.counts[at] < most {
			p.counts[at]++
		}
	}
	if p.asked++; p.asked == p.period {
		p.asked = 0
		for i := range p.counts {
			p.counts[i] /= 2
		}
	}
}

func (p *TinyLFU) frequency(k cache.Key) uint8 {
	n := ^uint8(0)
	for _, at := range p.cells(k) {
		n = min(n, p.counts[at])
	}
	return n
}

// Access implements Policy.
func (p *TinyLFU) Access(k cache.Key) bool {
	p.count(k)
	for _, part := range []*LRU{p.window, p.protected} {
		if _, ok := part.all[k]; ok {
			return part.Access(k)
		}
	}
	if p.probation.remove(k) {
		p.protected.push(k)
		if p.protected.used.Len() > p.protected.size {
			p.probation.push(p.protected.drop())
		}
		return true
	}
	p.window.push(k)
	if p.window.used.Len() > p.window.size {
		p.enter(p.window.drop())
	}
	return false
}

// enter lets a block in from the window, if it is worth it.
func (p *TinyLFU) enter(k cache.Key) {
	if p.probation.used.Len()+p.protected.used.Len() >= p.probation.size+p.protected.size {
		if p.probation.used.Len() == 0 || p.frequency(k) <= p.frequency(p.probation.last()) {
			return
		}
		p.probation.drop()
	}
	p.probation.push(k)
}

// Best counts the hits of the best policy possible (Belady): what leaves, or is not let in, is what will not
// be asked for for longest.
func Best(keys []cache.Key, size int) (hit []bool) {
	next := make([]int, len(keys))
	at := map[cache.Key]int{}
	for i := len(keys) - 1; i >= 0; i-- {
		next[i] = len(keys)
		if n, ok := at[keys[i]]; ok {
			next[i] = n
		}
		at[keys[i]] = i
	}
	hit = make([]bool, len(keys))
	until := map[cache.Key]int{} // blocks held, and when they are asked for again
	far := &furthest{}
	for i, k := range keys {
		_, hit[i] = until[k]
		until[k] = next[i]
		heap.Push(far, use{k, next[i]})
		for len(until) > size {
			u := heap.Pop(far).(use)
			if n, ok := until[u.k]; ok && n == u.at {
				delete(until, u.k)
			}
		}
	}
	return hit
}

type use struct {
	k  cache.Key
	at int
}

// furthest is a heap whose first is used again last. It may have entries that are out of date.
type furthest []use

func (f furthest) Len() int           { return len(f) }
func (f furthest) Less(i, j int) bool { return f[i].at > f[j].at }
func (f furthest) Swap(i, j int)      { f[i], f[j] = f[j], f[i] }

// Push and Pop are for container/heap.
func (f *furthest) Push(x any) { *f = append(*f, x.(use)) }

// Pop implements heap.Interface.
func (f *furthest) Pop() any {
	last := (*f)[len(*f)-1]
	*f = (*f)[:len(*f)-1]
	return last
}
