package basebackup

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// Compression says how an archive is compressed as it is written. The zero value means not at all.
type Compression struct {
	Algorithm Algorithm
	// Level is the algorithm's: 1 to 9 for gzip, 1 to 22 for zstd; 0 means 1 for gzip, which is by far the slower, and
	// 3 for zstd.
	Level int
}

// Algorithm is a way to compress.
type Algorithm int

// The algorithms.
const (
	NoCompression Algorithm = iota
	Gzip
	Zstd
)

// Levels of the algorithms, and those meant by 0.
const (
	defaultGzipLevel = 1
	maxGzipLevel     = 9
	defaultZstdLevel = 3
	maxZstdLevel     = 22
)

// zstdWriters bounds the blocks that zstd compresses at a time, and with them its memory: some 20 MiB.
const zstdWriters = 2

// ParseCompression understands none, gzip and zstd, with a level behind a colon if wanted.
func ParseCompression(s string) (c Compression, err error) {
	name, level, has := strings.Cut(s, ":")
	switch name {
	case "none":
		if has {
			return c, errors.New("compression none has no levels")
		}
	case "gzip":
		c.Algorithm = Gzip
	case "zstd":
		c.Algorithm = Zstd
	default:
		return c, fmt.Errorf("compression %q: want none, gzip or zstd, and :level behind if wanted", s)
	}
	if has {
		if c.Level, err = strconv.Atoi(level); err != nil || c.Level == 0 {
			return c, fmt.Errorf("compression %q: %q is no level", s, level)
		}
	}
	return c, c.validate()
}

func (c Compression) validate() error {
	limit := map[Algorithm]int{NoCompression: 0, Gzip: maxGzipLevel, Zstd: maxZstdLevel}
	most, ok := limit[c.Algorithm]
	if !ok {
		return fmt.Errorf("compression algorithm %d: want 0 to %d", c.Algorithm, Zstd)
	}
	if c.Level < 0 || c.Level > most {
		return fmt.Errorf("compression level %d: want 0 to %d", c.Level, most)
	}
	return nil
}

// withDefaults replaces a level that is 0.
func (c Compression) withDefaults() Compression {
	switch {
	case c.Level != 0:
	case c.Algorithm == Gzip:
		c.Level = defaultGzipLevel
	case c.Algorithm == Zstd:
		c.Level = defaultZstdLevel
	}
	return c
}

// String gives what ParseCompression understands, with the level that 0 means.
func (c Compression) String() string {
	names := map[Algorithm]string{NoCompression: "none", Gzip: "gzip", Zstd: "zstd"}
	if c = c.withDefaults(); c.Level != 0 {
		return fmt.Sprintf("%s:%d", names[c.Algorithm], c.Level)
	}
	return names[c.Algorithm]
}

// plainWriter compresses nothing and has no end of its own.
type plainWriter struct{ io.Writer }

func (plainWriter) Close() error { return nil }

// writer gives what compresses into w. Close ends the compressed stream, not w.
func (c Compression) writer(w io.Writer) (io.WriteCloser, error) {
	switch c = c.withDefaults(); c.Algorithm {
	case Gzip:
		return gzip.NewWriterLevel(w, c.Level)
	case Zstd:
		return zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(c.Level)), zstd.WithEncoderConcurrency(zstdWriters))
	}
	return plainWriter{w}, nil
}
