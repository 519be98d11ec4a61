// Package datadirtest has the simplest datadir.Store, for tests: every version of every key in memory.
package datadirtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/walredo"
)

// Store keeps every version of every key in memory and builds pages by redo when they are read. It belongs
// to one goroutine.
type Store struct {
	Version    pg.Version
	Flavour    pg.Flavour
	HintBits   bool
	Dirs       page.RelDirs    // how relations are listed
	Wanted     page.RelDirForm // how they are to be listed from the next record on, if that is not page.RelDirV1
	Redo       walredo.Redoer  // nil: only images can be read
	Last, Prev page.LSN        // end and start of the last record
	Puts       int             // batches stored
	FailPut    error           // what Put fails with, if not nil

	values   map[page.Key][]Version
	keys     []page.Key // sorted, unless stale
	stale    bool
	imported page.Key // the last key that PutImage took
}

// Version is one version of a key: a serialized page.Value.
type Version struct {
	LSN   page.LSN
	Value []byte
}

var (
	_ datadir.Store         = (*Store)(nil)
	_ datadir.RelDirsWanted = (*Store)(nil)
)

// WantedRelDirs is Wanted.
func (s *Store) WantedRelDirs() page.RelDirForm { return s.Wanted }

// RelDirs is Dirs.
func (s *Store) RelDirs() page.RelDirs { return s.Dirs }

// New gives an empty store, without even directories.
func New(v pg.Version, f pg.Flavour, redo walredo.Redoer) *Store {
	return &Store{Version: v, Flavour: f, values: make(map[page.Key][]Version), Redo: redo}
}

// Init puts what every cluster has: empty directories at last, the store's last LSN from then on.
func (s *Store) Init(ctx context.Context, last page.LSN) error {
	s.Last, s.Prev = last, last-120
	for _, kv := range []struct {
		k page.Key
		v []byte
	}{
		{page.DBDirKey, datadir.EncodeDatabases(nil)},
		{page.Clog.DirKey(), datadir.EncodeSegments(nil)},
		{page.MultixactMembers.DirKey(), datadir.EncodeSegments(nil)},
		{page.MultixactOffsets.DirKey(), datadir.EncodeSegments(nil)},
		{page.TwoPhaseDirKey, datadir.EncodeTwoPhase(s.Version, nil)},
	} {
		if err := s.PutImage(ctx, kv.k, kv.v); err != nil {
			return err
		}
	}
	return nil
}

// Versions gives all versions of a key, oldest first.
func (s *Store) Versions(k page.Key) []Version { return s.values[k] }

// PutImage makes the store a sink of imports, at the LSN Last.
func (s *Store) PutImage(_ context.Context, k page.Key, image []byte) error {
	if len(s.values) > 0 && !s.imported.Less(k) {
		return fmt.Errorf("datadirtest: import of %s after %s", k, s.imported)
	}
	v := page.Value{Kind: page.KindImage, Bytes: image}
	s.values[k] = append(s.values[k], Version{s.Last, v.Append(nil)})
	s.imported, s.stale = k, true
	return nil
}

// LastRecordLSN is Last.
func (s *Store) LastRecordLSN() page.LSN { return s.Last }

// PrevRecordLSN is Prev.
func (s *Store) PrevRecordLSN() page.LSN { return s.Prev }

// Put takes a batch, or refuses it whole.
func (s *Store) Put(_ context.Context, b *page.Batch) error {
	if s.FailPut != nil {
		return s.FailPut
	}
	if err := b.Check(s.Last); err != nil {
		return err
	}
	for _, e := range b.Entries() {
		vs := s.values[e.Key]
		v := Version{e.LSN, bytes.Clone(b.Data(e))}
		switch n := len(vs); {
		case n > 0 && vs[n-1].LSN == e.LSN:
			vs[n-1] = v
			continue
		case n > 0 && vs[n-1].LSN > e.LSN:
			return fmt.Errorf("%s: value at %s after one at %s", e.Key.Describe(), e.LSN, vs[n-1].LSN)
		case n == 0:
			s.stale = true
		}
		s.values[e.Key] = append(vs, v)
	}
	if b.RelDirs != nil {
		s.Dirs, s.Wanted = *b.RelDirs, page.RelDirV1
	}
	s.Last, s.Prev = b.End, b.Prev
	s.Puts++
	return nil
}

func (s *Store) sorted() []page.Key {
	if s.stale {
		s.keys = s.keys[:0]
		for k := range s.values {
			s.keys = append(s.keys, k)
		}
		slices.SortFunc(s.keys, page.Key.Compare)
		s.stale = false
	}
	return s.keys
}

// Get builds the value of a key.
func (s *Store) Get(ctx context.Context, k page.Key, lsn page.LSN) ([]byte, error) {
	vs := s.values[k]
	n := len(vs)
	for n > 0 && vs[n-1].LSN > lsn {
		n--
	}
	if n == 0 {
		return nil, fmt.Errorf("%s: %w", k.Describe(), page.ErrNotFound)
	}
	req := walredo.Request{Key: k, LSN: lsn, Version: s.Version, Flavour: s.Flavour, Checksums: s.HintBits}
	for i := n - 1; i >= 0; i-- {
		v, err := page.DecodeValue(vs[i].Value)
		if err != nil {
			return nil, err
		}
		if v.Kind == page.KindImage {
			if len(req.Records) == 0 {
				return v.Bytes, nil
			}
			req.Base = v.Bytes
			break
		}
		req.Records = append(req.Records, walredo.Record{LSN: vs[i].LSN, Value: v})
		if v.Initializes() {
			break
		}
	}
	slices.Reverse(req.Records)
	if s.Redo == nil {
		return nil, fmt.Errorf("datadirtest: %s needs redo", k.Describe())
	}
	return s.Redo.Redo(ctx, nil, &req)
}

// GetVectored builds the values of a set of keys.
func (s *Store) GetVectored(ctx context.Context, set page.Set, lsn page.LSN, fn func(page.Key, []byte, error) error) error {
	keys := s.sorted()
	for _, r := range set.Ranges() {
		i, _ := slices.BinarySearchFunc(keys, r.Start, page.Key.Compare)
		for ; i < len(keys) && keys[i].Less(r.End); i++ {
			v, err := s.Get(ctx, keys[i], lsn)
			if errors.Is(err, page.ErrNotFound) {
				continue
			}
			if err := fn(keys[i], v, err); err != nil {
				return err
			}
		}
	}
	return nil
}
