package receive_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/ingest"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg/control"
)

// memStore keeps every version of every key, and reads back what is an image: metadata. What is put becomes
// durable when Flush says so.
type memStore struct {
	mu                  sync.Mutex
	last, prev, durable page.LSN
	flushes             int
	values              map[page.Key][]version
}

type version struct {
	lsn   page.LSN
	value []byte
}

func (s *memStore) lsn(l *page.LSN) page.LSN { s.mu.Lock(); defer s.mu.Unlock(); return *l }

func (s *memStore) LastRecordLSN() page.LSN     { return s.lsn(&s.last) }
func (s *memStore) PrevRecordLSN() page.LSN     { return s.lsn(&s.prev) }
func (s *memStore) DiskConsistentLSN() page.LSN { return s.lsn(&s.durable) }

func (s *memStore) Flush(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.durable = s.last
	s.flushes++
	return nil
}

func (s *memStore) Put(_ context.Context, b *page.Batch) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := b.Check(s.last); err != nil {
		return err
	}
	for _, e := range b.Entries() {
		s.values[e.Key] = append(s.values[e.Key], version{e.LSN, slices.Clone(b.Data(e))})
	}
	s.last, s.prev = b.End, b.Prev
	return nil
}

func (s *memStore) Get(_ context.Context, k page.Key, lsn page.LSN) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	vs := s.values[k]
	for i := len(vs) - 1; i >= 0; i-- {
		if vs[i].lsn > lsn {
			continue
		}
		v, err := page.DecodeValue(vs[i].value)
		if err == nil && v.Kind != page.KindImage {
			err = errors.New("no image, and this store has no redo")
		}
		return v.Bytes, err
	}
	return nil, fmt.Errorf("%s: %w", k.Describe(), page.ErrNotFound)
}

func (s *memStore) GetVectored(ctx context.Context, keys page.Set, lsn page.LSN, fn func(page.Key, []byte, error) error) error {
	s.mu.Lock()
	var in []page.Key
	for k := range s.values {
		if keys.Contains(k) {
			in = append(in, k)
		}
	}
	s.mu.Unlock()
	slices.SortFunc(in, page.Key.Compare)
	for _, k := range in {
		v, err := s.Get(ctx, k, lsn)
		if errors.Is(err, page.ErrNotFound) {
			continue
		}
		if err := fn(k, v, err); err != nil {
			return err
		}
	}
	return nil
}

// importDir makes a store of a cleanly stopped cluster.
func importDir(t *testing.T, dir string) (*memStore, *control.File) {
	d, err := ingest.OpenDataDir(dir)
	require.NoError(t, err)
	s := &memStore{last: d.LSN, prev: d.PrevLSN, durable: d.LSN, values: make(map[page.Key][]version)}
	_, err = d.Import(t.Context(), sink{s, d.LSN}, nil)
	require.NoError(t, err)
	return s, &d.Control
}

type sink struct {
	s   *memStore
	lsn page.LSN
}

func (i sink) PutImage(_ context.Context, k page.Key, image []byte) error {
	v := page.Value{Kind: page.KindImage, Bytes: image}
	i.s.values[k] = append(i.s.values[k], version{i.lsn, v.Append(nil)})
	return nil
}

// history is every version of every key but the record index, whose batches end where they like.
func (s *memStore) history() map[page.Key][]version {
	out := make(map[page.Key][]version)
	for k, vs := range s.values {
		if !page.RecordsRange.Contains(k) {
			out[k] = vs
		}
	}
	return out
}
