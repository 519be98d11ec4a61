package virtualfile

import (
	"errors"
	"fmt"
	"io/fs"
	"sync/atomic"
	"syscall"
)

// ErrBroken says that a write or a sync of the file has failed before, so that nobody knows what of it is on
// disk. It wraps the first failure.
//
// A kernel that cannot write a dirty page reports that once, and marks the page clean: the next sync finds
// nothing to do and succeeds, though the bytes are lost. A sync that is tried again therefore proves nothing,
// and neither does one of the same file through another descriptor. So a file is given up with its first
// failed sync, or write that did not fail for want of space: every later write, sync or truncation gives
// this error, and its owner writes what it still holds to a file of a new name, or stops. A full disk says no
// before it takes a page, so ENOSPC from a write leaves a file as trustworthy as before, with fewer bytes.
var ErrBroken = errors.New("given up after a failed write or sync; write it anew under another name")

// brokenError is both ErrBroken and the first failure.
type brokenError struct {
	name  string
	first error
}

func (e *brokenError) Error() string {
	return fmt.Sprintf("%s: %v; the failure was: %v", e.name, ErrBroken, e.first)
}

func (e *brokenError) Unwrap() []error { return []error{ErrBroken, e.first} }

// breaker remembers the first failure that made a file one not to be trusted. The zero value trusts. Its
// methods may be called concurrently.
type breaker struct{ first atomic.Pointer[brokenError] }

// failed gives the ErrBroken of the file, or nil while it is to be trusted.
func (b *breaker) failed() error {
	if e := b.first.Load(); e != nil {
		return e
	}
	return nil
}

// wrote takes the result of a write or a truncation, and gives up the file if that says so.
func (b *breaker) wrote(name string, err error) error {
	if err != nil && !harmless(err) {
		b.first.CompareAndSwap(nil, &brokenError{name, err})
	}
	return err
}

// synced takes the result of a sync: any failure, a full disk's too, may have lost pages.
func (b *breaker) synced(name string, err error) error {
	if err != nil && !errors.Is(err, fs.ErrClosed) {
		b.first.CompareAndSwap(nil, &brokenError{name, err})
	}
	return err
}

// harmless says that a failed write has not put the file in doubt: it was refused before it touched a page.
func harmless(err error) bool {
	return fullDisk(err) || errors.Is(err, fs.ErrClosed) || errors.Is(err, fs.ErrPermission) ||
		errors.Is(err, fs.ErrInvalid) || errors.Is(err, syscall.EBADF)
}

// fullDisk says that an error is for want of space or of quota.
func fullDisk(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
