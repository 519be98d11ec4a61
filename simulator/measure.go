package simulator

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash"
	"hash/fnv"
	"time"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/simulator/mock"
	"github.com/stratapg/strata/simulator/stats"
	"github.com/stratapg/strata/simulator/workload"
)

// meter counts what a run costs.
type meter struct {
	r       *run
	begun   time.Time
	rand    *workload.Rand
	digest  hash.Hash64
	stall   time.Duration
	ended   time.Duration // of ingest
	areas   []area
	deltas  stats.Histogram
	layers  stats.Histogram
	records stats.Histogram
	reads   int64
	series  []stats.Point
	cost    stats.PlanCost

	maxDebt   int64
	maxHeight int
	maxLayers int
}

// area is a part of the keys that is measured apart.
type area struct {
	name         string
	lo, hi       uint32
	wal, written int64
	deltas       stats.Histogram
}

func newMeter(r *run) *meter {
	return &meter{r: r, begun: time.Now(), rand: workload.NewRand(r.cfg.Seed, "reads"), digest: fnv.New64a()}
}

// split makes the areas: regions, each in a hot and a cold part where it has one.
func (m *meter) split() {
	r := m.r
	for i, c := range r.cfg.Regions {
		s := r.t.Space()
		lo, hi := s.Start(r.first[i]), s.Keys()
		if next := r.first[i+1]; next < s.Regions() {
			hi = s.Start(next)
		}
		if c.Hot > 0 {
			mid := lo + uint32(int64(hi-lo)*int64(c.Hot)/1000)
			m.areas = append(m.areas, area{name: c.Name + " hot", lo: lo, hi: mid}, area{name: c.Name + " cold", lo: mid, hi: hi})
		} else if len(r.cfg.Regions) > 1 {
			m.areas = append(m.areas, area{name: c.Name, lo: lo, hi: hi})
		}
	}
}

// layer counts a layer made or removed.
func (m *meter) layer(c mock.Change) {
	l := c.Layer
	m.note(c.Kind, l.LSNs.Start)
	m.hashLayer(c)
	if !c.Deleted {
		for i := range m.areas {
			a := &m.areas[i]
			n := m.r.t.BytesBetween(l, a.lo, a.hi)
			if c.Kind == mock.Flush {
				a.wal += n
			}
			if c.Kind != mock.Import {
				a.written += n
			}
		}
	}
	if m.r.watch.Layer != nil {
		m.r.watch.Layer(m.r.now, c)
	}
}

func (m *meter) hashLayer(c mock.Change) {
	l := c.Layer
	b := make([]byte, 0, 2*page.KeySize+40)
	b = l.Keys.End.Append(l.Keys.Start.Append(b))
	b = binary.BigEndian.AppendUint64(b, uint64(l.LSNs.Start))
	b = binary.BigEndian.AppendUint64(b, uint64(l.LSNs.End))
	b = binary.BigEndian.AppendUint64(b, uint64(l.Size))
	b = binary.BigEndian.AppendUint64(b, uint64(l.Entries))
	if c.Deleted {
		b = append(b, 1)
	}
	m.digest.Write(b)
}

// note makes an event part of the run's hash.
func (m *meter) note(kind string, x page.LSN) {
	b := binary.BigEndian.AppendUint64([]byte(kind), uint64(x))
	m.digest.Write(binary.BigEndian.AppendUint64(b, uint64(m.r.now)))
}

// plan asks for a plan and counts what that costs.
func (m *meter) plan(s compaction.Strategy, snap *compaction.Snapshot) compaction.Plan {
	from := time.Now()
	p := s.Plan(snap)
	m.cost.Time += time.Since(from)
	m.cost.Plans++
	m.cost.MaxLayers = max(m.cost.MaxLayers, len(snap.Layers))
	m.cost.Bytes = max(m.cost.Bytes, holds(&p))
	if m.r.watch.Plan != nil {
		m.r.watch.Plan(snap)
	}
	m.maxDebt = max(m.maxDebt, p.Debt.Bytes)
	m.maxHeight = max(m.maxHeight, p.Debt.Height)
	return p
}

// sample tries the reads of one tick and notes the state.
func (m *meter) sample() error {
	r := m.r
	var deltas, records stats.Histogram
	if n := r.cfg.Reads.Number; n > 0 {
		if err := m.tryReads(n, &deltas, &records); err != nil {
			return err
		}
	}
	d, rec := deltas.Spread(), records.Spread()
	p := stats.Point{
		Seconds: r.now.Seconds(), WALMB: int64(r.t.Last()-startLSN) / stats.MB,
		WriteAmp: m.writeAmp(), ReadMean: d.Mean, ReadMax: d.Max, RecordsMax: rec.Max,
		DebtMB: r.compact.debt.Bytes / stats.MB, Height: r.compact.debt.Height, Stall: m.stall.Seconds(),
	}
	count, live := m.count()
	p.L0, p.Deltas, p.Images, p.LiveMB = count.L0, count.Deltas, count.Images, live/stats.MB
	m.maxLayers = max(m.maxLayers, count.L0+count.Deltas+count.Images)
	m.series = append(m.series, p)
	if r.watch.Progress != nil {
		r.watch.Progress(int64(r.t.Last()-startLSN), r.expected)
	}
	return nil
}

// tryReads reads keys chosen as the configuration says.
func (m *meter) tryReads(n int, deltas, records *stats.Histogram) error {
	r := m.r
	k := r.cfg.Reads.Keys
	if k.Kind == "" {
		k = workload.Keys{Kind: "uniform", Count: len(r.cfg.Regions)}
	}
	k, err := r.keys(k)
	if err != nil {
		return err
	}
	choose, err := workload.NewKeys(r.t, k)
	if errors.Is(err, workload.ErrNoKeys) {
		return nil // a table that is to be loaded
	}
	if err != nil {
		return err
	}
	for range n {
		key, at := choose(m.rand), m.readLSN()
		if !r.t.Exists(key, at) {
			continue
		}
		got := r.t.Read(key, at)
		if !r.cfg.Checks.Off {
			if err := r.t.CheckRead(key, at, got); err != nil {
				return err
			}
		}
		m.reads++
		m.deltas.Add(got.Deltas)
		m.layers.Add(got.Layers)
		m.records.Add(got.Records)
		deltas.Add(got.Deltas)
		records.Add(got.Records)
		for i := range m.areas {
			if a := &m.areas[i]; a.lo <= key && key < a.hi {
				a.deltas.Add(got.Deltas)
			}
		}
		if r.watch.Mark != nil {
			r.watch.Mark(r.now, Mark{Kind: "read", LSN: at, Key: key})
		}
	}
	return nil
}

// readLSN chooses where a read looks.
func (m *meter) readLSN() page.LSN {
	t, c := m.r.t, &m.r.cfg.Reads
	if branches := t.Retained(); len(branches) > 0 && m.rand.Permille(c.Branch) {
		return branches[m.rand.Below(uint64(len(branches)))].LSN
	}
	if m.rand.Permille(c.Old) {
		return t.Cutoff() + page.LSN(m.rand.Below(uint64(t.Last()-t.Cutoff()+1)))
	}
	return t.Last()
}

func (m *meter) count() (c stats.Count, bytes int64) {
	for _, l := range m.r.t.Live() {
		switch bytes += l.Size; {
		case l.Image:
			c.Images++
		case l.L0():
			c.L0++
		default:
			c.Deltas++
		}
	}
	return c, bytes
}

func (m *meter) writeAmp() float64 {
	wal := int64(m.r.t.Last() - startLSN)
	if wal == 0 {
		return 0
	}
	return float64(m.r.t.Counts().Created) / float64(wal)
}

// result sums the run up.
func (m *meter) result(failed error) *stats.Result {
	r := m.r
	c := r.t.Counts()
	wal := int64(r.t.Last() - startLSN)
	count, live := m.count()
	res := &stats.Result{
		Scenario: r.cfg.Name, Strategy: r.strategy.Name(), Seed: r.cfg.Seed, Records: r.t.Records(),
		WALMB: wal / stats.MB, CreatedMB: c.Created / stats.MB, DeletedMB: c.Deleted / stats.MB,
		FilesCreated: c.Files, FilesDeleted: c.FilesDeleted, WriteAmp: m.writeAmp(),
		Reads: m.reads, ReadDeltas: m.deltas.Spread(), ReadLayers: m.layers.Spread(), ReadRecords: m.records.Spread(),
		Written: c.By, StallSeconds: m.stall.Seconds(), SimSeconds: m.ended.Seconds(),
		MaxDebtBytes: m.maxDebt, MaxHeight: m.maxHeight, Jobs: r.compact.jobs, Layers: count, MaxLayers: m.maxLayers,
		Plan: m.cost, Series: m.series, Hash: hex.EncodeToString(m.digest.Sum(nil)),
	}
	if wal > 0 {
		res.StorageAmp = float64(c.Created-c.Deleted) / float64(wal)
	}
	if pages := r.t.Space().Bytes(r.t.Last()); pages > 0 {
		res.SpaceAmp = float64(live) / float64(pages)
	}
	res.ReadAmpMean, res.ReadAmpP99, res.ReadAmpMax = res.ReadDeltas.Mean, res.ReadDeltas.P99, res.ReadDeltas.Max
	res.RecordsP99 = res.ReadRecords.P99
	for i := range m.areas {
		a := &m.areas[i]
		out := stats.Area{Name: a.name, WALMB: a.wal / stats.MB, WrittenMB: a.written / stats.MB, Deltas: a.deltas.Spread()}
		if a.wal > 0 {
			out.WriteAmp = float64(a.written) / float64(a.wal)
		}
		res.Areas = append(res.Areas, out)
	}
	if failed != nil {
		res.Error = failed.Error()
	}
	res.Seconds = time.Since(m.begun).Seconds()
	return res
}
