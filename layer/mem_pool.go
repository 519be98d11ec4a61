package layer

import (
	"errors"

	bytebudget "github.com/stratapg/strata/internal/budget"
	"github.com/stratapg/strata/virtualfile"
)

// MemPoolOptions says where in-memory layers have their memory from. Disk and Dir are needed.
type MemPoolOptions struct {
	// Disk and Dir are where values go that the budget has no room for.
	Disk *virtualfile.Disk
	Dir  string
	// Budget bounds the memory of all layers of the pool. Nil means that there is no bound: nothing goes to
	// disk.
	Budget *bytebudget.Share
}

// MemPool is what the in-memory layers of a process share: a budget of bytes, and a folder for the values
// that it has no room for. All methods may be called concurrently.
type MemPool struct{ o MemPoolOptions }

// NewMemPool makes a pool.
func NewMemPool(o MemPoolOptions) (*MemPool, error) {
	if o.Disk == nil || o.Dir == "" {
		return nil, errors.New("in-memory layers: a disk and a folder are needed")
	}
	return &MemPool{o: o}, nil
}
