package virtualfile

import "sync/atomic"

// DiskMetrics is what a Disk has done since it was made, and what it holds now.
type DiskMetrics struct {
	Engine EngineKind // the one that is used
	Mode   Mode       // for files opened now

	Reads, ReadBytes   int64 // begun
	Writes, WriteBytes int64
	Syncs              int64
	Failed             int64 // transfers that ended with an error
	Batches            int64 // calls to the engine
	Abandoned          int64 // batches whose context ended first

	Handles         int64 // open now
	Opens           int64 // by Open and Create
	Reopens         int64 // of files whose descriptor was taken away
	Evictions       int64 // descriptors closed to open another
	DescriptorWaits int64 // times that somebody waited since all were in use
	DirectRefused   int64 // files opened without direct I/O as it is refused
	Descriptors     int64 // open now
	DescriptorLimit int64

	InFlight, InFlightLimit int64 // bytes
	BuffersInUse            int64 // bytes
	BuffersIdle             int64 // bytes kept
	BufferGets              int64
	BufferAllocs            int64 // of them, those for which memory had to be asked of the system
}

// diskCounters are touched once a batch, which costs less than a thousandth of the batch itself.
type diskCounters struct {
	reads, readBytes, writes, writeBytes, syncs, failed, batches, abandoned atomic.Int64
	handles, opens, reopens, evictions, waits, refused                      atomic.Int64
}

// begin counts the transfers of a batch.
func (c *diskCounters) begin(b *batch, write bool) {
	bytes := int64(0)
	for i := range b.xs {
		bytes += int64(b.xs[i].len)
	}
	c.batches.Add(1)
	if write {
		c.writes.Add(int64(len(b.xs)))
		c.writeBytes.Add(bytes)
		return
	}
	c.reads.Add(int64(len(b.xs)))
	c.readBytes.Add(bytes)
}

// Metrics gives the counters as they are now.
func (d *Disk) Metrics() DiskMetrics {
	c := &d.counters
	d.cache.mu.Lock()
	open := d.cache.mu.open
	d.cache.mu.Unlock()
	return DiskMetrics{
		Engine: d.engines.get().kind(), Mode: d.Mode(),
		Reads: c.reads.Load(), ReadBytes: c.readBytes.Load(),
		Writes: c.writes.Load(), WriteBytes: c.writeBytes.Load(),
		Syncs: c.syncs.Load(), Failed: c.failed.Load(), Batches: c.batches.Load(), Abandoned: c.abandoned.Load(),
		Handles: c.handles.Load(), Opens: c.opens.Load(), Reopens: c.reopens.Load(), Evictions: c.evictions.Load(),
		DescriptorWaits: c.waits.Load(), DirectRefused: c.refused.Load(),
		Descriptors: int64(open), DescriptorLimit: int64(d.cache.limit),
		InFlight: d.inFlight.Used(), InFlightLimit: d.inFlight.Limit(),
		BuffersInUse: d.bufs.inUse.Load(), BuffersIdle: d.bufs.idle.Load(),
		BufferGets: d.bufs.gets.Load(), BufferAllocs: d.bufs.allocs.Load(),
	}
}
