package datadir

import (
	"context"
	"fmt"
	"slices"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

// slruDir is the directory of an SLRU's segments.
type slruDir struct {
	segments []uint32 // sorted
	dirty    bool
}

func (m *Modification) slruDir(ctx context.Context, kind page.SLRU) (*slruDir, error) {
	if d := m.dirs.slru[kind]; d != nil {
		return d, nil
	}
	b, err := m.get(ctx, kind.DirKey())
	if kind == page.CommitTs && IsNotFound(err) {
		b, err = EncodeSegments(nil), nil // a timeline that has kept none so far
	}
	if err != nil {
		return nil, err
	}
	segs, err := DecodeSegments(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", kind.DirKey().Describe(), err)
	}
	d := &slruDir{segments: segs}
	m.dirs.slru[kind] = d
	return d, nil
}

// SLRUSegments lists the segments in ascending order. The caller must not keep or change them.
func (m *Modification) SLRUSegments(ctx context.Context, kind page.SLRU) ([]uint32, error) {
	if m.elsewhere() {
		return nil, nil
	}
	d, err := m.slruDir(ctx, kind)
	if err != nil {
		return nil, err
	}
	return d.segments, nil
}

// HasSLRUPage reports whether a page of an SLRU exists.
func (m *Modification) HasSLRUPage(ctx context.Context, kind page.SLRU, pageNo uint32) (bool, error) {
	if m.elsewhere() {
		return false, nil
	}
	d, err := m.slruDir(ctx, kind)
	if err != nil {
		return false, err
	}
	seg := pageNo / pg.SLRUSegPages
	if _, ok := slices.BinarySearch(d.segments, seg); !ok {
		return false, nil
	}
	size, ok := m.dirs.segPages[segmentID{kind, seg}]
	if !ok {
		if size, err = m.storedPages(ctx, kind, seg); err != nil {
			return false, err
		}
		m.dirs.segPages[segmentID{kind, seg}] = size
	}
	return pageNo%pg.SLRUSegPages < size, nil
}

// PutSLRUZeroPage makes a page of an SLRU all zeros, as where a server starts a new one.
func (m *Modification) PutSLRUZeroPage(ctx context.Context, kind page.SLRU, pageNo uint32) error {
	if m.elsewhere() {
		return nil
	}
	seg, n := pageNo/pg.SLRUSegPages, pageNo%pg.SLRUSegPages
	if err := m.reachSLRU(ctx, kind, seg, n, true); err != nil {
		return err
	}
	m.batch.PutImage(kind.Block(seg, n), m.cur.End, zeroPage[:])
	return nil
}

// PutSLRUValue makes v the next version of a page of an SLRU. A page that is not there starts as zeros.
func (m *Modification) PutSLRUValue(ctx context.Context, kind page.SLRU, pageNo uint32, v *page.Value) error {
	if m.elsewhere() {
		return nil
	}
	seg, n := pageNo/pg.SLRUSegPages, pageNo%pg.SLRUSegPages
	if err := m.reachSLRU(ctx, kind, seg, n, false); err != nil {
		return err
	}
	m.batch.PutValue(kind.Block(seg, n), m.cur.End, v)
	return nil
}

// reachSLRU makes sure that the segment has page n; pages between its end and n become zero.
func (m *Modification) reachSLRU(ctx context.Context, kind page.SLRU, seg, n uint32, willInit bool) error {
	id := segmentID{kind, seg}
	size, ok := m.dirs.segPages[id]
	if !ok {
		d, err := m.slruDir(ctx, kind)
		if err != nil {
			return err
		}
		i, exists := slices.BinarySearch(d.segments, seg)
		if !exists {
			d.segments = slices.Insert(d.segments, i, seg)
			d.dirty, m.dirs.dirty = true, true
		} else if size, err = m.storedPages(ctx, kind, seg); err != nil {
			return err
		}
		m.dirs.segPages[id] = size
	}
	if n < size {
		return nil
	}
	for p := size; p < n; p++ {
		m.batch.PutImage(kind.Block(seg, p), m.beforeEnd(), zeroPage[:])
	}
	if !willInit {
		m.batch.PutImage(kind.Block(seg, n), m.beforeEnd(), zeroPage[:])
	}
	m.putSize(kind.SizeKey(seg), n+1)
	m.dirs.segPages[id] = n + 1
	return nil
}

func (m *Modification) storedPages(ctx context.Context, kind page.SLRU, seg uint32) (uint32, error) {
	k := kind.SizeKey(seg)
	b, err := m.get(ctx, k)
	if err != nil {
		return 0, err
	}
	n, err := DecodeSize(b)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", k.Describe(), err)
	}
	return n, nil
}

// DropSLRUSegments removes every segment that drop names.
func (m *Modification) DropSLRUSegments(ctx context.Context, kind page.SLRU, drop func(segment uint32) bool) error {
	if m.elsewhere() {
		return nil
	}
	d, err := m.slruDir(ctx, kind)
	if err != nil {
		return err
	}
	before := len(d.segments)
	d.segments = slices.DeleteFunc(d.segments, func(seg uint32) bool {
		if !drop(seg) {
			return false
		}
		delete(m.dirs.segPages, segmentID{kind, seg})
		return true
	})
	if len(d.segments) != before {
		d.dirty, m.dirs.dirty = true, true
	}
	return nil
}
