// Package virtualfile is the one door to files: nothing else in the project opens, renames or syncs one.
//
//	layers, ephemeral files                     manifests, locks, small files
//	       │ Handle, Read, Writer                          │ File
//	┌──────▼───────────────────────────────┐               │
//	│ Disk    names: renames, removals     │               │
//	│         descriptors: open ones, clock│ open, sync    │
//	│         Buffers: aligned, off heap   ├────────────┐  │
//	│         bytes in flight: a budget    │            │  │
//	├──────────────────────────────────────┤       ┌────▼──▼─────────────────┐
//	│ engine  std: pread on workers        │       │ FS  NewOS, NewMem       │
//	│         uring: io_uring              │       │     NewFaulty, Sticky   │
//	└──────┬──────────────────────┬────────┘       └────────────┬────────────┘
//	       │ descriptors          │ files without              │
//	       ▼                      └───────────────►─────────────┤
//	     kernel                                                 ▼
//
// # File systems
//
// Behind the interface FS are the operating system's (NewOS), one in memory that can forget what was not
// synced (NewMem), and wrappers that fail chosen operations (NewFaulty) or give up files after a failed
// write (Sticky). All pass the same acceptance suite, so what is proven on one holds on the others as far as
// POSIX promises it. Every FS and the reading methods of every File may be used from many goroutines at once.
//
// # Modes
//
// A Disk opens large files past the page cache (O_DIRECT) or through it. A handle keeps its mode for life;
// SetMode concerns later ones.
//
//	mode       | files opened to be read | files created
//	-----------|-------------------------|--------------
//	buffered   | page cache              | page cache
//	direct     | direct                  | page cache
//	direct-rw  | direct                  | direct           the default on Linux
//
// What a direct transfer has to be aligned to is asked of the kernel for each file, at the opening (statx,
// together with what else is to be known; it may differ within a device), and is never less than
// DiskOptions.Align. Handle.Align is the answer; in buffered mode it is DiskOptions.Align, and the same rules
// hold, so that what works there works everywhere. A file system that refuses direct I/O is used through the
// page cache, with one warning.
//
// With DiskOptions.Validate every transfer is checked: address, offset and size (ErrMisaligned). Files
// without a descriptor, such as those in memory, are checked always. Tests set it.
//
// # Buffers
//
// Transfers take a Buffer: memory aligned to BufferAlign, of which one may only release as often as one has
// retained. It is off the Go heap, so bytes read are neither scanned by the collector nor counted by
// GOMEMLIMIT; Metrics tells how many there are. After the last Release nobody may touch it. In validation
// mode free memory is poisoned: who reads it sees 0xdb, who writes to it causes a panic at its next Get, and
// Disk.Close fails if buffers are missing.
//
// # Reads, and their end
//
// ReadMulti does a batch at once and returns when all are done, or as soon as its context is. A system call
// cannot be called off: the transfer goes on and keeps its buffer, its descriptor and its share of the bytes in
// flight until the kernel has answered, and Disk.Close waits for that. So no kernel ever writes into memory
// that was given to somebody else. The caller may release its buffers at once, but not look at them.
//
// A read is shorter than asked for at the file's end only. Interrupted and partial ones are gone on with.
//
// # Descriptors
//
// A Disk has many more handles than descriptors. Under DiskOptions.MaxDescriptors a handle's file is opened
// when it is used and closed for another's sake when it is not; the clock algorithm chooses. This is what one
// may rely on:
//
//   - A handle in use keeps its descriptor. Finding it costs a few nanoseconds and no lock.
//   - There are never more descriptors than the limit. Who finds all in use waits, in order of arrival, under
//     its context; who waits holds none, so all waits end when the kernel answers.
//   - A batch over more files than are to be had is done in several goes.
//   - Handles follow Disk.Rename, of their file or of a folder above it. After Disk.Remove, or a Rename over
//     their file, they go on while they have a descriptor, which is taken from them last. When a file has to
//     be opened again and is gone, or is not the one that was opened (device, number, time of birth, and for
//     a file opened to be read its length), the error is ErrGone. Files that still change are therefore read
//     through the handle that created them.
//   - What was written through the page cache is synced before its descriptor is closed for another's sake,
//     as the kernel reports a failure only to those who have the file open. The failure is the handle's from
//     then on.
//   - Small files opened through FS are not counted, hence the default of half the process's limit; if the
//     process runs out all the same, unused descriptors are given up.
//
// No lock is held during a system call. Of descriptors.mu and names.mu neither is taken under the other.
//
// # Failed writes
//
// A file whose sync failed, or a write to which failed for more than want of space, is given up: Handles and
// files of a Sticky file system say ErrBroken from then on, which tells why. Nothing is tried again behind the
// caller's back; an interrupted or partial write is gone on with. A Writer stays with its first error.
//
// A full disk breaks nothing. A Reserve holds space back, so that what frees some has what it needs for that.
//
// # What survives a crash
//
// The bytes of a synced file under a name that was synced. WriteFileAtomic, DurableRename and DurableMkdirAll
// do that in the right order, and leave, whenever it crashes, what was or what is to be. SetAside moves out of the
// way what nobody knows.
package virtualfile
