// Package layer keeps values on disk and in memory: delta and image files, the in-memory layer, and the map
// that says which of them to ask for a key.
//
//	Mem          values above what is on disk, in arenas without pointers
//	DeltaWriter  writes a delta file: values of a key range and an LSN range
//	ImageWriter  writes an image file: whole pages of a key range at one LSN
//	Reader       reads either
//	Verify       reads a whole file and compares all it holds with itself
//	Map          immutable version of the set of files; Visits plans a read
//	Merge        what lies in many layers, in order, each version once
//	Collector    gathers the values of a read, newest to oldest, until each key is complete
//
// The files are those of Neon's storage format 3, byte for byte; docs/formats/layers.md has the pictures.
//
// A read asks one layer after the other, newest first, and each only searches its index (blocks in memory,
// package cache): whether more is needed is told by will_init bits and image layers, not by values. Then one
// Fetch reads all values of all layers in one batch, neighbours in one span, spans in whole chunks, and verifies
// them against the integrity trailer.
//
// A value crosses no copy after the kernel's, or none at all with direct I/O: the device writes into an aligned
// buffer that the Collector owns, and from there plain values, images among them, are handed out in place.
// Compressed images are decompressed from that buffer into another. Values of the in-memory layer are not
// copied either.
//
// Bytes read from disk are never trusted: what cannot be is reported as ErrCorrupt with file and offset, no
// length is allocated before it is known to fit the file, and every walk over an index makes progress.
//
// Reader, Map and Mem may be used from many goroutines at once (Mem by one writer beside them); writers and
// Collectors by one at a time.
package layer
