package datadir

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

// File is a small file kept whole, by its path relative to the data directory, with slashes.
type File struct {
	Path    string
	Content []byte
}

func compareFiles(a, b File) int { return strings.Compare(a.Path, b.Path) }

// filesVersion is the first byte of a value that holds files.
const filesVersion = 1

// EncodeFiles encodes the files that share a key: a version byte, then for each file the length of its
// path, the path, the length of its content and the content; lengths are 32 bits, big-endian. No files
// give an empty value, which stands for "removed". Source: Neon, pageserver/src/aux_file.rs.
func EncodeFiles(fs []File) []byte {
	if len(fs) == 0 {
		return nil
	}
	b := []byte{filesVersion}
	for _, f := range fs {
		b = binary.BigEndian.AppendUint32(b, uint32(len(f.Path)))
		b = append(b, f.Path...)
		b = binary.BigEndian.AppendUint32(b, uint32(len(f.Content)))
		b = append(b, f.Content...)
	}
	return b
}

// DecodeFiles gives the files of a value. Contents point into b.
func DecodeFiles(b []byte) ([]File, error) {
	if len(b) == 0 {
		return nil, nil
	}
	if b[0] != filesVersion {
		return nil, fmt.Errorf("%w: files in format %d, only %d is known", ErrCorrupt, b[0], filesVersion)
	}
	rest := b[1:]
	next := func(what string) ([]byte, error) {
		if len(rest) < 4 || uint64(binary.BigEndian.Uint32(rest)) > uint64(len(rest)-4) {
			return nil, fmt.Errorf("%w: too short for a %s at byte %d of %d", ErrCorrupt, what, len(b)-len(rest), len(b))
		}
		n := 4 + int(binary.BigEndian.Uint32(rest))
		r := rest[4:n:n]
		rest = rest[n:]
		return r, nil
	}
	var fs []File
	for len(rest) > 0 {
		path, err := next("path")
		if err != nil {
			return nil, err
		}
		content, err := next("content")
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(fs, func(f File) bool { return f.Path == string(path) }) {
			return nil, fmt.Errorf("%w: file %q twice in one value", ErrCorrupt, path)
		}
		fs = append(fs, File{string(path), content})
	}
	return fs, nil
}

// putFile replaces, adds or (content nil) removes path among the files of one value, the changed one last.
func putFile(fs []File, path string, content []byte) []File {
	fs = slices.DeleteFunc(fs, func(f File) bool { return f.Path == path })
	if content != nil {
		fs = append(fs, File{path, content})
	}
	return fs
}
