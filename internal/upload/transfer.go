package upload

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/cespare/xxhash/v2"
	"golang.org/x/sync/errgroup"

	"github.com/stratapg/strata/remote"
	"github.com/stratapg/strata/virtualfile"
)

// Transfer brings files to remote storage.
type Transfer struct {
	Remote    remote.Storage
	FS        virtualfile.FS
	Bandwidth *Bandwidth
}

// Put uploads a file that has so many bytes, and gives its checksum: the one it is told, unless that is 0.
func (t Transfer) Put(ctx context.Context, key, path string, size int64, known uint64) (sum uint64, err error) {
	r, err := t.FS.Open(path)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	if has, err := r.Size(); err != nil || has != size {
		return 0, errors.Join(err, fmt.Errorf("%w: %s has %d bytes, its layer %d", remote.ErrSize, path, has, size))
	}
	g, inner := errgroup.WithContext(ctx)
	sum = known
	if sum == 0 {
		g.Go(func() (err error) {
			sum, err = sumOf(inner, r, size)
			return err
		})
	}
	g.Go(func() error {
		_, err := t.Remote.Put(inner, key, t.Bandwidth.pace(inner, r), size, remote.PutOptions{})
		return err
	})
	return sum, g.Wait()
}

// sumUnit is what of a file is read at once for its checksum.
const sumUnit = 256 << 10

// sumOf gives a file's checksum: XXH64 with seed 0 of all its bytes.
func sumOf(ctx context.Context, r io.ReaderAt, size int64) (uint64, error) {
	h, buf := xxhash.New(), make([]byte, min(sumUnit, size))
	for off := int64(0); off < size; off += int64(len(buf)) {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		b := buf[:min(int64(len(buf)), size-off)]
		if _, err := r.ReadAt(b, off); err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		_, _ = h.Write(b) // never fails
	}
	return h.Sum64(), nil
}
