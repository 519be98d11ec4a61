package ingest

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
	"github.com/stratapg/strata/walredo/native"
)

// memStore is the simplest store: every version of every key in memory, pages built by redo when read.
type memStore struct {
	version    pg.Version
	flavour    pg.Flavour
	hintBits   bool
	values     map[page.Key][]memVersion
	keys       []page.Key // sorted, if not stale
	stale      bool
	last, prev page.LSN
	redo       walredo.Redoer
	puts       int
	failPut    error
}

type memVersion struct {
	lsn   page.LSN
	value []byte
}

var _ datadir.Store = (*memStore)(nil)

func newMemStore(v pg.Version, f pg.Flavour) *memStore {
	return &memStore{version: v, flavour: f, values: make(map[page.Key][]memVersion), redo: native.New()}
}

// PutImage makes the store a sink of imports, at the LSN that last has been set to.
func (s *memStore) PutImage(_ context.Context, k page.Key, image []byte) error {
	if s.stale && len(s.keys) > 0 && !s.keys[len(s.keys)-1].Less(k) {
		return fmt.Errorf("%s after %s", k, s.keys[len(s.keys)-1])
	}
	v := page.Value{Kind: page.KindImage, Bytes: image}
	s.values[k] = append(s.values[k], memVersion{s.last, v.Append(nil)})
	s.keys, s.stale = append(s.keys, k), true
	return nil
}

func (s *memStore) LastRecordLSN() page.LSN { return s.last }
func (s *memStore) PrevRecordLSN() page.LSN { return s.prev }

func (s *memStore) Put(_ context.Context, b *page.Batch) error {
	if s.failPut != nil {
		return s.failPut
	}
	if err := b.Check(s.last); err != nil {
		return err
	}
	for _, e := range b.Entries() {
		vs := s.values[e.Key]
		v := memVersion{e.LSN, bytes.Clone(b.Data(e))}
		switch n := len(vs); {
		case n > 0 && vs[n-1].lsn == e.LSN:
			vs[n-1] = v
			continue
		case n > 0 && vs[n-1].lsn > e.LSN:
			return fmt.Errorf("%s: value at %s after one at %s", e.Key.Describe(), e.LSN, vs[n-1].lsn)
		case n == 0:
			s.stale = true
		}
		s.values[e.Key] = append(vs, v)
	}
	s.last, s.prev = b.End, b.Prev
	s.puts++
	return nil
}

func (s *memStore) sorted() []page.Key {
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

func (s *memStore) Get(ctx context.Context, k page.Key, lsn page.LSN) ([]byte, error) {
	vs := s.values[k]
	n := len(vs)
	for n > 0 && vs[n-1].lsn > lsn {
		n--
	}
	if n == 0 {
		return nil, fmt.Errorf("%s: %w", k.Describe(), page.ErrNotFound)
	}
	req := walredo.Request{Key: k, LSN: lsn, Version: s.version, Flavour: s.flavour, Checksums: s.hintBits}
	for i := n - 1; i >= 0; i-- {
		v, err := page.DecodeValue(vs[i].value)
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
		req.Records = append(req.Records, walredo.Record{LSN: vs[i].lsn, Value: v})
		if v.Initializes() {
			break
		}
	}
	slices.Reverse(req.Records)
	return s.redo.Redo(ctx, nil, &req)
}

func (s *memStore) GetVectored(ctx context.Context, set page.Set, lsn page.LSN, fn func(page.Key, []byte, error) error) error {
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

// equalValues compares lists and bytes; nil equals empty.
func equalValues(a, b any) bool { return fmt.Sprint(a) == fmt.Sprint(b) }
