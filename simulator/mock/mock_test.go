package mock_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/compaction/legacy"
	"github.com/stratapg/strata/compaction/tiered"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/simulator/mock"
)

const (
	start     = page.LSN(1000)
	pageBytes = 8192
)

// fact is a record as the brute force remembers it.
type fact struct {
	key, size uint32
	lsn       page.LSN
	init      bool
}

// model is a timeline beside what was done to it.
type model struct {
	*mock.Timeline
	keys          uint32
	facts         []fact
	flushed       int // facts in layers
	files, gone   int64
	created, lost int64
	by            map[string]int64
	number        int
	strategy      compaction.Strategy
	seen          map[uint32]bool
}

func newModel(t *rapid.T) *model {
	m := &model{keys: rapid.Uint32Range(1, 40).Draw(t, "keys"), by: map[string]int64{}, seen: map[uint32]bool{}}
	m.strategy = rapid.SampledFrom([]compaction.Strategy{legacy.New(), tiered.New()}).Draw(t, "strategy")
	space, err := mock.NewSpace([]mock.Region{{First: page.RelTag{Spc: 1663, DB: 5, Rel: 16384}.Block(0), Room: m.keys, Blocks: m.keys}})
	require.NoError(t, err)
	o := compaction.Options{CheckpointDistance: 3000, CompactionTargetSize: 2000, CompactionThreshold: 3, ImageCreationThreshold: 2}.WithDefaults()
	m.Timeline, err = mock.New(space, mock.Options{Compaction: o, Start: start, Count: true, Watch: m.watch})
	require.NoError(t, err)
	return m
}

func (m *model) watch(c mock.Change) {
	if c.Deleted {
		m.gone, m.lost = m.gone+1, m.lost+c.Layer.Size
		return
	}
	m.files, m.created = m.files+1, m.created+c.Layer.Size
	m.by[c.Kind] += c.Layer.Size
}

func (m *model) put(t *rapid.T) {
	for range rapid.IntRange(1, 40).Draw(t, "records") {
		r := mock.Record{Key: rapid.Uint32Range(0, m.keys-1).Draw(t, "key"), Size: rapid.Uint32Range(1, 200).Draw(t, "size"), Init: rapid.IntRange(0, 9).Draw(t, "init") == 0}
		_, full := m.Put([]mock.Record{r})
		m.facts = append(m.facts, fact{r.Key, r.Size, m.Last(), r.Init || !m.seen[r.Key]})
		m.seen[r.Key] = true
		if full {
			m.flush(t)
		}
	}
}

func (m *model) flush(t *rapid.T) {
	require.NoError(t, m.Flush(m.strategy))
	m.flushed = len(m.facts)
}

func (m *model) compact(t *rapid.T) {
	for range 100 {
		jobs, err := m.Resolve(m.strategy.Plan(m.Snapshot()))
		require.NoError(t, err)
		if len(jobs) == 0 {
			return
		}
		m.number++
		w, err := m.Prepare(jobs[0], m.number)
		require.NoError(t, err)
		for w != nil && !w.Done() {
			require.NoError(t, w.Publish())
		}
	}
	t.Fatal("planning does not come to an end")
}

// newestBase gives the LSN of the newest image layer of a key up to x, 0 if there is none.
func (m *model) newestBase(key uint32, x page.LSN) (base page.LSN) {
	for _, l := range m.Live() {
		if l.Image && l.Keys.Contains(m.Space().Key(key)) && l.LSNs.Start <= x {
			base = max(base, l.LSNs.Start)
		}
	}
	return base
}

// read says by brute force what a read costs: it counts the records down to what needs nothing older, and then the layers that
// have LSNs down to there.
func (m *model) read(key uint32, x page.LSN) (deltas, layers, records int) {
	base := m.newestBase(key, x)
	stop := base + 1
	bottom := base > 0 // the read ends in an image
	for i := len(m.facts) - 1; i >= 0; i-- {
		if f := m.facts[i]; f.key == key && base < f.lsn && f.lsn <= x {
			if records++; f.init {
				stop, bottom = f.lsn, false
				break
			}
		}
	}
	inMemory := m.Flushed()
	if x > inMemory {
		layers++
		if stop > inMemory { // no delta is under it, but an image may end where it begins
			if bottom {
				layers++
			}
			return 0, layers, records
		}
	}
	for _, l := range m.Live() {
		if !l.Image && l.Keys.Contains(m.Space().Key(key)) && l.LSNs.Start <= x && l.LSNs.End > stop {
			deltas++
		}
	}
	layers += deltas
	if bottom {
		layers++
	}
	return deltas, layers, records
}

func (m *model) check(t *rapid.T) {
	c := m.Counts()
	require.Equal(t, []int64{m.files, m.gone, m.created, m.lost}, []int64{c.Files, c.FilesDeleted, c.Created, c.Deleted})
	require.Equal(t, len(m.by), len(c.By))
	for kind, n := range m.by {
		require.Equal(t, n, c.By[kind], kind)
	}
	require.Equal(t, m.files-m.gone, int64(len(m.Live())))
	for _, l := range m.Live() {
		n, size := int64(0), int64(0)
		if l.Image {
			for key := range m.keys {
				if l.Keys.Contains(m.Space().Key(key)) {
					n, size = n+1, size+pageBytes
				}
			}
		} else {
			for _, f := range m.facts[:m.flushed] {
				if l.Keys.Contains(m.Space().Key(f.key)) && l.LSNs.Contains(f.lsn) {
					n, size = n+1, size+int64(f.size)
				}
			}
			if l.Job > 0 {
				size += 2
			}
		}
		require.Equal(t, []int64{n, size}, []int64{l.Entries, l.Size}, "%s", l.ID)
	}
	for range 10 {
		key, x := rapid.Uint32Range(0, m.keys-1).Draw(t, "read"), page.LSN(rapid.Uint64Range(uint64(start), uint64(m.Last())).Draw(t, "at"))
		deltas, layers, records := m.read(key, x)
		got := m.Read(key, x)
		if m.newestBase(key, x) == 0 && records == 0 {
			continue // the key has not been written by then: how far a read looks for nothing is no cost that is counted
		}
		require.Equal(t, []int{deltas, layers, records}, []int{got.Deltas, got.Layers, got.Records}, "key %d at %s", key, x)
		require.NoError(t, m.CheckRead(key, x, got))
	}
	require.NoError(t, m.CheckAll())
	require.NoError(t, m.CheckOverlap())
}

// TestCounts compares what the mock counts, sizes of layers and costs of reads among it, with a brute force that knows the
// records and the rectangles of layers only.
func TestCounts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newModel(t)
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			m.put(t)
			if rapid.IntRange(0, 3).Draw(t, "flush") == 0 {
				m.flush(t)
			}
			if rapid.Bool().Draw(t, "compact") {
				m.compact(t)
			}
			m.check(t)
		}
	})
}
