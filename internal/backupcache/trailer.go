package backupcache

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/cespare/xxhash/v2"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

// What is behind the content; doc.go has the picture.
const (
	magic         = "STRABKUP"
	version       = 1
	fixedKey      = 16 + 16 + 8
	footerLength  = 48
	maxTrailer    = fixedKey + MaxKind + footerLength
	fileSuffix    = ".basebackup"
	temporaryName = fileSuffix + virtualfile.TempSuffix
)

// trailer is what a file says of itself.
type trailer struct {
	key     Key
	content int64
	files   int
	sum     uint64
}

func (t *trailer) length() int64 { return fixedKey + int64(len(t.key.Kind)) + footerLength }

func (t *trailer) append(b []byte) []byte {
	start := len(b)
	b = append(b, t.key.Tenant[:]...)
	b = append(b, t.key.Timeline[:]...)
	be := binary.BigEndian
	b = be.AppendUint64(b, uint64(t.key.LSN))
	b = append(b, t.key.Kind...)
	length := len(b) - start
	b = append(b, magic...)
	b = be.AppendUint32(b, version)
	b = be.AppendUint32(b, uint32(length))
	b = be.AppendUint64(b, uint64(t.content))
	b = be.AppendUint64(b, uint64(t.files))
	b = be.AppendUint64(b, t.sum)
	return be.AppendUint64(b, xxhash.Sum64(b[start:]))
}

var errTrailer = errors.New("no trailer of a cached base backup")

// parseTrailer understands the end of a file of size bytes, which holds all of its trailer.
func parseTrailer(b []byte, size int64) (t trailer, err error) {
	be := binary.BigEndian
	if len(b) < fixedKey+footerLength {
		return t, errTrailer
	}
	f := b[len(b)-footerLength:]
	length := int(be.Uint32(f[12:]))
	if string(f[:8]) != magic || be.Uint32(f[8:]) != version || length < fixedKey || length > min(fixedKey+MaxKind, len(b)-footerLength) {
		return t, errTrailer
	}
	whole := b[len(b)-footerLength-length:]
	if xxhash.Sum64(whole[:len(whole)-8]) != be.Uint64(f[40:]) {
		return t, fmt.Errorf("%w: its checksum is wrong", errTrailer)
	}
	copy(t.key.Tenant[:], whole)
	copy(t.key.Timeline[:], whole[16:])
	t.key.LSN = page.LSN(be.Uint64(whole[32:]))
	t.key.Kind = string(whole[fixedKey:length])
	t.content, t.files, t.sum = int64(be.Uint64(f[16:])), int(be.Uint64(f[24:])), be.Uint64(f[32:])
	if t.content < 0 || t.content != size-t.length() {
		return t, fmt.Errorf("%w: it is of a file of %d bytes", errTrailer, t.content)
	}
	return t, nil
}

// readTrailer reads it from a file.
func readTrailer(fs virtualfile.FS, name string) (t trailer, size int64, err error) {
	f, err := fs.Open(name)
	if err != nil {
		return t, 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if size, err = f.Size(); err != nil {
		return t, 0, err
	}
	b := make([]byte, min(size, maxTrailer))
	if _, err := f.ReadAt(b, size-int64(len(b))); err != nil {
		return t, size, err
	}
	t, err = parseTrailer(b, size)
	return t, size, err
}

// fileName names a new file: for whoever looks into the folder, and with a number, as a key has more than fits.
func fileName(k Key, n uint64) string {
	return fmt.Sprintf("%s-%s-%016X-%08x%s", k.Tenant, k.Timeline, uint64(k.LSN), n, fileSuffix)
}

// numberOf gives the number in a file's name, and false if it isn't the cache's.
func numberOf(name string) (n uint64, ours bool) {
	name, ours = strings.CutSuffix(strings.TrimSuffix(name, virtualfile.TempSuffix), fileSuffix)
	parts := strings.Split(name, "-")
	if !ours || len(parts) != 4 {
		return 0, false
	}
	n, err := strconv.ParseUint(parts[3], 16, 64)
	return n, err == nil
}
