package draw

import (
	"time"

	"github.com/stratapg/strata/page"
	sim "github.com/stratapg/strata/simulator"
	"github.com/stratapg/strata/simulator/mock"
)

// MaxEvents is how many events a Recorder keeps; what follows is counted only.
const MaxEvents = 20_000

// Recorder notes what happens in a run.
type Recorder struct {
	layers  []Layer
	index   map[*mock.Layer]int
	events  []event
	reads   []read
	dropped int
	keys    uint32
}

// Layer is a layer as it is drawn.
type Layer struct {
	Name   string   `json:"n"`
	Kind   string   `json:"k"` // flush, import or the kind of job
	Image  bool     `json:"i,omitempty"`
	L0     bool     `json:"z,omitempty"`
	Lo     uint32   `json:"a"` // keys by number
	Hi     uint32   `json:"b"`
	From   page.LSN `json:"f"`
	To     page.LSN `json:"t"`
	Level  int      `json:"l,omitempty"`
	Job    int      `json:"j,omitempty"`
	Size   int64    `json:"s"`
	Reason string   `json:"r"`
}

// event is one step: a layer comes or goes, or a mark moves.
type event struct {
	at    time.Duration
	what  string // made, gone, or the kind of a mark
	layer int
	lsn   page.LSN
}

// read is a sampled read, drawn where it looked.
type read struct {
	event int
	key   uint32
	lsn   page.LSN
}

// NewRecorder makes a recorder.
func NewRecorder() *Recorder { return &Recorder{index: make(map[*mock.Layer]int)} }

// Observer gives what Run is to tell.
func (r *Recorder) Observer() sim.Observer { return sim.Observer{Layer: r.layer, Mark: r.mark} }

func (r *Recorder) layer(at time.Duration, c mock.Change) {
	if len(r.events) >= MaxEvents {
		r.dropped++
		return
	}
	if c.Deleted {
		if i, ok := r.index[c.Layer]; ok {
			r.events = append(r.events, event{at: at, what: "gone", layer: i})
			delete(r.index, c.Layer)
		}
		return
	}
	l := c.Layer
	lo, hi := l.Numbers()
	r.keys = max(r.keys, hi)
	r.index[l] = len(r.layers)
	r.layers = append(r.layers, Layer{
		Name: l.ID.String(), Kind: c.Kind, Image: l.Image, L0: l.L0(), Lo: lo, Hi: hi, From: l.LSNs.Start, To: l.LSNs.End,
		Level: l.Level, Job: l.Job, Size: l.Size, Reason: l.Reason,
	})
	r.events = append(r.events, event{at: at, what: "made", layer: len(r.layers) - 1})
}

// maxReads is how many reads are drawn.
const maxReads = 4000

func (r *Recorder) mark(at time.Duration, m sim.Mark) {
	switch {
	case m.Kind == "read":
		if len(r.reads) < maxReads && m.Key%16 == 0 {
			r.reads = append(r.reads, read{len(r.events), m.Key, m.LSN})
		}
	case len(r.events) < MaxEvents:
		r.events = append(r.events, event{at: at, what: m.Kind, layer: -1, lsn: m.LSN})
	}
}

// Events is how many events there are.
func (r *Recorder) Events() int { return len(r.events) }

// State is what is there after some events.
type State struct {
	Live     []int // indexes of layers, in the order in which they were made
	Cutoff   page.LSN
	Branches []page.LSN
}

// At gives the state after the first n events.
func (r *Recorder) At(n int) State {
	var s State
	live := make([]bool, len(r.layers))
	branches := map[page.LSN]bool{}
	for _, e := range r.events[:min(n, len(r.events))] {
		switch e.what {
		case "made":
			live[e.layer] = true
		case "gone":
			live[e.layer] = false
		case "cutoff":
			s.Cutoff = e.lsn
		case "branch":
			branches[e.lsn] = true
			s.Branches = append(s.Branches, e.lsn)
		case "drop branch":
			branches[e.lsn] = false
		}
	}
	kept := s.Branches[:0]
	for _, b := range s.Branches {
		if branches[b] {
			kept = append(kept, b)
		}
	}
	s.Branches = kept
	for i, l := range live {
		if l {
			s.Live = append(s.Live, i)
		}
	}
	return s
}

// bounds are the highest key and the LSNs of all that is drawn.
func (r *Recorder) bounds() (keys uint32, from, to page.LSN) {
	from = page.MaxLSN
	for i := range r.layers {
		from, to = min(from, r.layers[i].From), max(to, r.layers[i].To)
	}
	if len(r.layers) == 0 {
		return 1, 0, 1
	}
	return max(r.keys, 1), from, to
}

// Title says what is drawn.
type Title struct {
	Scenario, Strategy string
	Seed               uint64
}
