package virtualfile

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
)

// engines are those that a Disk has had. The current one gets the transfers that begin now; the others end theirs, and may be
// taken again, until the Disk is closed.
type engines struct {
	current atomic.Pointer[engineBox]

	mu   sync.Mutex
	made []*engineBox
}

// engineBox is an engine, which atomics cannot hold.
type engineBox struct{ engine }

func (s *engines) add(e engine) {
	b := &engineBox{e}
	s.made = append(s.made, b)
	s.current.Store(b)
}

// get gives the current engine.
func (s *engines) get() engine { return s.current.Load().engine }

func (s *engines) close() (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.made {
		err = errors.Join(err, b.close())
	}
	return err
}

// SetEngine changes how transfers that begin from now on reach the kernel; those under way go on as they began. Where io_uring
// is not to be had it is an error, and nothing changes.
func (d *Disk) SetEngine(k EngineKind) error {
	if k != EngineStd && k != EngineURing {
		return fmt.Errorf("virtualfile: engine %s: std and uring are to be chosen from", k)
	}
	if !d.gate.enter() {
		return ErrClosed
	}
	defer d.gate.leave()
	s := &d.engines
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.made {
		if b.kind() == k {
			s.current.Store(b)
			return nil
		}
	}
	if k == EngineStd {
		s.add(newStdEngine())
		return nil
	}
	e, err := openURing(d.o.Logger)
	if err != nil {
		return fmt.Errorf("virtualfile: engine uring: %w", err)
	}
	s.add(e)
	return nil
}
