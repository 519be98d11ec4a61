package upload

import (
	"context"

	"golang.org/x/sync/semaphore"
)

// DefaultDocuments is how many bytes of indexes that are being uploaded may be in memory: those of some 300,000 layers.
const DefaultDocuments = 64 << 20

// Documents bounds the memory of the indexes of all timelines that are being uploaded at once. Those of very many layers
// are some tens of megabytes each. Nil is no bound.
type Documents struct {
	bytes int64
	free  *semaphore.Weighted
}

// NewDocuments bounds them to so many bytes together. One that is larger goes alone.
func NewDocuments(bytes int64) *Documents { return &Documents{bytes, semaphore.NewWeighted(bytes)} }

// take waits for room.
func (d *Documents) take(ctx context.Context, size int64, c *Counters) (done func(), err error) {
	if d == nil {
		return func() {}, nil
	}
	size = min(size, d.bytes)
	if !d.free.TryAcquire(size) {
		c.indexWaits.Add(1)
		if err := d.free.Acquire(ctx, size); err != nil {
			return nil, err
		}
	}
	return func() { d.free.Release(size) }, nil
}
