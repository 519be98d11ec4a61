package cache

// clock is the policy that s3fifo is compared with: one queue, in which a block goes round again as often as
// it was used.
type clock struct {
	slotsOf
	q queue
}

func newClock(slots []slot, first uint32) policy {
	return &clock{slotsOf{slots, first}, newQueue(0, len(slots))}
}

func (p *clock) admit(i uint32) {
	p.at(i).uses.Store(0)
	p.push(&p.q, i)
}

func (p *clock) remove(i uint32) { p.unlink(&p.q, i) }

func (p *clock) victim() (uint32, bool) {
	for range (maxUses + 2) * p.q.len {
		i := p.q.head
		s := p.at(i)
		p.unlink(&p.q, i)
		if n := s.uses.Load(); n > 0 {
			s.uses.Store(n - 1)
		} else if s.tryClose() {
			return i, true
		}
		p.push(&p.q, i)
	}
	return none, false
}

// NewClock makes a cache that replaces as a clock does.
func NewClock(o Options) (*Blocks, error) {
	o.newPolicy = newClock
	return New(o)
}

// CostOfBlock is what a block takes of Options.Bytes.
const CostOfBlock = BlockSize + metadata
