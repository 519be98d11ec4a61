package timeline

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/compaction/partitioned"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
	"github.com/stratapg/strata/walredo"
)

// folder is redo whose pages are sums over all records in their order. It notes the most records of one request under a
// context with a counted value.
type folder struct {
	mu   sync.Mutex
	most int
}

type counted struct{}

func foldIn(state uint64, record []byte) uint64 {
	return state*1_000_003 + binary.BigEndian.Uint64(record)
}

func (f *folder) Redo(ctx context.Context, dst []byte, r *walredo.Request) ([]byte, error) {
	if ctx.Value(counted{}) != nil {
		f.mu.Lock()
		f.most = max(f.most, len(r.Records))
		f.mu.Unlock()
	}
	var state uint64
	if len(r.Base) > 0 {
		state = binary.BigEndian.Uint64(r.Base)
	}
	for _, rec := range r.Records {
		state = foldIn(state, rec.Value.Bytes)
	}
	return binary.BigEndian.AppendUint64(dst, state), nil
}

func (*folder) Close() error { return nil }

// drain gives the most since the last time.
func (f *folder) drain() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.most
	f.most = 0
	return n
}

// boundedTest is a timeline whose reads are bounded, with what its pages must be.
type boundedTest struct {
	*testing.T
	r     *rand.Rand
	tl    *Timeline
	redo  *folder
	o     compaction.Options
	pages map[int]uint64
	worst int // the most records that a read had to replay
}

func newBoundedTest(t *testing.T, seed uint64) *boundedTest {
	b := &boundedTest{T: t, r: rand.New(rand.NewPCG(seed, 1)), redo: &folder{}, pages: map[int]uint64{}}
	b.o = compaction.Options{MaxVisits: 3 + b.r.IntN(6), MaxRecords: 1 + b.r.IntN(40), CheckpointDistance: 16 << 10, CompactionTargetSize: 64 << 10}
	e := readEnv(t, virtualfile.NewMem(), "store", func(c *Config) {
		c.Redoer, c.CheckpointDistance = b.redo, 8<<10
		c.Compaction = CompactionConfig{Strategy: partitioned.New(), Options: b.o, Period: time.Hour}
	})
	b.tl = newTestTimeline(t, e, "store", "main", readFirst, nil)
	var batch page.Batch
	for k := range boundedPages {
		batch.PutImage(blockKey(k), readFirst+8, make([]byte, 8))
		b.pages[k] = 0
	}
	require.NoError(t, b.tl.Put(context.Background(), &batch))
	return b
}

// boundedPages are the pages of a boundedTest, all of which exist from the beginning.
const boundedPages = 200

// put puts a batch of records: of keys near each other, of one that is hot, or of any.
func (b *boundedTest) put(ctx context.Context, pattern int) {
	var batch page.Batch
	lsn := b.tl.LastRecordLSN()
	for range 1 + b.r.IntN(40) {
		lsn += 8
		var k int
		switch pattern {
		case 0:
			k = 7
		case 1:
			k = 60 * b.r.IntN(3)
		case 2:
			k = b.r.IntN(boundedPages)
		default:
			k = 50 + b.r.IntN(1+b.r.IntN(60))
		}
		var v [8]byte
		binary.BigEndian.PutUint64(v[:], b.r.Uint64())
		switch {
		case b.r.IntN(200) == 0:
			batch.PutImage(blockKey(k), lsn, v[:])
			b.pages[k] = binary.BigEndian.Uint64(v[:])
		case b.r.IntN(100) == 0:
			batch.PutRecord(blockKey(k), lsn, true, v[:])
			b.pages[k] = foldIn(0, v[:])
		default:
			batch.PutRecord(blockKey(k), lsn, false, v[:])
			b.pages[k] = foldIn(b.pages[k], v[:])
		}
	}
	require.NoError(b, b.tl.Put(ctx, &batch), "ingest goes on in the end")
}

// check reads everything at the newest LSN, all of which is in layer files.
func (b *boundedTest) check(ctx context.Context) {
	require.NoError(b, b.tl.Flush(ctx))
	require.NoError(b, b.tl.flusher.take(ctx))
	debt := partitioned.New().Plan(b.tl.flushSnapshot()).Debt
	b.tl.flusher.give()
	require.LessOrEqual(b, debt.Height, b.o.MaxVisits, "deltas that a read visits")
	require.LessOrEqual(b, debt.Records, b.o.MaxRecords, "records that planners take a read to replay")
	for k, want := range b.pages {
		got, err := b.tl.Get(context.WithValue(ctx, counted{}, true), blockKey(k), b.tl.LastRecordLSN())
		require.NoError(b, err)
		require.Equal(b, want, binary.BigEndian.Uint64(got), "page %d", k)
	}
	most := b.redo.drain()
	require.LessOrEqual(b, most, b.o.MaxRecords, "records that a read replays")
	b.worst = max(b.worst, most)
}

// TestReadsAreBoundedUnderAnyIngest: as long as ingest heeds the back-pressure, no read of what is in layer files visits more
// deltas or replays more records than the bounds say, after each flush and whatever is compacted meanwhile. Without
// the images that flushes, merges and planners put in, single pages would take thousands.
func TestReadsAreBoundedUnderAnyIngest(t *testing.T) {
	for seed := range testkit.Size(2, 6, 300) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			ctx := t.Context()
			b := newBoundedTest(t, uint64(seed))
			for range testkit.Size(12, 25, 25) {
				pattern := b.r.IntN(4)
				for range b.r.IntN(30) {
					b.put(ctx, pattern)
				}
				b.check(ctx)
			}
			require.Positive(t, b.worst)
		})
	}
}
