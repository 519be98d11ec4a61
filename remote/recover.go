package remote

import (
	"context"
	"errors"
	"time"
)

// ErrTooManyVersions says that a recovery would have to look at more versions than it may.
var ErrTooManyVersions = errors.New("too many versions of objects")

// Recoverer is what a store with versions of its objects can do besides: bring a prefix back to what it was. Among the drivers that
// is s3store, for a bucket with versioning.
type Recoverer interface {
	// Recover makes the objects below a prefix what they were at a time, as far as the store still has their versions. Nothing is
	// lost by it: what is replaced or deleted stays as a version. Nobody may write meanwhile. After an error it is
	// repeated with the same options; what was done by then is left as it is.
	Recover(ctx context.Context, o RecoverOptions) (Recovered, error)
}

// RecoverOptions say what is brought back. All but MaxVersions must be set.
type RecoverOptions struct {
	// Prefix is where the keys begin.
	Prefix string
	// At is the time, by the store's clock and as listings give it: what was written in that very moment counts as there.
	At time.Time
	// DoneIfAfter is when the recovery was begun, for the first time: an object with a version after that was recovered before.
	DoneIfAfter time.Time
	// MaxVersions bounds the versions that are held in memory; default a million.
	MaxVersions int
}

// Recovered tells what a recovery has done, in objects.
type Recovered struct {
	// Restored have the version of the time again, Deleted were not there then, Unchanged were as they should be, and Done had been
	// recovered before.
	Restored, Deleted, Unchanged, Done int
}
