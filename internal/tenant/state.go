package tenant

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stratapg/strata/internal/timeline"
	"github.com/stratapg/strata/page"
)

// State is that of a timeline, or of a tenant.
type State uint8

// States. A tenant is Attaching, Active, Stopping, Deleting or Broken.
const (
	// Active can be used.
	Active State = iota
	// Attaching is being made of what remote storage has.
	Attaching
	// Creating is being made, or imported.
	Creating
	// Stopping is on its way to be closed, detached or offloaded.
	Stopping
	// Deleting is on its way out for good; what stopped that is in the reason.
	Deleting
	// Broken could not be opened; the reason says why. All others are as they were.
	Broken
	// Offloaded is archived, and in remote storage only.
	Offloaded
	// Detached is in remote storage only, and a branch of a timeline that is here, which keeps what it needs.
	Detached
	// Importing is an import that was not finished, and that nobody goes on with now.
	Importing

	// States is how many there are.
	States
)

var stateNames = [States]string{"active", "attaching", "creating", "stopping", "deleting", "broken", "offloaded", "detached", "importing"}

func (s State) String() string {
	if s < States {
		return stateNames[s]
	}
	return fmt.Sprintf("state %d", uint8(s))
}

// MarshalText gives the state's name.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

var (
	// ErrBroken says that a timeline or a tenant could not be opened. Others can be used.
	ErrBroken = errors.New("broken")
	// ErrNotActive says that a timeline or a tenant is there and cannot be used in its present state.
	ErrNotActive = errors.New("not active")
	// ErrHasBranches says that other timelines branch from one, and have to go first.
	ErrHasBranches = errors.New("timeline has branches")
)

// Status is what a tenant knows of a timeline, whatever its state.
type Status struct {
	ID    page.TimelineID `json:"id"`
	Name  string          `json:"name"`
	State State           `json:"state"`
	// Reason is why it is Broken, or what has kept a deletion from its end.
	Reason string `json:"reason,omitempty"`
	// Archived is when it was archived; nil if it is not.
	Archived *time.Time `json:"archived,omitempty"`
	// Ancestor is what it branches from, as far as is known.
	Ancestor    *page.TimelineID `json:"ancestor,omitempty"`
	AncestorLSN page.LSN         `json:"ancestor_lsn,omitempty"`
	// Import says how far one that is being imported is; nil otherwise.
	Import *ImportProgress `json:"import,omitempty"`
	// Info describes an Active one; nil otherwise.
	Info *timeline.Info `json:"info,omitempty"`
}

// slot is a timeline's place in its tenant. The tenant's lock guards it.
type slot struct {
	record
	known bool // what it branches from is known
	state State
	err   error              // why it is Broken, or why its deletion has not ended
	tl    *timeline.Timeline // while it is open
	// stop ends the making of one that is Creating or Attaching; made is closed when that has ended.
	stop context.CancelFunc
	made chan struct{}
	// importing says how far the import of one that is Creating is.
	importing *importTracker
	// files has the layers of an import that is not finished.
	files *importing
}

func (s *slot) status() Status {
	st := Status{ID: s.id, Name: s.name, State: s.state, AncestorLSN: s.lsn}
	if s.err != nil {
		st.Reason = s.err.Error()
	}
	if s.importing != nil {
		p := s.importing.get()
		st.Import = &p
	} else if s.state == Importing && s.files != nil {
		st.Import = s.files.file.progress()
	}
	if s.lsn != 0 {
		a := s.ancestor
		st.Ancestor = &a
	}
	if !s.archived.IsZero() {
		at := s.archived
		st.Archived = &at
	}
	if s.state == Active && s.tl != nil {
		i := s.tl.Info()
		st.Info = &i
	}
	return st
}

// unusable says why a timeline cannot be used.
func (s *slot) unusable() error {
	switch s.state {
	case Active:
		return nil
	case Broken:
		return fmt.Errorf("timeline %s: %w: %w", s.label(), ErrBroken, s.err)
	case Offloaded:
		return fmt.Errorf("timeline %s: %w: it is offloaded; unarchive it first", s.label(), ErrNotActive)
	case Importing:
		return fmt.Errorf("timeline %s: %w: its import was not finished; go on with it, or delete it", s.label(), ErrNotActive)
	case Detached:
		return fmt.Errorf("timeline %s: %w: it is detached; attach it first", s.label(), ErrNotActive)
	}
	return fmt.Errorf("timeline %s: %w: it is %s", s.label(), ErrNotActive, s.state)
}

// label is what messages call it.
func (s *slot) label() string { return cmp.Or(s.name, s.id.String()) }

// Statuses lists all timelines, whatever their states, by name, then id.
func (t *Tenant) Statuses() []Status {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]Status, 0, len(t.mu.slots))
	for _, s := range t.mu.slots {
		out = append(out, s.status())
	}
	slices.SortFunc(out, func(a, b Status) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.ID.String(), b.ID.String()))
	})
	return out
}

// Status gives what is known of one timeline.
func (t *Tenant) Status(nameOrID string) (Status, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s, err := t.findLocked(nameOrID)
	if err != nil {
		return Status{}, err
	}
	return s.status(), nil
}

// TenantStatus is what a store knows of a tenant.
type TenantStatus struct {
	ID     page.TenantShardID `json:"id"`
	State  State              `json:"state"`
	Reason string             `json:"reason,omitempty"`
	// Generation is that of its writer here, 0 without remote storage.
	Generation uint32 `json:"generation,omitempty"`
	// Timelines counts them by state.
	Timelines [States]int `json:"-"`
}

func (t *Tenant) status() TenantStatus {
	st := TenantStatus{ID: t.ShardID()}
	if t.store.env.Remote != nil {
		st.Generation = t.store.env.Generation(t.ShardID())
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	st.State = t.mu.state
	if t.mu.err != nil {
		st.Reason = t.mu.err.Error()
	}
	for _, s := range t.mu.slots {
		st.Timelines[s.state]++
	}
	return st
}

// TenantStatuses lists all tenants, whatever their states, by id.
func (s *Store) TenantStatuses() []TenantStatus {
	var out []TenantStatus
	for _, t := range s.allTenants() {
		out = append(out, t.status())
	}
	return out
}
