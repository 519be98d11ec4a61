// Package cache keeps blocks of layer files in memory: index nodes, summaries and checksum blocks, 8 KiB
// each. A block is had through a Pin, and is neither changed nor reused until the pin is released.
//
// # What it keeps to
//
//   - It never holds more bytes than Options.Bytes, metadata included. Blocks lie off the Go heap; what describes
//     them has no pointers. A cache of any size gives the garbage collector nothing to scan.
//   - A hit takes no lock and allocates nothing: it adds a pin to the block and looks whether that is the right
//     one (slot.go). Misses take the lock of one of up to 32 shards, never while they load.
//   - Of several who miss the same block one loads. Its failure is its own; another one of them loads then.
//   - Pins are never waited for. If all blocks that could make room are pinned, a block is loaded into memory of
//     its own that goes with its last pin (Stats.Bypasses, Stats.Bypassed).
//   - Forget drops a file's blocks, in time proportional to their number; Close gives the memory back with the
//     last pin.
//
// All methods may be called concurrently. A shard's lock is the only one, and no two are held at once.
//
// # Replacement
//
// S3-FIFO: new blocks pass through a small queue, and stay only if they are asked for again meanwhile or soon
// after. It was chosen against a clock by replaying two traces, with LRU, W-TinyLFU and the best that is possible
// (Belady) as measures. Share of hits, in percent:
//
//	blocks   best        S3-FIFO     clock       LRU         W-TinyLFU
//	 2,048   70.4 70.3   64.8 64.8   61.1 59.4   60.7 58.0   64.6 64.0   page reads over the 26,690 layers of a
//	 4,096   75.0 74.9   68.5 68.5   64.2 61.4   63.6 60.9   68.4 67.9   real tenant (Zipf, 1.1): alone, and
//	 8,192   80.2 80.0   73.5 73.4   69.0 64.6   67.8 63.7   73.4 72.5   while scans read 60 blocks of whole
//	16,384   85.7 85.4   79.3 79.3   75.7 69.5   74.0 67.9   79.2 78.2   layers for each page
//	32,768   91.1 90.8   84.9 84.0   83.5 75.8   81.9 73.4   84.6 82.8   (TestCompare with STRATA_LONG=1)
//	    64   88.9        85.4        85.4        85.3        82.6        what readers of 44 layer files asked
//	   128   91.4        87.8        87.1        86.8        84.9        for, ranges among page reads; 1,016
//	   256   94.3        90.5        89.9        89.5        87.9        different blocks
//	   512   97.6        94.5        94.2        94.0        93.5        (TestCompareRecorded)
//
// S3-FIFO is the best of the four at every size. Scans cost it less than a point, where they cost a clock up to 8. It
// needs no record of hits but a counter in the block, which keeps hits free of locks; W-TinyLFU would count them
// in a sketch. Its small queue has a twentieth of the blocks: against the tenth of its authors that is 0.2 to
// 0.4 points better on the first trace, and up to 0.3 worse on the second. A threshold of two uses instead of one
// changes less than 0.1.
package cache
