package basebackup_test

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/walredo"
	"github.com/stratapg/strata/walredo/native"
)

// memStore is a timeline in memory: every version of every key, and redo. It is as simple as can be, so that
// what a test with it finds is not the engine's.
type memStore struct {
	version   pg.Version
	checksums bool
	redo      walredo.Redoer

	mu         sync.Mutex
	last, prev page.LSN
	values     map[page.Key][]version
	sorted     []page.Key
}

type version struct {
	lsn   page.LSN
	value []byte
}

var _ datadir.Store = (*memStore)(nil)

func newMemStore(v pg.Version, checksums bool) *memStore {
	return &memStore{version: v, checksums: checksums, redo: native.New(), values: make(map[page.Key][]version)}
}

func (s *memStore) LastRecordLSN() page.LSN { s.mu.Lock(); defer s.mu.Unlock(); return s.last }
func (s *memStore) PrevRecordLSN() page.LSN { s.mu.Lock(); defer s.mu.Unlock(); return s.prev }

// DiskConsistentLSN and Flush stand for a store that is durable at once.
func (s *memStore) DiskConsistentLSN() page.LSN { return s.LastRecordLSN() }
func (s *memStore) Flush(context.Context) error { return nil }

func (s *memStore) Put(_ context.Context, b *page.Batch) error {
	if err := b.Check(s.LastRecordLSN()); err != nil {
		return err
	}
	s.add(b)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last, s.prev = b.End, b.Prev
	return nil
}

func (s *memStore) add(b *page.Batch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range b.Entries() {
		v := version{e.LSN, slices.Clone(b.Data(e))}
		vs := s.values[e.Key]
		if n := len(vs); n > 0 && vs[n-1].lsn == e.LSN {
			vs[n-1] = v
			continue
		}
		if vs == nil {
			s.sorted = nil
		}
		s.values[e.Key] = append(vs, v)
	}
}

func (s *memStore) Get(ctx context.Context, k page.Key, lsn page.LSN) ([]byte, error) {
	s.mu.Lock()
	vs := s.values[k]
	s.mu.Unlock()
	end, _ := slices.BinarySearchFunc(vs, lsn+1, func(v version, l page.LSN) int { return cmp(v.lsn, l) })
	req := walredo.Request{Key: k, LSN: lsn, Version: s.version, Checksums: s.checksums}
	for i := end - 1; i >= 0; i-- {
		v, err := page.DecodeValue(vs[i].value)
		if err != nil {
			return nil, err
		}
		if v.Kind == page.KindImage {
			req.Base = v.Bytes
			break
		}
		req.Records = append(req.Records, walredo.Record{LSN: vs[i].lsn, Value: v})
		if v.Initializes() {
			break
		}
	}
	if req.Base == nil && len(req.Records) == 0 {
		return nil, fmt.Errorf("%s: %w", k.Describe(), page.ErrNotFound)
	}
	if len(req.Records) == 0 {
		return slices.Clone(req.Base), nil
	}
	slices.Reverse(req.Records)
	return s.redo.Redo(ctx, nil, &req)
}

func cmp(a, b page.LSN) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func (s *memStore) keys() []page.Key {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sorted == nil {
		for k := range s.values {
			s.sorted = append(s.sorted, k)
		}
		slices.SortFunc(s.sorted, page.Key.Compare)
	}
	return s.sorted
}

func (s *memStore) GetVectored(ctx context.Context, keys page.Set, lsn page.LSN, fn func(page.Key, []byte, error) error) error {
	all := s.keys()
	for _, r := range keys.Ranges() {
		i, _ := slices.BinarySearchFunc(all, r.Start, page.Key.Compare)
		for ; i < len(all) && all[i].Less(r.End); i++ {
			v, err := s.Get(ctx, all[i], lsn)
			if datadir.IsNotFound(err) {
				continue
			}
			if err := fn(all[i], v, err); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}
