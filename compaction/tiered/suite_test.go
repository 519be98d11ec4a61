package tiered_test

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/compaction/tiered"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/page"
)

const (
	suiteKeys    = 640_000 // 5,000 MiB of pages
	suiteRecords = 20_000_000
	suiteRecord  = 1000 // bytes, also of LSNs
	suiteTarget  = 256 << 20
	suiteFanout  = 4
)

// suite plays what Neon's simulator plays in its one scenario. A layer's content is how many records it has of each key.
type suite struct {
	snap     compaction.Snapshot
	contents map[compaction.ID][]uint16
	made     struct{ bytes, files int64 }
	removed  struct{ bytes, files int64 }
}

func suiteKey(n int) page.Key { return page.Key{F1: 1, F6: uint32(n)} }

func (s *suite) add(id compaction.ID, size int64, content []uint16) {
	s.snap.Layers = append(s.snap.Layers, compaction.Layer{ID: id, Size: size})
	s.contents[id] = content
	s.made.bytes += size
	s.made.files++
}

func (s *suite) flush(content []uint16, records int, lsns page.LSNRange) {
	s.add(compaction.ID{Keys: page.FullRange, LSNs: lsns}, int64(records)*suiteRecord, content)
	s.snap.DiskConsistentLSN, s.snap.LastRecordLSN = lsns.End-1, lsns.End-1
}

// compact plans and does until there is nothing left to do.
func (s *suite) compact(t *testing.T) {
	for {
		s.snap.LiveLSN = compaction.Boundary(&s.snap)
		plan := tiered.New().Plan(&s.snap)
		if len(plan.Jobs) == 0 {
			return
		}
		gone := map[int]bool{}
		snap := s.snap
		for i := range plan.Jobs {
			j := &plan.Jobs[i]
			if j.Kind == compaction.Image {
				id := compaction.ID{Keys: j.Rect.Keys, LSNs: j.Rect.LSNs, Image: true}
				s.add(id, compaction.SetPages(s.snap.Live.Intersect(j.Rect.Keys))*8192, nil)
				continue
			}
			require.Len(t, plan.Jobs, 1)
			s.retile(t, &snap, j)
			for _, n := range j.Obsolete {
				gone[n] = true
			}
		}
		var left []compaction.Layer
		for i, l := range s.snap.Layers {
			if !gone[i] {
				left = append(left, l)
				continue
			}
			s.removed.bytes += l.Size
			s.removed.files++
			delete(s.contents, l.ID)
		}
		s.snap.Layers = left
	}
}

func (s *suite) retile(t *testing.T, snap *compaction.Snapshot, j *compaction.Job) {
	sum := make([]uint16, suiteKeys)
	for _, n := range j.Inputs {
		for k, records := range s.contents[snap.Layers[n].ID] {
			sum[k] += records
		}
	}
	done := 0
	emit := func(r compaction.Rect) {
		require.Equal(t, j.Rect.LSNs, r.LSNs)
		content, size := make([]uint16, suiteKeys), int64(2)
		for done < suiteKeys && suiteKey(done).Less(r.Keys.End) {
			content[done] = sum[done]
			size += int64(sum[done]) * suiteRecord
			done++
		}
		s.add(compaction.ID{Keys: r.Keys, LSNs: r.LSNs}, size, content)
	}
	c := j.Cut()
	for k, records := range sum {
		for n := range records {
			c.Add(compaction.Entry{Key: suiteKey(k), LSN: j.Rect.LSNs.Start + page.LSN(n), Size: suiteRecord}, emit)
		}
	}
	c.Finish(emit)
	require.Equal(t, suiteKeys, done)
}

// TestNeonSuite shows that the planner makes and removes as many files and bytes as Neon's does in its
// simulator's scenario of 20 GB of updates over 5 GB of pages.
func TestNeonSuite(t *testing.T) {
	s := &suite{contents: map[compaction.ID][]uint16{}}
	s.snap.Options = compaction.Options{CheckpointDistance: suiteTarget, CompactionThreshold: suiteFanout}
	s.snap.Live = page.NewSet(page.Range{Start: suiteKey(0), End: suiteKey(suiteKeys)})
	s.snap.InitialLSN = 1000
	random := rand.New(rand.NewPCG(1, 2))
	lsn, from := page.LSN(1000), page.LSN(1000)
	content, records := make([]uint16, suiteKeys), 0
	all := testkit.Size(suiteRecords/10, suiteRecords, suiteRecords)
	for range all {
		content[random.IntN(suiteKeys)]++
		records++
		lsn += suiteRecord
		if records*suiteRecord > suiteTarget {
			s.flush(content, records, page.LSNRange{Start: from, End: lsn})
			content, records, from = make([]uint16, suiteKeys), 0, lsn
			s.compact(t)
		}
	}
	s.flush(content, records, page.LSNRange{Start: from, End: lsn})
	s.compact(t)

	if all < suiteRecords { // the simulator has the figures proven once more, without the race detector
		require.EqualValues(t, 8, s.removed.files, "L0s, of which two levels were made")
		return
	}
	var images, level [4]int
	for _, l := range s.snap.Layers {
		switch tall := l.LSNs.End - l.LSNs.Start; {
		case l.Image:
			images[0]++
		case l.L0():
			level[0]++
		case tall < 2<<30:
			level[1]++
		default:
			level[2]++
		}
	}
	require.Equal(t, [4]int{3, 8, 64}, level)
	require.Equal(t, 20, images[0])
	require.EqualValues(t, 58889, s.made.bytes>>20, "MB created")
	require.EqualValues(t, 34816, s.removed.bytes>>20, "MB deleted")
	require.EqualValues(t, 231, s.made.files)
	require.EqualValues(t, 136, s.removed.files)
}
