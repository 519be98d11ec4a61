// Package schedule decides in which order a timeline's objects go to remote storage, and does nothing else: no I/O, no
// clock, no goroutine. Whoever executes asks Next what may begin, and tells Done what has ended.
//
// What it keeps:
//   - an index begins only when every layer that it names has been uploaded, and never beside another index;
//   - a delete begins only when the last index before it is up, or a later one, and no upload of the layer runs;
//   - a layer that was forgotten before its upload began is not uploaded, and no index that names it is;
//   - of several indexes that may begin the newest does, and those before it are not needed any more;
//   - uploads of layers begin in the order in which they came, and run beside each other up to a limit.
//
// Layers overtake indexes, and indexes wait for no layer that came after them. What each index holds is the caller's
// to know: a version is the place of a call of Index among all calls.
//
// Every call costs O(log n) of what is scheduled, most of them O(1) on average. A Schedule belongs to one goroutine at a time.
package schedule

import (
	"errors"
	"fmt"
	"slices"
	"sort"
)

// Kind is that of an operation.
type Kind uint8

// The kinds.
const (
	Layer Kind = iota
	Index
	Delete
)

// String names the kind.
func (k Kind) String() string { return [...]string{"layer", "index", "delete"}[k] }

// Op is something that may begin.
type Op struct {
	Kind Kind
	// Names are those of one layer, or of the layers that a delete is of.
	Names []string
	// Version is that of an index: it holds all that was scheduled before.
	Version uint64
}

// ErrTaken says that a layer's name is still in use: its upload or its delete has not ended.
var ErrTaken = errors.New("a layer of that name is being uploaded or deleted")

// MaxDelete is how many layers one delete is of.
const MaxDelete = 1000

// state of an upload.
type state uint8

const (
	queued state = iota
	running
	ended // done, or dropped
)

// upload is that of one layer.
type upload struct {
	name      string
	at        uint64 // when it was scheduled
	state     state
	forgotten bool
	removeAt  uint64 // when Delete was called while it ran; 0 if it was not
}

// remove is a delete that waits.
type remove struct {
	name  string
	at    uint64
	after uint64 // the index that must be up
}

// Schedule is what waits and what runs.
type Schedule struct {
	limit int
	now   uint64 // counts calls
	// names are uploads that have not ended, and leaving are the names with a delete that has not.
	names   map[string]*upload
	leaving map[string]bool

	todo  fifo[*upload] // not begun; dropped ones stay until they come to the front
	alive fifo[*upload] // what the next index names and is not up, oldest first; likewise
	order fifo[*upload] // not ended; likewise
	busy  int

	// indexes are the versions that may yet be uploaded, ascending.
	indexes    []uint64
	wanted     uint64 // the last call of Index
	forgotAt   uint64 // the last call of Forget
	up         uint64 // the version of the last index that is up
	indexing   bool
	removes    fifo[remove]
	ready      []remove // may go, in the order of at
	deleting   bool
	deletingAt uint64 // the oldest of those that run
	stuck      int    // deletes that wait for an upload of theirs to end

	barriers fifo[barrier]
}

// barrier is a mark in the order of calls.
type barrier struct{ at, index uint64 }

// New gives an empty schedule that lets so many uploads of layers run at once.
func New(limit int) *Schedule {
	return &Schedule{limit: max(limit, 1), names: map[string]*upload{}, leaving: map[string]bool{}}
}

// Layer schedules the upload of a layer. All indexes from the next on name it.
func (s *Schedule) Layer(name string) error {
	if s.names[name] != nil || s.leaving[name] {
		return fmt.Errorf("%w: %s", ErrTaken, name)
	}
	s.now++
	u := &upload{name: name, at: s.now}
	s.names[name] = u
	s.todo.push(u)
	s.alive.push(u)
	s.order.push(u)
	return nil
}

// Forget says that indexes from the next on do not name a layer. It reports whether the upload was dropped.
func (s *Schedule) Forget(name string) (dropped bool) {
	s.now++
	s.forgotAt = s.now
	u := s.names[name]
	if u == nil || u.forgotten {
		return false
	}
	u.forgotten = true
	// Indexes that name it will not be: their layers are never all there.
	for n := len(s.indexes); n > 0 && s.indexes[n-1] > u.at; n-- {
		s.indexes = s.indexes[:n-1]
	}
	if u.state != queued {
		return false
	}
	u.state = ended
	delete(s.names, name)
	return true
}

// Index schedules an index of all that was scheduled before, and gives its version.
func (s *Schedule) Index() uint64 {
	s.now++
	s.wanted = s.now
	s.indexes = append(s.indexes, s.now)
	return s.now
}

// Delete schedules the delete of a layer that the last index does not name; twice is once.
func (s *Schedule) Delete(name string) {
	if s.leaving[name] {
		return
	}
	s.now++
	s.leaving[name] = true
	s.removes.push(remove{name, s.now, max(s.forgotAt, s.wanted)})
}

// Barrier gives a mark; Passed says whether all that was scheduled before it has ended.
func (s *Schedule) Barrier() (mark uint64) {
	s.now++
	s.barriers.push(barrier{s.now, s.wanted})
	return s.now
}

// Passed gives the last mark of which all that came before has ended, 0 if there is none.
func (s *Schedule) Passed() (mark uint64) {
	for s.barriers.len() > 0 && s.isPassed(s.barriers.front()) {
		mark = s.barriers.pop().at
	}
	return mark
}

func (s *Schedule) isPassed(b barrier) bool {
	s.order.trim(func(u *upload) bool { return u.state == ended })
	before := func(at uint64) bool { return at < b.at }
	return s.up >= b.index &&
		(s.order.len() == 0 || !before(s.order.front().at)) &&
		(s.removes.len() == 0 || !before(s.removes.front().at)) &&
		s.stuck == 0 && // rare and short: one of them may be newer
		(len(s.ready) == 0 || !before(s.ready[0].at)) &&
		(!s.deleting || !before(s.deletingAt))
}

// Next gives an operation that may begin, and takes it as begun.
func (s *Schedule) Next() (Op, bool) {
	if op, ok := s.nextIndex(); ok {
		return op, true
	}
	if op, ok := s.nextDelete(); ok {
		return op, true
	}
	return s.nextLayer()
}

func (s *Schedule) nextIndex() (Op, bool) {
	if s.indexing || len(s.indexes) == 0 {
		return Op{}, false
	}
	s.alive.trim(func(u *upload) bool { return u.state == ended || u.forgotten })
	n := len(s.indexes)
	if s.alive.len() > 0 {
		first := s.alive.front().at
		n = sort.Search(n, func(i int) bool { return s.indexes[i] > first })
	}
	if n == 0 {
		return Op{}, false
	}
	s.indexing = true
	op := Op{Kind: Index, Version: s.indexes[n-1]}
	s.indexes = s.indexes[n:]
	return op, true
}

func (s *Schedule) nextDelete() (Op, bool) {
	for s.removes.len() > 0 && s.removes.front().after <= s.up {
		r := s.removes.pop()
		if u := s.names[r.name]; u != nil {
			u.removeAt = r.at
			s.stuck++
			continue
		}
		s.ready = append(s.ready, r)
	}
	if s.deleting || len(s.ready) == 0 {
		return Op{}, false
	}
	n := min(len(s.ready), MaxDelete)
	op := Op{Kind: Delete, Names: make([]string, n)}
	for i, r := range s.ready[:n] {
		op.Names[i] = r.name
	}
	s.deleting, s.deletingAt = true, s.ready[0].at
	s.ready = s.ready[n:]
	return op, true
}

func (s *Schedule) nextLayer() (Op, bool) {
	s.todo.trim(func(u *upload) bool { return u.state != queued })
	if s.busy == s.limit || s.todo.len() == 0 {
		return Op{}, false
	}
	u := s.todo.pop()
	u.state = running
	s.busy++
	return Op{Kind: Layer, Names: []string{u.name}}, true
}

// Done says that an operation that Next gave has ended well. One that has not stays begun: it is for the caller to try again.
func (s *Schedule) Done(op Op) {
	switch op.Kind {
	case Layer:
		u := s.names[op.Names[0]]
		u.state = ended
		delete(s.names, u.name)
		s.busy--
		if u.removeAt > 0 {
			s.stuck--
			i := sort.Search(len(s.ready), func(i int) bool { return s.ready[i].at > u.removeAt })
			s.ready = slices.Insert(s.ready, i, remove{u.name, u.removeAt, 0})
		}
	case Index:
		s.indexing, s.up = false, op.Version
	case Delete:
		s.deleting = false
		for _, name := range op.Names {
			delete(s.leaving, name)
		}
	}
}

// Debt is what has not ended.
type Debt struct {
	// Layers wait for their upload or are in it; Running is how many of them are.
	Layers, Running int
	// Index says that the last index is not up.
	Index bool
	// Deletes have not ended.
	Deletes int
}

// Idle reports whether there is none.
func (d Debt) Idle() bool { return d == Debt{} }

// Debt gives what has not ended.
func (s *Schedule) Debt() Debt {
	return Debt{Layers: len(s.names), Running: s.busy, Index: s.up < s.wanted, Deletes: len(s.leaving)}
}

// Now is the place of the last call.
func (s *Schedule) Now() uint64 { return s.now }

// Up is the version of the index that was uploaded last.
func (s *Schedule) Up() uint64 { return s.up }
