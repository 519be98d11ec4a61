package backupcache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/stratapg/strata/virtualfile"
)

// inMemory is how long a backup may be that is read whole before it is sent. Reading, verifying and sending that much
// takes less time than a client's next request.
const inMemory = 1 << 20

// readChunk is what one read asks for where a file is verified or copied.
const readChunk = 256 << 10

var chunks = sync.Pool{New: func() any { return new([readChunk]byte) }}

// Backup is one that was found, open for reading. It is for one goroutine.
type Backup struct {
	c    *Cache
	e    *entry
	f    virtualfile.File // nil if it is not needed any more
	data []byte           // the content, if it is short
	id   *identity        // of the file as it was verified; nil if that is not to be relied on
}

// Size is the length in bytes, and Files what the preparation said.
func (b *Backup) Size() int64 { return b.e.content }

// Files is the count that the backup was made with.
func (b *Backup) Files() int { return b.e.files }

// Close closes the file.
func (b *Backup) Close() error {
	if b.f == nil {
		return nil
	}
	return b.f.Close()
}

// errBusy marks that a file cannot be opened now, and may be whole.
var errBusy = errors.New("cannot be opened")

// read opens an entry's file and makes sure that its content is what was written.
func (c *Cache) read(ctx context.Context, e *entry) (b *Backup, err error) {
	f, err := c.o.FS.Open(c.path(e.name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errBusy, err)
	}
	b = &Backup{c: c, e: e, f: f}
	if err := b.verify(ctx); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if b.data != nil {
		b.f = nil
		return b, f.Close()
	}
	return b, nil
}

// verify reads the content and compares its checksum, but of a file that is still the one that was verified.
func (b *Backup) verify(ctx context.Context) error {
	if size, err := b.f.Size(); err != nil || size != b.e.size {
		return fmt.Errorf("%w: %s has %d bytes instead of %d (%w)", ErrDamaged, b.f.Name(), size, b.e.size, errOr(err))
	}
	if b.e.content <= inMemory {
		return b.load()
	}
	if b.known() {
		return nil
	}
	select {
	case b.e.verifying <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-b.e.verifying }()
	if b.known() { // as the one before us has found
		return nil
	}
	before := identityOf(b.f)
	settled := before != nil && b.c.o.Clock().Sub(before.changed) > settleTime
	if err := b.readAll(ctx, func([]byte) error { return nil }); err != nil {
		return err
	}
	if after := identityOf(b.f); settled && after != nil && *after == *before {
		b.e.sound.Store(after)
		b.id = after
	}
	return nil
}

// errOr is for messages with an error that may be none.
func errOr(err error) error {
	if err == nil {
		return errors.New("cut or grown")
	}
	return err
}

// known reports whether the file is the one that was verified.
func (b *Backup) known() bool {
	sound := b.e.sound.Load()
	if sound == nil {
		return false
	}
	if now := identityOf(b.f); now == nil || *now != *sound {
		return false
	}
	b.id = sound
	return true
}

// load reads a short content into memory.
func (b *Backup) load() error {
	data := make([]byte, b.e.content)
	if _, err := b.f.ReadAt(data, 0); err != nil {
		return err
	}
	b.c.m.verified.Add(int64(len(data)))
	if xxhash.Sum64(data) != b.e.sum {
		return b.damaged()
	}
	b.data = data
	return nil
}

func (b *Backup) damaged() error {
	return fmt.Errorf("%w: %s: the checksum of its %d bytes is wrong", ErrDamaged, b.c.path(b.e.name), b.e.content)
}

// readAll hands over the content in pieces, and at the end says whether it is what was written.
func (b *Backup) readAll(ctx context.Context, fn func([]byte) error) error {
	chunk := chunks.Get().(*[readChunk]byte)
	defer chunks.Put(chunk)
	var sum xxhash.Digest
	sum.Reset()
	for at := int64(0); at < b.e.content; {
		if err := ctx.Err(); err != nil {
			return err
		}
		p := chunk[:min(readChunk, b.e.content-at)]
		if _, err := b.f.ReadAt(p, at); err != nil {
			return fmt.Errorf("%w: %s at %d: %w", ErrDamaged, b.f.Name(), at, err)
		}
		_, _ = sum.Write(p)
		if err := fn(p); err != nil {
			return err
		}
		at += int64(len(p))
	}
	b.c.m.verified.Add(b.e.content)
	if sum.Sum64() != b.e.sum {
		return b.damaged()
	}
	return nil
}

// settleTime is how old a file's last change has to be for its times to show the next one: the kernel's clock goes on in steps
// of up to ten milliseconds.
const settleTime = 100 * time.Millisecond

// Copy writes the content to w. With ErrDamaged, or any error, what was written is of no use, even if it is all. A w that is a Sender
// gets the file itself where that cannot be changed meanwhile. Otherwise what is written was read before, and is verified
// behind its last byte.
func (b *Backup) Copy(ctx context.Context, w io.Writer) (n int64, err error) {
	if b.data != nil {
		return bytes.NewReader(b.data).WriteTo(w)
	}
	if s, ok := w.(Sender); ok {
		if l := b.lease(); l != nil {
			return s.SendFile(ctx, l)
		}
	}
	err = b.readAll(ctx, func(p []byte) error {
		k, err := w.Write(p)
		n += int64(k)
		return err
	})
	if errors.Is(err, ErrDamaged) {
		b.c.discard(b.e, err)
	}
	return n, err
}
