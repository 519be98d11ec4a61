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
	reads   []sample
	every   int // of the times at which reads are tried, this one each is drawn; a power of two
	tried   int // such times
	readAt  time.Duration
	passed  bool // the reads of readAt are not drawn
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

// sample is some of the reads tried at one time, drawn where they looked.
type sample struct {
	event int // the newest before
	reads []Read
}

// Read is a key that was read at an LSN.
type Read struct {
	Key uint32
	LSN page.LSN
}

// NewRecorder makes a recorder.
func NewRecorder() *Recorder { return &Recorder{index: make(map[*mock.Layer]int), every: 1} }

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

const (
	// shownReads is how many of the reads of one time are drawn.
	shownReads = 12
	// maxSamples is how many times of the run have their reads drawn; of more, each second one is forgotten.
	maxSamples = 512
)

func (r *Recorder) mark(at time.Duration, m sim.Mark) {
	switch {
	case m.Kind == "read":
		r.read(at, Read{m.Key, m.LSN})
	case len(r.events) < MaxEvents:
		r.events = append(r.events, event{at: at, what: m.Kind, layer: -1, lsn: m.LSN})
	}
}

// read notes a read. Those of one time come one after the other.
func (r *Recorder) read(at time.Duration, x Read) {
	if r.tried == 0 || r.readAt != at {
		r.readAt, r.tried = at, r.tried+1
		if len(r.reads) == maxSamples {
			for i := range maxSamples / 2 {
				r.reads[i] = r.reads[2*i]
			}
			r.reads, r.every = r.reads[:maxSamples/2], 2*r.every
		}
		if r.passed = (r.tried-1)%r.every != 0; !r.passed {
			r.reads = append(r.reads, sample{event: len(r.events)})
		}
	}
	if r.passed {
		return
	}
	if s := &r.reads[len(r.reads)-1]; len(s.reads) < shownReads {
		s.reads = append(s.reads, x)
	}
}

// Events is how many events there are.
func (r *Recorder) Events() int { return len(r.events) }

// State is what is there after some events.
type State struct {
	Live     []int // indexes of layers, in the order in which they were made
	Cutoff   page.LSN
	Branches []page.LSN
	Reads    []Read // some of those tried last
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
	for _, x := range r.reads {
		if x.event <= n {
			s.Reads = x.reads
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
