package workload

import (
	"errors"
	"fmt"
	"slices"

	"github.com/stratapg/strata/simulator/mock"
)

// Keys says how keys are chosen.
type Keys struct {
	// Kind is uniform, hot-cold, zipf, append or cycle (one key after the other, round and round).
	Kind string `json:"kind"`
	// First and Count are the regions that keys are of: Count of them from First on; 0 is one.
	First int `json:"first,omitempty"`
	Count int `json:"count,omitempty"`
	// Limit, if not 0, leaves only that many keys from the first on.
	Limit uint32 `json:"limit,omitempty"`
	// HotKeys of 1000 keys, the first ones, get HotRecords of 1000 records: of hot-cold.
	HotKeys    int `json:"hot_keys,omitempty"`
	HotRecords int `json:"hot_records,omitempty"`
	// Theta is the exponent of zipf, in thousandths. Sorted keeps the most popular keys together.
	Theta  int  `json:"theta,omitempty"`
	Sorted bool `json:"sorted,omitempty"`
	// PerBlock is how many records each new block gets: of append.
	PerBlock int `json:"per_block,omitempty"`
}

// Stream is one kind of records.
type Stream struct {
	// Weight is how often records of this stream come, beside the others of its phase; 0 is 1.
	Weight int  `json:"weight,omitempty"`
	Keys   Keys `json:"keys"`
	// Size is the bytes of a record; if SizeMax is more, of Size to SizeMax.
	Size    uint32 `json:"size"`
	SizeMax uint32 `json:"size_max,omitempty"`
	// Full of 1000 records are full pages, of FullSize bytes.
	Full     int    `json:"full,omitempty"`
	FullSize uint32 `json:"full_size,omitempty"`
}

// MeanSize is the expected bytes of a record.
func (s *Stream) MeanSize() int64 {
	plain := int64(s.Size)
	if s.SizeMax > s.Size {
		plain = int64(s.Size+s.SizeMax) / 2
	}
	return (plain*int64(1000-s.Full) + int64(s.FullSize)*int64(s.Full)) / 1000
}

// Source draws records of several streams.
type Source struct {
	rand    *Rand
	streams []*state
	total   uint64
}

type state struct {
	Stream
	choose chooser
}

// chooser gives the number of the next key.
type chooser interface{ next(r *Rand) uint32 }

// NewSource makes a source of streams over the keys that exist now.
func NewSource(t *mock.Timeline, streams []Stream, r *Rand) (*Source, error) {
	s := &Source{rand: r}
	for i, st := range streams {
		if st.Size == 0 {
			return nil, fmt.Errorf("stream %d: records of no bytes", i)
		}
		c, err := newChooser(t, st.Keys)
		if err != nil {
			return nil, fmt.Errorf("stream %d: %w", i, err)
		}
		st.Weight = max(st.Weight, 1)
		s.total += uint64(st.Weight)
		s.streams = append(s.streams, &state{st, c})
	}
	if len(streams) == 0 {
		return nil, fmt.Errorf("no stream of records")
	}
	return s, nil
}

// NewKeys makes a chooser of keys alone, for reads.
func NewKeys(t *mock.Timeline, k Keys) (func(*Rand) uint32, error) {
	if k.Kind == "append" {
		return nil, fmt.Errorf("reads cannot choose keys as append does")
	}
	c, err := newChooser(t, k)
	if err != nil {
		return nil, err
	}
	return c.next, nil
}

// Fill draws records for all of rs.
func (s *Source) Fill(rs []mock.Record) {
	if len(s.streams) == 1 {
		s.streams[0].fill(rs, s.rand)
		return
	}
	for i := range rs {
		x := s.rand.Below(s.total)
		for _, st := range s.streams {
			if x < uint64(st.Weight) {
				st.fill(rs[i:i+1], s.rand)
				break
			}
			x -= uint64(st.Weight)
		}
	}
}

func (s *state) fill(rs []mock.Record, r *Rand) {
	if u, ok := s.choose.(*uniform); ok && s.Full == 0 && s.SizeMax == 0 {
		for i := range rs {
			rs[i] = mock.Record{Key: u.next(r), Size: s.Size}
		}
		return
	}
	for i := range rs {
		rs[i] = mock.Record{Key: s.choose.next(r), Size: s.Size}
		switch {
		case s.Full > 0 && r.Permille(s.Full):
			rs[i].Size, rs[i].Init = s.FullSize, true
		case s.SizeMax > s.Size:
			rs[i].Size += uint32(r.Below(uint64(s.SizeMax - s.Size + 1)))
		}
	}
}

// ErrNoKeys says that there is no key yet, or any more, to choose.
var ErrNoKeys = errors.New("no key")

// newChooser looks at the lengths that regions have now.
func newChooser(t *mock.Timeline, k Keys) (chooser, error) {
	count := max(k.Count, 1)
	if k.First < 0 || k.First+count > t.Space().Regions() {
		return nil, fmt.Errorf("regions %d to %d of %d", k.First, k.First+count, t.Space().Regions())
	}
	if k.Kind == "append" {
		return &appender{t: t, region: k.First, perBlock: max(k.PerBlock, 1)}, nil
	}
	var m numbers
	for i := k.First; i < k.First+count; i++ {
		if n := t.Space().Written(i); n > 0 {
			m.add(t.Space().Start(i), n)
		}
	}
	n := m.total
	if k.Limit > 0 {
		n = min(n, uint64(k.Limit))
	}
	if n == 0 {
		return nil, fmt.Errorf("%w in regions %d to %d", ErrNoKeys, k.First, k.First+count)
	}
	switch k.Kind {
	case "uniform":
		if len(m.starts) == 1 {
			return &uniform{m.starts[0], n}, nil
		}
		return &many{m, func(r *Rand) uint64 { return r.Below(n) }}, nil
	case "hot-cold":
		hot := n * uint64(k.HotKeys) / permilleOne
		return &many{m, func(r *Rand) uint64 {
			if r.Permille(k.HotRecords) {
				return r.Below(hot)
			}
			return hot + r.Below(n-hot)
		}}, nil
	case "zipf":
		return &many{m, newZipf(n, k.Theta, !k.Sorted).next}, nil
	case "cycle":
		at := n - 1
		return &many{m, func(*Rand) uint64 { at = (at + 1) % n; return at }}, nil
	}
	return nil, fmt.Errorf("no distribution of keys is called %q: there are uniform, hot-cold, zipf, append and cycle", k.Kind)
}

// numbers maps 0, 1, 2, ... to the numbers of keys of several regions.
type numbers struct {
	starts []uint32
	before []uint64
	total  uint64
}

func (m *numbers) add(start, n uint32) {
	m.starts, m.before = append(m.starts, start), append(m.before, m.total)
	m.total += uint64(n)
}

func (m *numbers) at(i uint64) uint32 {
	if len(m.starts) == 1 {
		return m.starts[0] + uint32(i)
	}
	j, found := slices.BinarySearch(m.before, i)
	if !found {
		j--
	}
	return m.starts[j] + uint32(i-m.before[j])
}

// uniform chooses of one region, each key as often.
type uniform struct {
	start uint32
	n     uint64
}

func (u *uniform) next(r *Rand) uint32 { return u.start + uint32(r.Below(u.n)) }

// many chooses among several regions.
type many struct {
	m    numbers
	draw func(*Rand) uint64
}

func (m *many) next(r *Rand) uint32 { return m.m.at(m.draw(r)) }

// appender grows a region block by block.
type appender struct {
	t        *mock.Timeline
	region   int
	perBlock int
	given    int // records of the last block
	begun    bool
}

func (a *appender) next(*Rand) uint32 {
	n := a.t.Space().Blocks(a.region)
	if !a.begun || a.given == a.perBlock {
		if a.t.Resize(a.region, n+1) == nil {
			n++
		} else {
			n = min(1, n) // the region is full: begin again at the front
		}
		a.begun, a.given = true, 0
	}
	a.given++
	return a.t.Space().Start(a.region) + n - 1
}
