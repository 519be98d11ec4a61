package tenant

import (
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"syscall"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/timeline"
	"github.com/stratapg/strata/virtualfile"
)

// chaos makes operations on files go wrong once each, when it is told to, whoever does them.
type chaos struct {
	faults []*virtualfile.Fault
	armed  []atomic.Int64 // operations of the kind to let pass before; negative is none
	full   int64          // times that the disk was full
	harm   int64          // hits when it was last forgotten
}

func newChaos(rnd *rand.Rand) *chaos {
	c := &chaos{faults: []*virtualfile.Fault{
		{Op: virtualfile.OpWrite, Err: syscall.ENOSPC, Torn: rnd.IntN(9000)},
		{Op: virtualfile.OpWrite, Err: syscall.EIO, Torn: rnd.IntN(9000)},
		{Op: virtualfile.OpSync, Err: syscall.EIO, Effect: virtualfile.Lose},
		{Op: virtualfile.OpSync, Err: syscall.EIO},
		{Op: virtualfile.OpSyncDir, Err: syscall.EIO},
		{Op: virtualfile.OpSyncDir, Err: syscall.ENOSPC},
		{Op: virtualfile.OpRead, Err: syscall.EIO},
		{Op: virtualfile.OpRead, Effect: virtualfile.Flip, Bit: rnd.IntN(1 << 16)},
		{Op: virtualfile.OpRename, Err: syscall.EIO},
		{Op: virtualfile.OpCreate, Err: syscall.ENOSPC},
		{Op: virtualfile.OpRemove, Err: syscall.EIO},
		{Op: virtualfile.OpOpen, Err: syscall.EMFILE},
		{Op: virtualfile.OpRead, Effect: virtualfile.Short, Torn: rnd.IntN(9000)},
		{Op: virtualfile.OpWrite, Effect: virtualfile.Short, Torn: rnd.IntN(9000)},
	}}
	c.armed = make([]atomic.Int64, len(c.faults))
	for i, f := range c.faults {
		c.armed[i].Store(-1)
		f.Nth, f.Sticky, f.Path = 1, true, func(string) bool { return c.due(i) }
	}
	return c
}

// due counts an operation down.
func (c *chaos) due(i int) bool {
	for {
		v := c.armed[i].Load()
		if v < 0 {
			return false
		}
		if c.armed[i].CompareAndSwap(v, v-1) {
			return v == 0
		}
	}
}

func (c *chaos) wrap(fs virtualfile.FS) virtualfile.FS { return virtualfile.NewFaulty(fs, c.faults...) }

func (c *chaos) arm(rnd *rand.Rand) { c.armed[rnd.IntN(len(c.armed))].Store(int64(rnd.IntN(6))) }

func (c *chaos) disarm() {
	for i := range c.armed {
		c.armed[i].Store(-1)
	}
}

// hits counts what may have been felt.
func (c *chaos) hits() int64 {
	n := c.full
	for _, f := range c.faults {
		if f.Effect != virtualfile.Short {
			n += int64(f.Hits())
		}
	}
	return n
}

// forget says that what was hit before is over.
func (c *chaos) forget() { c.harm = c.hits() }

// mayFail allows the errors of what was hit since forget.
func (c *chaos) mayFail(t require.TestingT, err error) bool {
	if err == nil {
		return false
	}
	require.Greater(t, c.hits(), c.harm, "nothing has failed: %v", err)
	for _, known := range []error{syscall.EIO, syscall.ENOSPC, syscall.EMFILE, virtualfile.ErrBroken, timeline.ErrCorrupt, ErrCorruptStoreFile, ErrNotAStore, ErrUnsupported} {
		if errors.Is(err, known) {
			return true
		}
	}
	require.NoError(t, err)
	return true
}
