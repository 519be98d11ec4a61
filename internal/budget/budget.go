package budget

import (
	"fmt"
	"math"
	"sync"
)

// Budget is a total that shares are cut from.
type Budget struct {
	total int64

	mu struct {
		sync.Mutex
		shares []*Share
		given  int64 // sum of the limits of the shares
	}
}

// New makes a budget of so many bytes.
func New(total int64) *Budget { return &Budget{total: total} }

// Total is the size of the budget in bytes.
func (b *Budget) Total() int64 { return b.total }

// Free is how many bytes are in no share.
func (b *Budget) Free() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.total - b.mu.given
}

// Share cuts a share of so many bytes, at least one. It is an error if the shares together would exceed the
// total, or the name is taken.
func (b *Budget) Share(name string, bytes int64) (*Share, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.mu.shares {
		if s.name == name {
			return nil, fmt.Errorf("budget: there is a share %q already", name)
		}
	}
	if err := b.takeLocked(name, 0, bytes); err != nil {
		return nil, err
	}
	s := &Share{name: name, budget: b}
	s.mu.limit = bytes
	b.mu.shares = append(b.mu.shares, s)
	return s, nil
}

// takeLocked counts that a share has now bytes instead of had.
func (b *Budget) takeLocked(name string, had, bytes int64) error {
	free := b.total - b.mu.given + had
	if bytes <= 0 || bytes > free {
		return fmt.Errorf("budget: share %q of %d bytes; it must be 1 to %d, as the total is %d and other shares have %d",
			name, bytes, max(free, 0), b.total, b.mu.given-had)
	}
	b.mu.given += bytes - had
	return nil
}

// Stats gives the state of every share, in the order in which they were cut.
func (b *Budget) Stats() []Stats {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := make([]Stats, len(b.mu.shares))
	for i, s := range b.mu.shares {
		all[i] = s.Stats()
	}
	return all
}

// Unlimited is the Limit of a nil Share.
const Unlimited = math.MaxInt64
