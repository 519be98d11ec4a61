package virtualfile

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
)

// ErrGone says that the file a handle stands for is no longer under its name: it was removed, or another
// file or another length is found there. Only a descriptor could still reach it, and that was closed.
var ErrGone = errors.New("the file was removed, replaced or cut while it was open")

// errBusy says that a descriptor is not to be had without waiting.
var errBusy = errors.New("would wait for a descriptor")

// names knows which handles stand for which file, so that they follow a rename and notice a removal. While a
// name is being renamed or removed nothing is opened under it; no lock is held during the system call.
type names struct {
	mu struct {
		sync.Mutex
		handles map[string][]*Handle
		moving  map[string]chan struct{} // closed when the change is done
	}
}

func (n *names) init() {
	n.mu.handles = map[string][]*Handle{}
	n.mu.moving = map[string]chan struct{}{}
}

// movingLocked gives what to wait for before name, or a folder above it, can be relied on.
func (n *names) movingLocked(name string) chan struct{} {
	for other, done := range n.mu.moving {
		if _, ok := within(name, other); ok {
			return done
		}
	}
	return nil
}

// settle waits until nothing that concerns name is being changed; it returns with the lock held, unless
// there is an error. A nil ctx does not wait.
func (n *names) settle(ctx context.Context, name func() string) error {
	for {
		n.mu.Lock()
		done := n.movingLocked(cleanName(name()))
		if done == nil {
			return nil
		}
		n.mu.Unlock()
		if ctx == nil {
			return errBusy
		}
		select {
		case <-done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// add notes that h stands for name.
func (n *names) add(ctx context.Context, h *Handle, name string) error {
	if err := n.settle(ctx, func() string { return name }); err != nil {
		return err
	}
	defer n.mu.Unlock()
	h.name.Store(&name)
	key := cleanName(name)
	n.mu.handles[key] = append(n.mu.handles[key], h)
	return nil
}

// drop forgets h.
func (n *names) drop(h *Handle) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if h.gone.Load() {
		return
	}
	key := cleanName(h.Name())
	hs := n.mu.handles[key]
	if i := slices.Index(hs, h); i >= 0 {
		hs[i] = hs[len(hs)-1]
		hs[len(hs)-1] = nil
		hs = hs[:len(hs)-1]
	}
	if len(hs) == 0 {
		delete(n.mu.handles, key)
	} else {
		n.mu.handles[key] = hs
	}
}

// current gives the name under which h can be opened.
func (n *names) current(ctx context.Context, h *Handle) (string, error) {
	if err := n.settle(ctx, h.Name); err != nil {
		return "", err
	}
	defer n.mu.Unlock()
	if h.gone.Load() {
		return "", ErrGone
	}
	return h.Name(), nil
}

// still says that name was right for h all the time since current gave it.
func (n *names) still(h *Handle, name string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return h.Name() == name && n.movingLocked(cleanName(name)) == nil
}

// change does something to files of some names, during which nothing is opened under them; then updates
// what is known, if it succeeded.
func (n *names) change(do func() error, update func(), keys ...string) error {
	done := make(chan struct{})
	n.begin(done, keys)
	err := do()
	n.mu.Lock()
	defer n.mu.Unlock()
	if err == nil {
		update()
	}
	for _, key := range keys {
		delete(n.mu.moving, key)
	}
	close(done)
	return err
}

// begin marks names as changing, after whoever changes one of them, or a folder above or below, is done.
func (n *names) begin(done chan struct{}, keys []string) {
	for {
		n.mu.Lock()
		other := n.conflictLocked(keys)
		if other == nil {
			break
		}
		n.mu.Unlock()
		<-other
	}
	for _, key := range keys {
		n.mu.moving[key] = done
	}
	n.mu.Unlock()
}

func (n *names) conflictLocked(keys []string) chan struct{} {
	for _, key := range keys {
		if done := n.movingLocked(key); done != nil {
			return done
		}
		for other, done := range n.mu.moving {
			if _, ok := within(other, key); ok {
				return done
			}
		}
	}
	return nil
}

// removedLocked notes that the files at key, and below it if it is a folder's, are gone.
func (n *names) removedLocked(key string) {
	for _, h := range n.mu.handles[key] {
		h.gone.Store(true)
	}
	delete(n.mu.handles, key)
}

// movedLocked notes that handles follow their file. A folder takes those below it along; they are searched
// for only if no file has the name.
func (n *names) movedLocked(from, to, newName string) {
	n.removedLocked(to)
	if hs := n.mu.handles[from]; hs != nil {
		delete(n.mu.handles, from)
		n.mu.handles[to] = hs
		for _, h := range hs {
			h.name.Store(&newName)
		}
		return
	}
	for key, hs := range n.mu.handles {
		rest, ok := within(key, from)
		if !ok {
			continue
		}
		delete(n.mu.handles, key)
		n.mu.handles[to+rest] = hs
		name := strings.TrimSuffix(newName, "/") + rest
		for _, h := range hs {
			h.name.Store(&name)
		}
	}
}

// Rename moves a file or folder and replaces a file of the new name; handles that have it open go with it.
// A file that could not be written (ErrBroken) is not renamed.
func (d *Disk) Rename(oldName, newName string) error { return d.rename(oldName, newName, d.fs.Rename) }

// RenameNew moves a file, and fails with fs.ErrExist if the new name is taken; handles go with it.
func (d *Disk) RenameNew(oldName, newName string) error {
	return d.rename(oldName, newName, d.fs.RenameNew)
}

func (d *Disk) rename(oldName, newName string, rename func(oldName, newName string) error) error {
	from, to := cleanName(oldName), cleanName(newName)
	if from == to {
		return rename(oldName, newName)
	}
	return d.names.change(func() error {
		if err := d.names.broken(from); err != nil {
			return err
		}
		return rename(oldName, newName)
	}, func() { d.names.movedLocked(from, to, newName) }, from, to)
}

// broken gives the ErrBroken of the handles of a name.
func (n *names) broken(key string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, h := range n.mu.handles[key] {
		if err := h.broken.failed(); err != nil {
			return err
		}
	}
	return nil
}

// Remove removes a file. Handles that have it open go on as long as they have a descriptor, and fail with
// ErrGone after that.
func (d *Disk) Remove(name string) error {
	key := cleanName(name)
	return d.names.change(func() error { return d.fs.Remove(name) },
		func() { d.names.removedLocked(key) }, key)
}

// goneError is what opening a handle's file again has shown.
func goneError(name string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", ErrGone, err)
	}
	return err
}
