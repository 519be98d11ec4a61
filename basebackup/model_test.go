package basebackup

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

// model is a datadir.Reader over a map: one version of each key, at every LSN.
type model struct {
	mu     sync.Mutex
	values map[page.Key][]byte
	errs   map[page.Key]error // keys that cannot be rebuilt
	sorted []page.Key         // of values and errs; nil after a change
	reads  int                // calls of GetVectored
}

func newModel() *model {
	return &model{values: make(map[page.Key][]byte), errs: make(map[page.Key]error)}
}

func (m *model) put(k page.Key, v []byte) { m.values[k], m.sorted = v, nil }

func (m *model) Get(ctx context.Context, k page.Key, _ page.LSN) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := m.errs[k]; err != nil {
		return nil, err
	}
	if v, ok := m.values[k]; ok {
		return v, nil
	}
	return nil, fmt.Errorf("%s: %w", k, page.ErrNotFound)
}

func (m *model) GetVectored(ctx context.Context, keys page.Set, _ page.LSN, fn func(page.Key, []byte, error) error) error {
	m.mu.Lock()
	m.reads++
	if m.sorted == nil {
		for k := range m.values {
			m.sorted = append(m.sorted, k)
		}
		for k := range m.errs {
			if _, ok := m.values[k]; !ok {
				m.sorted = append(m.sorted, k)
			}
		}
		slices.SortFunc(m.sorted, page.Key.Compare)
	}
	sorted := m.sorted
	m.mu.Unlock()
	for _, r := range keys.Ranges() {
		i, _ := slices.BinarySearchFunc(sorted, r.Start, page.Key.Compare)
		for ; i < len(sorted) && sorted[i].Less(r.End); i++ {
			if err := ctx.Err(); err != nil {
				return err
			}
			k := sorted[i]
			v := m.values[k]
			if m.errs[k] != nil {
				v = nil
			}
			if err := fn(k, v, m.errs[k]); err != nil {
				return err
			}
		}
	}
	return nil
}

// putRelation adds a relation of the default database with its blocks.
func (m *model) putRelation(rel page.RelTag, blocks ...[]byte) {
	for i, b := range blocks {
		m.put(rel.Block(uint32(i)), b)
	}
	m.put(rel.SizeKey(), datadir.EncodeSize(uint32(len(blocks))))
	k := page.RelDirKey(rel.Spc, rel.DB)
	rels, err := datadir.DecodeRelations(m.values[k])
	if err != nil {
		panic(err)
	}
	m.put(k, datadir.EncodeRelations(append(rels, datadir.RelFork{Rel: rel.Rel, Fork: uint8(rel.Fork)})))
}

// putDatabase adds a database, with a relation map if content is not nil.
func (m *model) putDatabase(spc, db uint32, relmap []byte) {
	ds, err := datadir.DecodeDatabases(m.values[page.DBDirKey])
	if err != nil {
		panic(err)
	}
	m.put(page.DBDirKey, datadir.EncodeDatabases(append(ds, datadir.Database{Spc: spc, DB: db, HasRelMap: relmap != nil})))
	m.put(page.RelDirKey(spc, db), datadir.EncodeRelations(nil))
	if relmap != nil {
		m.put(page.RelMapKey(spc, db), relmap)
	}
}

// putSLRU adds a segment.
func (m *model) putSLRU(kind page.SLRU, segment uint32, pages ...[]byte) {
	for i, b := range pages {
		m.put(kind.Block(segment, uint32(i)), b)
	}
	m.put(kind.SizeKey(segment), datadir.EncodeSize(uint32(len(pages))))
	segs, err := datadir.DecodeSegments(m.values[kind.DirKey()])
	if err != nil {
		panic(err)
	}
	m.put(kind.DirKey(), datadir.EncodeSegments(append(segs, segment)))
}

// putRecord says which record is the last.
func (m *model) putRecord(start, end page.LSN) {
	var x datadir.RecordIndex
	x.Add(datadir.RecordSpan{Start: start, End: end})
	m.put(page.RecordsKey(end), slices.Clone(x.Bytes()))
}

// putFile adds a cluster or auxiliary file under its key.
func (m *model) putFile(k page.Key, path, content string) {
	m.put(k, datadir.EncodeFiles([]datadir.File{{Path: path, Content: []byte(content)}}))
}

// empty prepares the directories that every cluster has.
func (m *model) empty(v pg.Version) *model {
	m.put(page.DBDirKey, datadir.EncodeDatabases(nil))
	m.put(page.TwoPhaseDirKey, datadir.EncodeTwoPhase(v, nil))
	for _, kind := range page.SLRUs {
		m.put(kind.DirKey(), datadir.EncodeSegments(nil))
	}
	return m
}
