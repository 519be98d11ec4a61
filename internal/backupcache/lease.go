package backupcache

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/stratapg/strata/virtualfile"
)

// Sender is what a writer may be besides: one that sends a file without reading it, as by sendfile. What it hands to a socket are
// the file's own pages, not copies, until the one at the other end has read them.
type Sender interface {
	io.Writer
	// SendFile sends all of a file. The file is the sender's, who closes it. It gives no error only if LeasedFile.Held has given none
	// after who receives had read all that was not copied.
	SendFile(ctx context.Context, f *LeasedFile) (n int64, err error)
}

// LeasedFile is a backup's file that was verified and cannot be changed until it is closed: it has a lease, so that who wants to open it for
// writing, or to cut it, waits. It is for one goroutine.
type LeasedFile struct {
	f    virtualfile.File
	r    io.Reader
	size int64
}

// Size is the length of the backup. The file has more behind it.
func (l *LeasedFile) Size() int64 { return l.size }

// Reader reads the file from its beginning on. It is a syscall.Conn.
func (l *LeasedFile) Reader() io.Reader { return l.r }

// Close gives the lease back.
func (l *LeasedFile) Close() error { return l.f.Close() }

// ErrWanted marks that somebody waits for a file that is being sent, to write to it.
var ErrWanted = errors.New("a cached base backup is wanted by who writes to its file; ask again")

// Held returns nil as long as nobody wants to change the file. The kernel keeps who does waiting for fs.lease-break-time,
// 45 seconds by default, and then does not ask again.
func (l *LeasedFile) Held() error {
	if !leaseHeld(l.f) {
		return fmt.Errorf("%w (%s)", ErrWanted, l.f.Name())
	}
	return nil
}

// lease gives the file as one that cannot be changed, if it is the one that was verified and the kernel grants a lease: it does not
// where somebody has the file open for writing, where it is another user's, and on some file systems.
func (b *Backup) lease() *LeasedFile {
	r, ok := b.f.(io.Reader)
	if !ok || b.id == nil || !takeLease(b.f) {
		return nil
	}
	if !b.id.still(identityOf(b.f)) { // it was changed before it could not be any more
		dropLease(b.f)
		return nil
	}
	l := &LeasedFile{f: b.f, r: r, size: b.e.content}
	b.f = nil
	return l
}
