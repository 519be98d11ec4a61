package virtualfile

import (
	"errors"
	"io"
	"time"
)

// ErrLocked says that another holder has the lock file.
var ErrLocked = errors.New("locked by another process")

// TempSuffix ends the names of files that are not yet what they will be. Whoever owns a folder removes them
// when it opens it. Source: Neon, pageserver/src/lib.rs.
const TempSuffix = ".___temp"

// FileInfo is what Stat tells.
type FileInfo struct {
	Size  int64
	IsDir bool
	// Modified is when the content last changed. In memory it is no time, but later after every change, and no two
	// files have the same.
	Modified time.Time
}

// FS is a file system. Names are slash-separated paths as the implementation's own root understands them.
// Errors wrap those of io/fs (fs.ErrNotExist, fs.ErrExist, fs.ErrClosed, fs.ErrPermission), syscall.ENOSPC
// and ErrLocked, and name the file. All methods may be called concurrently.
//
// What survives a crash: a file's bytes after its Sync, a directory entry (created, renamed, removed) after
// SyncDir of its folder. Nothing else may be relied on.
type FS interface {
	// Create makes a file that must not exist yet, for reading and writing.
	Create(name string) (File, error)
	// Open opens an existing file for reading.
	Open(name string) (File, error)
	// OpenAppend opens an existing file for reading and writing; Write goes on at its end.
	OpenAppend(name string) (File, error)
	// OpenFile opens a file for positional reads, and for writes if the flags say so.
	OpenFile(name string, flags Flags) (File, error)
	// Rename moves a file or folder and replaces a file of the new name.
	Rename(oldName, newName string) error
	// RenameNew moves a file, and fails with fs.ErrExist if the new name is taken.
	RenameNew(oldName, newName string) error
	// Remove removes a file or an empty folder.
	Remove(name string) error
	// RemoveAll removes a file or a folder with all in it; one that does not exist is no error.
	RemoveAll(name string) error
	// List gives the names (without the folder) of all entries, sorted.
	List(dir string) ([]string, error)
	// MkdirAll makes a folder and those above it. Their entries are durable after SyncDir of their parents.
	MkdirAll(dir string) error
	// SyncDir makes the entries of dir durable.
	SyncDir(dir string) error
	// Stat tells a file's size, or that it is a folder.
	Stat(name string) (FileInfo, error)
	// Lock takes an exclusive lock on a file, made if need be, that other processes see, and that ends when
	// it is closed or its process dies. It does not wait: it fails with ErrLocked.
	Lock(name string) (io.Closer, error)
	// LockShared takes a lock on an existing file beside which others may hold the same, but none that of
	// Lock. It changes nothing on disk, and does not wait: it fails with ErrLocked.
	LockShared(name string) (io.Closer, error)
}

// Flags say how OpenFile opens a file.
type Flags uint8

const (
	// FlagWrite opens for reading and writing; without it for reading alone.
	FlagWrite Flags = 1 << iota
	// FlagCreate makes a file that must not exist yet; it goes with FlagWrite.
	FlagCreate
	// FlagDirect goes past the kernel's page cache where the platform can: every address, offset and size must
	// then be aligned. A file system without such I/O ignores it.
	FlagDirect
)

// File is an open file. ReadAt and WriteAt may be called concurrently with each other; Write, Truncate and
// Close may not. ReadAt follows io.ReaderAt: fewer bytes than asked come with io.EOF.
type File interface {
	io.ReaderAt
	io.WriterAt
	// Write appends at the end of the file.
	io.Writer
	io.Closer
	// Name gives the name the file was opened by.
	Name() string
	// Size gives the length in bytes.
	Size() (int64, error)
	// Sync makes the file's bytes and length durable, not its directory entry.
	Sync() error
	// Truncate sets the length in bytes.
	Truncate(size int64) error
}
