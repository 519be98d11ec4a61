package remote

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxKeyLen is the longest key, in bytes: S3's.
const MaxKeyLen = 1024

// CheckKey says what is wrong with an object's key: it must be a relative path of UTF-8, without empty, "." and ".."
// steps and control characters, at most MaxKeyLen bytes, so that it means the same in every store, file systems among them.
func CheckKey(key string) error {
	if key == "" {
		return fmt.Errorf("%w: an object needs a key", ErrInvalid)
	}
	if err := checkText(key); err != nil {
		return err
	}
	for step := range strings.SplitSeq(key, "/") {
		if step == "" || step == "." || step == ".." {
			return fmt.Errorf("%w: a key is a path like a/b/c, without empty steps, %q and %q", ErrInvalid, ".", "..")
		}
	}
	return nil
}

// CheckPrefix says what is wrong with a listing's prefix, or with ListOptions.After: any beginning of a key will do.
func CheckPrefix(prefix string) error {
	if prefix == "" {
		return nil
	}
	if err := checkText(prefix); err != nil {
		return err
	}
	steps := strings.Split(prefix, "/")
	for _, step := range steps[:len(steps)-1] {
		if step == "" || step == "." || step == ".." {
			return fmt.Errorf("%w: a prefix is the beginning of a path like a/b/c, without empty steps, %q and %q", ErrInvalid, ".", "..")
		}
	}
	return nil
}

func checkText(s string) error {
	switch {
	case len(s) > MaxKeyLen:
		return fmt.Errorf("%w: a key has at most %d bytes, not %d", ErrInvalid, MaxKeyLen, len(s))
	case !utf8.ValidString(s):
		return fmt.Errorf("%w: a key is UTF-8", ErrInvalid)
	case strings.ContainsFunc(s, unicode.IsControl):
		return fmt.Errorf("%w: a key has no control characters", ErrInvalid)
	}
	return nil
}

// CheckRange says what is wrong with a Get's range, and gives the one that an object of a size has.
func CheckRange(o GetOptions, size int64) (offset, length int64, err error) {
	if o.Offset < 0 || o.Length < 0 {
		return 0, 0, fmt.Errorf("%w: range of %d bytes from %d", ErrInvalid, o.Length, o.Offset)
	}
	if o.Offset >= size && o.Offset > 0 {
		return 0, 0, fmt.Errorf("%w: %d of %d", ErrRange, o.Offset, size)
	}
	length = size - o.Offset
	if o.Length > 0 {
		length = min(length, o.Length)
	}
	return o.Offset, length, nil
}

func sortedKeys(e KeyErrors) []string { return slices.Sorted(maps.Keys(e)) }
