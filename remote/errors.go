package remote

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// What can be wrong, for errors.Is.
var (
	// ErrNotFound says that there is no such object.
	ErrNotFound = errors.New("no such object")
	// ErrExists answers a Put with IfAbsent.
	ErrExists = errors.New("the object is there already")
	// ErrUnmodified answers a Get with Unless.
	ErrUnmodified = errors.New("the object has not changed")
	// ErrRange says that a Get begins behind the object's end.
	ErrRange = errors.New("the range begins behind the object's end")
	// ErrThrottled says that the store wants fewer requests.
	ErrThrottled = errors.New("the store asks for fewer requests")
	// ErrTimeout says that a limit of ours on the time of a request was reached.
	ErrTimeout = errors.New("the request took too long")
	// ErrUnavailable says that the store could not be reached, or failed for a reason of its own.
	ErrUnavailable = errors.New("the store is not available")
	// ErrDenied says that the store knows us not, or does not let us.
	ErrDenied = errors.New("the store refuses access: check credentials and permissions")
	// ErrUnsupported says that this store cannot do that.
	ErrUnsupported = errors.New("this store cannot do that")
	// ErrInvalid says that the request makes no sense.
	ErrInvalid = errors.New("invalid request")
	// ErrSize says that an object or a body is not as long as it is said to be.
	ErrSize = errors.New("wrong size")
)

// Error says which operation on which object failed.
type Error struct {
	Op, Key string
	Err     error
}

// Error names operation and key.
func (e *Error) Error() string { return fmt.Sprintf("remote: %s %q: %v", e.Op, e.Key, e.Err) }

// Unwrap gives the reason.
func (e *Error) Unwrap() error { return e.Err }

// Wrap names the operation and the key of an error, unless it has a name already. Of nil it is nil.
func Wrap(op, key string, err error) error {
	var e *Error
	if err == nil || errors.As(err, &e) {
		return err
	}
	return &Error{op, key, err}
}

// KeyErrors are the keys that a Delete left, each with its reason.
type KeyErrors map[string]error

// Error names a few of the keys.
func (e KeyErrors) Error() string {
	const named = 3
	var b strings.Builder
	fmt.Fprintf(&b, "%d objects not deleted", len(e))
	for i, k := range sortedKeys(e) {
		if i == named {
			b.WriteString(", …")
			break
		}
		fmt.Fprintf(&b, ", %q: %v", k, e[k])
	}
	return b.String()
}

// Unwrap gives all reasons.
func (e KeyErrors) Unwrap() []error {
	out := make([]error, 0, len(e))
	for _, k := range sortedKeys(e) {
		out = append(out, e[k])
	}
	return out
}

// Retryable reports whether another attempt may help: the store was busy, not there or too slow. What it answered
// for good, what makes no sense, and what the caller ended himself does not get better.
func Retryable(err error) bool {
	if err == nil || errors.Is(err, context.Canceled) {
		return false
	}
	return errors.Is(err, ErrThrottled) || errors.Is(err, ErrTimeout) || errors.Is(err, ErrUnavailable)
}
