package strata

import (
	"github.com/stratapg/strata/ingest"
	"github.com/stratapg/strata/internal/tenant"
	"github.com/stratapg/strata/internal/timeline"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

// Errors to be tested with errors.Is. What wraps them names the place and says what to do.
var (
	// ErrNotFound: a key, relation or block has no version at the LSN asked for.
	ErrNotFound = page.ErrNotFound
	// ErrFutureLSN: an LSN beyond the end of the timeline.
	ErrFutureLSN = timeline.ErrFutureLSN
	// ErrBeforeHistory: an LSN before what the timeline keeps.
	ErrBeforeHistory = timeline.ErrBeforeHistory
	// ErrCorrupt: what is stored cannot be right.
	ErrCorrupt = timeline.ErrCorrupt
	// ErrReadOnly: the store was opened for reading only.
	ErrReadOnly = timeline.ErrReadOnly
	// ErrClosed: engine or timeline have been closed.
	ErrClosed = timeline.ErrClosed
	// ErrRefused: a batch that cannot be put; nothing of it was stored.
	ErrRefused = timeline.ErrRefused
	// ErrBackpressure: a batch that TryPut would have had to wait with; nothing of it was stored.
	ErrBackpressure = timeline.ErrBackpressure
	// ErrSnapshotEnded: a snapshot became too old, or held too much; take a new one.
	ErrSnapshotEnded = timeline.ErrSnapshotEnded
	// ErrLeaseGrace: garbage collection waits for leases from before a restart to be renewed.
	ErrLeaseGrace = timeline.ErrLeaseGrace
	// ErrTooManyLeases: a timeline holds as many LSNs as it may.
	ErrTooManyLeases = timeline.ErrTooManyLeases
	// ErrRelDirs: relations cannot be listed in the form asked for.
	ErrRelDirs = timeline.ErrRelDirs
	// ErrOrigin: WAL that continues a timeline and is that of another one, from or to which it branches.
	ErrOrigin = ingest.ErrOrigin
	// ErrLocked: another process has the store open.
	ErrLocked = virtualfile.ErrLocked
	// ErrNotAStore: the directory holds no store.
	ErrNotAStore = tenant.ErrNotAStore
	// ErrUnsupported: the store needs something that this version does not know.
	ErrUnsupported = tenant.ErrUnsupported
	// ErrTimelineNotFound: no timeline of that name or id.
	ErrTimelineNotFound = tenant.ErrTimelineNotFound
	// ErrTimelineExists: the name or id is taken.
	ErrTimelineExists = tenant.ErrTimelineExists
	// ErrWrongShard: a key that another shard of the tenant has.
	ErrWrongShard = timeline.ErrWrongShard
	// ErrStale: another writer has taken over, with a higher generation.
	ErrStale = timeline.ErrStale
	// ErrNoRemote: the store keeps layers in remote storage, and was opened without.
	ErrNoRemote = tenant.ErrNoRemote
	// ErrWithoutRemote: what was asked for needs remote storage, and the store has none.
	ErrWithoutRemote = tenant.ErrWithoutRemote
	// ErrDeleted: what was to be attached has been deleted.
	ErrDeleted = tenant.ErrDeleted
	// ErrTenantNotFound: no tenant of that id.
	ErrTenantNotFound = tenant.ErrTenantNotFound
	// ErrTenantExists: the id is taken.
	ErrTenantExists = tenant.ErrTenantExists
	// ErrBroken: a timeline or tenant could not be opened; others can be used.
	ErrBroken = tenant.ErrBroken
	// ErrNotActive: a timeline or tenant is there and cannot be used in its present state.
	ErrNotActive = tenant.ErrNotActive
	// ErrHasBranches: other timelines branch from it, and go first.
	ErrHasBranches = tenant.ErrHasBranches
	// ErrNoAncestor: a timeline that was to be detached from its ancestor is no branch.
	ErrNoAncestor = timeline.ErrNoAncestor
	// ErrTooManyAncestors: a timeline that was to be detached from its ancestor branches from a branch.
	ErrTooManyAncestors = timeline.ErrTooManyAncestors
	// ErrDetachOngoing: another timeline of the tenant is being detached from its ancestor; try again later.
	ErrDetachOngoing = tenant.ErrDetachOngoing
	// ErrUnsettled: a detachment from an ancestor was not ended yet; repeat it.
	ErrUnsettled = timeline.ErrUnsettled
	// ErrArchived: a timeline can be read and nothing else.
	ErrArchived = timeline.ErrArchived
	// ErrOnlyHere: what is to leave the local disk is nowhere else.
	ErrOnlyHere = tenant.ErrOnlyHere
)
