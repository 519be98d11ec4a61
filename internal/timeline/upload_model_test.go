package timeline

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/internal/upload"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/remote"
	"github.com/stratapg/strata/remote/faultstore"
	"github.com/stratapg/strata/remote/memstore"
)

// TestUploadModel does at random what processes do: write, compact, evict, fail, die at any call of the remote, come back on their
// disk or attach elsewhere while the old one still runs and writes. After each attachment from the remote alone all that was reported
// is right, and what a stale process reads is right or an error.
func TestUploadModel(t *testing.T) {
	steps := testkit.Size(40, 250, 100_000)
	perRun := min(steps, 500)
	runs, withTwo, done := steps/perRun, 0, map[string]int{}
	first := testkit.Rand(t, 9).Uint64()
	for run := range uint64(runs) {
		t.Run(fmt.Sprintf("run=%d", run), func(t *testing.T) {
			m := newUploadModel(t, first+run)
			m.run(perRun)
			if m.done["attach"] > 0 && m.done["stale"] > 0 {
				withTwo++
			}
			for name, n := range m.done {
				done[name] += n
			}
		})
	}
	t.Logf("%d runs, %d of them with two writers: %v", runs, withTwo, done)
}

// uploadModel is one run: a writer, and perhaps the one that it has replaced.
type uploadModel struct {
	t      *testing.T
	rnd    *rand.Rand
	store  remote.Storage
	leases upload.Leases
	a      *uploader
	old    *uploader
	taken  page.LSN         // where the new one took over
	pasts  map[uint32]*past // what a writer of each generation has put
	done   map[string]int
}

func newUploadModel(t *testing.T, seed uint64) *uploadModel {
	store := memstore.New()
	m := &uploadModel{t: t, rnd: rand.New(rand.NewPCG(seed, 9)), store: store, leases: upload.Leases{Remote: store}, pasts: map[uint32]*past{}, done: map[string]int{}}
	m.a = newUploader(t, store, m.acquire(), &past{})
	m.pasts[m.a.generation] = m.a.past
	return m
}

func (m *uploadModel) acquire() uint32 {
	g, err := m.leases.Acquire(m.t.Context(), uploadPlace, 0)
	require.NoError(m.t, err)
	return g
}

// excused passes over what remote storage may do to those who need it.
func (m *uploadModel) excused(err error) bool {
	if errors.Is(err, remote.ErrUnavailable) || errors.Is(err, ErrStale) {
		return true
	}
	require.NoError(m.t, err)
	return false
}

// uploadOps are the steps with their weights.
var uploadOps = []struct {
	name   string
	weight int
	do     func(*uploadModel)
}{
	{"put", 8, func(m *uploadModel) { require.NoError(m.t, m.a.put()) }},
	{"flush", 4, func(m *uploadModel) { require.NoError(m.t, m.a.tl.Flush(m.t.Context())) }},
	{"compact", 2, func(m *uploadModel) { m.excused(m.a.compact()) }},
	{"evict", 2, func(m *uploadModel) { m.a.evict() }},
	{"read", 2, func(m *uploadModel) { m.excused(m.a.trySame(m.somewhere(m.a))) }},
	{"wait", 1, func(m *uploadModel) {
		m.a.faults.Set()
		m.a.settle()
	}},
	{"time", 2, func(m *uploadModel) { time.Sleep(time.Duration(m.rnd.IntN(3)) * testDelay) }},
	{"faults", 1, func(m *uploadModel) {
		m.a.faults.Set(&faultstore.Fault{Chance: m.rnd.Float64() / 2}, &faultstore.Fault{Chance: m.rnd.Float64() / 2, Effect: faultstore.LostReply})
	}},
	{"dying", 1, func(m *uploadModel) { // the remote hears no more of it from some call on
		m.a.faults.Set(&faultstore.Fault{Nth: 1 + m.rnd.IntN(20), Sticky: true}, &faultstore.Fault{Chance: 0.2, Effect: faultstore.LostReply})
	}},
	{"sound", 3, func(m *uploadModel) { m.a.faults.Set() }},
	{"restart", 1, (*uploadModel).restart},
	{"attach", 1, (*uploadModel).attach},
	{"stale", 2, (*uploadModel).staleWorks},
}

func (m *uploadModel) somewhere(u *uploader) page.LSN {
	return readFirst + page.LSN(m.rnd.Int64N(int64(u.past.last-readFirst)/8+1))*8
}

func (m *uploadModel) restart() {
	durable := m.a.tl.DiskConsistentLSN()
	m.a.kill()
	m.a.past.cut(durable)
	m.a.generation = m.acquire()
	m.pasts[m.a.generation] = m.a.past
	require.NoError(m.t, m.a.start())
	m.a.same(durable)
}

// attach makes a new writer of the remote alone. The old one goes on, and does not know. One that has never come to upload an index has
// reported nothing, and what is gone on with is what there was before it.
func (m *uploadModel) attach() {
	m.endOld()
	m.old = m.a
	reported := m.old.tl.RemoteConsistentLSN()
	m.a = newUploader(m.t, m.store, m.acquire(), &past{})
	if m.a.from != 0 {
		m.a.past = m.pasts[m.a.from].clone()
	}
	m.pasts[m.a.generation] = m.a.past
	m.taken = m.a.tl.DiskConsistentLSN()
	require.GreaterOrEqual(m.t, m.taken, reported)
	m.a.past.cut(m.taken)
	m.a.sameAll(m.taken)
}

func (m *uploadModel) staleWorks() {
	if m.old == nil {
		m.done["stale"]--
		return
	}
	m.excused(m.old.work())
	m.excused(m.old.trySame(m.somewhere(m.old)))
	require.LessOrEqual(m.t, m.old.tl.RemoteConsistentLSN(), m.taken)
}

func (m *uploadModel) endOld() {
	if m.old != nil {
		m.old.kill()
		m.old = nil
	}
}

func (m *uploadModel) run(steps int) {
	var lot []int
	for i, op := range uploadOps {
		lot = append(lot, slices.Repeat([]int{i}, op.weight)...)
	}
	for range steps {
		op := &uploadOps[lot[m.rnd.IntN(len(lot))]]
		m.done[op.name]++
		op.do(m)
	}
	m.endOld()
	a := m.a
	a.faults.Set()
	a.settle()
	a.past.cut(a.tl.DiskConsistentLSN())
	a.sameAll(a.past.last)
	a.close()
	// What stale ones left goes with the next start.
	a.generation = m.acquire()
	require.NoError(m.t, a.start())
	a.settle()
	requireNoLeak(m.t, m.store, a.generation)
	a.close()
}
