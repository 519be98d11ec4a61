package localstore

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strings"

	"github.com/stratapg/strata/remote"
)

// List walks through the folders, one in memory at each level, in the order of keys.
func (s *Store) List(ctx context.Context, prefix string, o remote.ListOptions) iter.Seq2[remote.Entry, error] {
	return func(yield func(remote.Entry, error) bool) {
		err := errors.Join(remote.CheckPrefix(prefix), remote.CheckPrefix(o.After), ctx.Err())
		if err == nil {
			w := walk{ctx: ctx, s: s, prefix: prefix, o: o, yield: yield}
			// Only the folder that the prefix names can have keys that begin with it.
			err = w.folder(prefix[:strings.LastIndexByte(prefix, '/')+1])
		}
		if err != nil && !errors.Is(err, errStopped) {
			yield(remote.Entry{}, remote.Wrap("list", prefix, err))
		}
	}
}

// errStopped says that the caller wants no more.
var errStopped = errors.New("stopped")

// walk is one listing.
type walk struct {
	ctx    context.Context
	s      *Store
	prefix string
	o      remote.ListOptions
	yield  func(remote.Entry, error) bool
}

// folder lists what lies in a folder of a key's beginning, which is empty or ends in a slash.
func (w *walk) folder(at string) error {
	names, err := w.s.fs.List(w.s.path(at))
	if err != nil {
		if err = reason(err); errors.Is(err, remote.ErrNotFound) {
			return nil
		}
		return err
	}
	type child struct {
		key string // of a folder with the slash, which is what orders it among keys
		dir bool
	}
	var children []child
	for _, name := range names {
		if at == "" && name == uploads {
			continue
		}
		st, err := w.s.fs.Stat(w.s.path(at + name))
		if err != nil {
			if err = reason(err); errors.Is(err, remote.ErrNotFound) {
				continue // it went meanwhile
			}
			return err
		}
		if st.IsDir {
			name += "/"
		}
		children = append(children, child{at + name, st.IsDir})
	}
	slices.SortFunc(children, func(a, b child) int { return strings.Compare(a.key, b.key) })
	for _, c := range children {
		if err := w.child(c.key, c.dir); err != nil {
			return err
		}
	}
	return nil
}

func (w *walk) child(key string, dir bool) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	if !dir {
		if !strings.HasPrefix(key, w.prefix) || key <= w.o.After {
			return nil
		}
		o, err := w.s.stat(key)
		if errors.Is(err, remote.ErrNotFound) {
			return nil
		}
		return w.give(remote.Entry{Object: o}, err)
	}
	switch {
	case !strings.HasPrefix(key, w.prefix) && !strings.HasPrefix(w.prefix, key):
		return nil
	case key <= w.o.After && !strings.HasPrefix(w.o.After, key):
		return nil // all in it comes before
	case !w.o.Delimited || !strings.HasPrefix(key, w.prefix) || key == w.prefix:
		return w.folder(key)
	}
	some, err := w.some(key)
	if err != nil || !some {
		return err
	}
	return w.give(remote.Entry{Prefix: key}, nil)
}

// some reports whether there is an object behind After in a folder: an empty one is no prefix of anything.
func (w *walk) some(at string) (found bool, err error) {
	inner := walk{ctx: w.ctx, s: w.s, prefix: at, o: remote.ListOptions{After: w.o.After}, yield: func(remote.Entry, error) bool {
		found = true
		return false
	}}
	if err = inner.folder(at); errors.Is(err, errStopped) {
		err = nil
	}
	return found, err
}

func (w *walk) give(e remote.Entry, err error) error {
	if err != nil {
		return err
	}
	if !w.yield(e, nil) {
		return errStopped
	}
	return nil
}
