package simulator

import (
	"context"
	"fmt"
	"time"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/simulator/mock"
	"github.com/stratapg/strata/simulator/stats"
	"github.com/stratapg/strata/simulator/trace"
	"github.com/stratapg/strata/simulator/workload"
)

// Observer is told what happens; any of its functions may be nil. It must not change what it is given.
type Observer struct {
	// Layer is told of layers made and removed.
	Layer func(at time.Duration, c mock.Change)
	// Mark is told of what else pictures show.
	Mark func(at time.Duration, m Mark)
	// Plan is told of what each plan is made of.
	Plan func(s *compaction.Snapshot)
	// Progress is told from time to time how much of the WAL has been taken in.
	Progress func(done, total int64)
}

// Mark is an event that is no layer's.
type Mark struct {
	Kind string // branch, drop branch, cutoff, restart, read
	LSN  page.LSN
	Key  uint32 // of a read
}

// run is a run under way.
type run struct {
	cfg      *Config
	chains   bool // a bound on records is to be kept
	strategy compaction.Strategy
	watch    Observer
	ended    func() error // that of the context
	t        *mock.Timeline
	first    []int // of each Region of cfg, its first region in the space; and their number
	rand     *workload.Rand

	now      time.Duration
	events   schedule
	compact  compactor
	measure  *meter
	expected int64 // bytes of WAL
}

// noBound on records is one that nothing reaches, a flush or a merge neither.
const noBound = 1 << 30

// Run does one run. A checker that fails is an error; the result says how far it came.
func Run(ctx context.Context, cfg Config, s compaction.Strategy, watch Observer) (*stats.Result, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	chains := cfg.Options.MaxRecords != 0 // else planners are not told of records, and keep no bound on them
	if cfg.Options = cfg.Options.WithDefaults(); !chains {
		cfg.Options.MaxRecords = noBound
	}
	r := &run{cfg: &cfg, chains: chains, strategy: s, watch: watch, ended: ctx.Err, rand: workload.NewRand(cfg.Seed, "run")}
	if err := r.begin(); err != nil {
		return nil, err
	}
	err := r.play()
	if err == nil {
		err = r.settle()
	}
	if err == nil {
		err = r.checkAll()
	}
	if err != nil {
		err = fmt.Errorf("scenario %s, strategy %s, seed %d, after %d records: %w", cfg.Name, s.Name(), cfg.Seed, r.t.Records(), err)
	}
	return r.measure.result(err), err
}

// begin makes the timeline.
func (r *run) begin() error {
	space, first, err := r.cfg.space()
	if err != nil {
		return fmt.Errorf("scenario %s: %w", r.cfg.Name, err)
	}
	r.first = first
	_, bounded := r.strategy.(compaction.Flusher)
	r.measure = newMeter(r)
	r.t, err = mock.New(space, mock.Options{
		Compaction: r.cfg.Options, Start: startLSN, Preload: r.cfg.Preload, Records: int(r.cfg.Records()), Count: !r.cfg.Checks.Off,
		Chains: bounded && r.chains, Watch: r.measure.layer,
	})
	if err != nil {
		return err
	}
	var planned time.Duration
	r.expected, planned = r.cfg.expectation()
	r.measure.split()
	r.compact.pace = fullPace
	r.events = newSchedule(r.cfg, planned, r.expected)
	return nil
}

// play goes through the phases.
func (r *run) play() error {
	for i := range r.cfg.Phases {
		p := &r.cfg.Phases[i]
		for round := range max(p.Repeat, 1) {
			if err := r.phase(p); err != nil {
				return fmt.Errorf("phase %d %s, round %d: %w", i, p.Name, round, err)
			}
		}
	}
	return nil
}

func (r *run) phase(p *Phase) error {
	for _, z := range p.Resize {
		if z.Region < 0 || z.Region >= len(r.cfg.Regions) {
			return fmt.Errorf("there is no region %d", z.Region)
		}
		for i := r.first[z.Region]; i < r.first[z.Region+1]; i++ {
			if err := r.t.Resize(i, z.Blocks); err != nil {
				return err
			}
		}
	}
	if p.Records > 0 {
		if err := r.ingest(p); err != nil {
			return err
		}
	}
	return r.pass(r.now + time.Duration(p.Idle))
}

// keys translates regions of the configuration into those of the space.
func (r *run) keys(k workload.Keys) (workload.Keys, error) {
	n := max(k.Count, 1)
	if k.First < 0 || k.First+n >= len(r.first) {
		return k, fmt.Errorf("keys of regions %d to %d of %d", k.First, k.First+n, len(r.first)-1)
	}
	k.Count = r.first[k.First+n] - r.first[k.First]
	k.First = r.first[k.First]
	return k, nil
}

// batch is how many records are made at a time.
const batch = 512

// ingest takes in a phase's records.
func (r *run) ingest(p *Phase) error {
	src, err := r.source(p)
	if err != nil {
		return err
	}
	mean := max(r.cfg.bytes(p)/max(p.Records, 1), 1)
	buf := make([]mock.Record, batch)
	var made []mock.Record     // that have not been taken in: the pace changed
	waited := time.Duration(0) // for a record that takes longer than there is until the next event
	for left := p.Records; left > 0; {
		next := r.next()
		n := int64(0)
		if r.compact.pace > 0 {
			rate := max(p.Rate*r.compact.pace/fullPace, 1)
			n = min(left, batch, int64(next-r.now+waited)/max(mean*int64(time.Second)/rate, 1))
			if n == 0 {
				waited += next - r.now
			}
		}
		if n == 0 {
			if err := r.wait(next); err != nil {
				return err
			}
			continue
		}
		waited = 0
		if len(made) == 0 {
			made = buf[:n]
			src.Fill(made)
		}
		took, err := r.put(made[:min(int(n), len(made))], p.Rate)
		if err != nil {
			return err
		}
		made = made[took:]
		left -= int64(took)
	}
	return nil
}

// source gives what makes a phase's records.
func (r *run) source(p *Phase) (interface{ Fill([]mock.Record) }, error) {
	if t := r.cfg.Trace; t != nil {
		return &replay{t.Records, r.t.Space()}, nil
	}
	streams := append([]workload.Stream(nil), p.Streams...)
	for i := range streams {
		k, err := r.keys(streams[i].Keys)
		if err != nil {
			return nil, err
		}
		streams[i].Keys = k
	}
	return workload.NewSource(r.t, streams, r.rand)
}

// replay gives the records of a trace, one after the other.
type replay struct {
	left  []trace.Record
	space *mock.Space
}

// Fill takes as many records as there is room for.
func (p *replay) Fill(rs []mock.Record) {
	for i := range rs {
		t := p.left[i]
		rs[i] = mock.Record{Key: p.space.Start(int(t.Region)) + t.Place, Size: t.Size, Init: t.Init}
	}
	p.left = p.left[len(rs):]
}

// wait lets the next event happen; where ingest has to wait for compaction its time is a stall.
func (r *run) wait(next time.Duration) error {
	if r.compact.pace == 0 {
		r.measure.stall += next - r.now
	}
	return r.happen(next)
}

// put takes in records at a rate until memory is full, which is flushed then, and says how many.
func (r *run) put(rs []mock.Record, rate int64) (int, error) {
	r.events.still = 0
	from := r.t.Last()
	n, full := r.t.Put(rs)
	plain := int64(r.t.Last()-from) * int64(time.Second) / rate
	slow := plain * fullPace / r.compact.pace
	r.measure.stall += time.Duration(slow - plain)
	r.now += time.Duration(slow)
	if full {
		if err := r.flush(); err != nil {
			return n, err
		}
	}
	return n, r.reached(r.t.Last() - startLSN)
}

// flush writes memory out, and compaction looks at it.
func (r *run) flush() error {
	r.t.SetNow(r.now)
	if err := r.t.Flush(r.strategy); err != nil {
		return err
	}
	r.events.flushed(r.now, r.cfg)
	r.compact.stale = true
	return r.advance()
}

// settle flushes the rest and lets compaction and garbage collection come to their end.
func (r *run) settle() error {
	r.measure.ended = r.now
	if err := r.flush(); err != nil {
		return err
	}
	for {
		for r.compact.running != nil {
			r.now = max(r.now, r.compact.due)
			if err := r.step(); err != nil {
				return err
			}
		}
		if r.cfg.GCPeriod == 0 {
			break
		}
		if n, err := r.collect(); err != nil || n == 0 && r.compact.running == nil {
			return err
		}
	}
	return nil
}
