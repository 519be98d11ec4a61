// Package virtualfile is the one door to files: nothing else in the project opens, renames or syncs one.
//
// There are three file systems behind the interface FS: the operating system's (NewOS), one in memory that
// can forget what was not synced (NewMem), and a wrapper that fails chosen operations (NewFaulty). The first
// two pass the same acceptance suite, so what is proven on the second holds on the first as far as POSIX
// promises it.
//
// Every FS and the reading methods of every File may be used from many goroutines at once.
package virtualfile
