package remote

import (
	"context"
	"io"
	"iter"
	"time"
)

// Storage is a set of objects. Keys are those of CheckKey; the empty prefix is everything.
type Storage interface {
	// List gives the objects whose keys begin with the prefix, in the order of keys. It is a string prefix: "a/b" has
	// "a/bc" too. The first error ends it.
	List(ctx context.Context, prefix string, o ListOptions) iter.Seq2[Entry, error]
	// Head gives what is known of an object: ErrNotFound if it is not there.
	Head(ctx context.Context, key string) (Object, error)
	// Put makes an object of the size bytes of body, or replaces it. body is read from any offset, in several goroutines
	// perhaps, and again for a repetition; it must not change meanwhile.
	Put(ctx context.Context, key string, body io.ReaderAt, size int64, o PutOptions) (Object, error)
	// Get opens an object, or a range of it, for reading. The caller closes the Body. ctx is that of reading it too.
	Get(ctx context.Context, key string, o GetOptions) (*Download, error)
	// Delete removes objects; those that are not there are no error. It goes on after an error and reports all of
	// them as KeyErrors, so that the caller knows which keys are left.
	Delete(ctx context.Context, keys ...string) error
	// Copy makes to an object of the bytes of from, within the store.
	Copy(ctx context.Context, from, to string) error
	// Close lets go of what the driver holds. It may be called twice.
	Close() error
}

// Object is what a store knows of an object.
type Object struct {
	Key string
	// Size is in bytes.
	Size int64
	// ETag changes with the content. It means nothing but that.
	ETag string
	// Modified is when it was put, by the store's clock, which may count seconds only.
	Modified time.Time
}

// Entry is a line of a listing: an object, or with a delimiter a common prefix.
type Entry struct {
	Object
	// Prefix, if not empty, stands for all objects whose keys begin with it; it ends in "/". Object is then empty.
	Prefix string
}

// ListOptions say what is listed.
type ListOptions struct {
	// Delimited lists only the first level below the prefix: objects whose keys have no further "/", and the prefixes
	// of the others, each once.
	Delimited bool
	// After skips all keys up to this one, itself included.
	After string
}

// PutOptions say how an object is put.
type PutOptions struct {
	// IfAbsent fails with ErrExists where the object is there already. A store that cannot do this in one step gives ErrUnsupported
	// and puts nothing.
	IfAbsent bool
}

// GetOptions say what of an object is read.
type GetOptions struct {
	// Offset is where to begin; Length is how many bytes, 0 up to the end. A range that begins at or behind the object's end is ErrRange;
	// one that ends behind it is cut.
	Offset, Length int64
	// Unless gives ErrUnmodified if the object has this ETag.
	Unless string
}

// Download is an object being read.
type Download struct {
	// Body gives the bytes of the range. It ends with io.EOF only if all came; if the connection breaks, the error is a
	// Retryable one.
	Body io.ReadCloser
	// Object describes the whole object, not the range.
	Object Object
	// Offset and Length are the range that Body gives.
	Offset, Length int64
}
