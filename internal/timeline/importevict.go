package timeline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"

	"github.com/cespare/xxhash/v2"

	"github.com/stratapg/strata/internal/timeline/manifest"
	"github.com/stratapg/strata/internal/upload"
	"github.com/stratapg/strata/internal/upload/index"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/remote"
	"github.com/stratapg/strata/virtualfile"
)

// A layer of a timeline that is not imported yet is in no index, and so nowhere but here. To leave the disk it goes to the place in remote
// storage that it will have once the timeline is there; the import notes that before its file goes.

// UploadImported brings a layer of an import to remote storage, and says what the timeline's manifest is to say of that.
func UploadImported(ctx context.Context, env *Env, dir string, shard page.ShardIdentity, p upload.Place, d layer.Desc) (r manifest.Remote, err error) {
	if env.uploads == nil {
		return r, fmt.Errorf("layer %s: nothing is uploaded from here: %w", d.Name(), ErrReadOnly)
	}
	if err := env.uploads.deletions.Keep(ctx, p, upload.ObjectOf(&d)); err != nil {
		return r, err
	}
	t := upload.Transfer{Remote: env.Remote, FS: env.FS, Bandwidth: env.uploads.bandwidth}
	sum, err := t.Put(ctx, p.ObjectKey(upload.ObjectOf(&d)), filepath.Join(dir, d.FileName()), d.Size, 0)
	if err != nil {
		return r, fmt.Errorf("layer %s: %w", d.Name(), err)
	}
	return ImportedAway(shard, d, sum), nil
}

// ImportedAway is what a manifest says of a layer of an import that has left the disk.
func ImportedAway(shard page.ShardIdentity, d layer.Desc, sum uint64) manifest.Remote {
	d.Size = 0
	return manifest.Remote{Layer: d, Sum: sum, Shard: shardBits(shard)}
}

// isAway has the next index name a layer that left the disk before there was an index. It reports whether it is one.
func (u *uploads) isAway(q *upload.Queue, d layer.Desc) bool {
	r, ok := u.t.log.Remote(d)
	if !ok {
		return false
	}
	if _, err := u.t.env.FS.Stat(filepath.Join(u.t.dir, d.FileName())); !errors.Is(err, fs.ErrNotExist) {
		return false
	}
	q.Inherit(d, shardText(r.Shard), index.Sum(r.Sum))
	return true
}

// UploadImportFile brings a file that lies beside the layers of an import to remote storage, and gives its length and its checksum.
func UploadImportFile(ctx context.Context, env *Env, path, key string) (size int64, sum uint64, err error) {
	if env.uploads == nil {
		return 0, 0, ErrReadOnly
	}
	info, err := env.FS.Stat(path)
	if err != nil {
		return 0, 0, err
	}
	t := upload.Transfer{Remote: env.Remote, FS: env.FS, Bandwidth: env.uploads.bandwidth}
	sum, err = t.Put(ctx, key, path, info.Size, 0)
	return info.Size, sum, err
}

// importRange is what of a file is downloaded at once.
const importRange = 4 << 20

// DownloadImportFile brings such a file back.
func DownloadImportFile(ctx context.Context, env *Env, key, path string, size int64, sum uint64) (err error) {
	temp := path + virtualfile.TempSuffix
	if err := env.FS.RemoveAll(temp); err != nil {
		return err
	}
	f, err := env.FS.Create(temp)
	if err != nil {
		return err
	}
	h := xxhash.New()
	err = downloadTo(ctx, env.Remote, key, size, func(b []byte) error {
		_, _ = h.Write(b) // never fails
		return virtualfile.WriteAll(f, b)
	})
	if err == nil && h.Sum64() != sum {
		err = fmt.Errorf("%w: object %s has checksum %016x, its index says %016x", ErrCorrupt, key, h.Sum64(), sum)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, env.FS.RemoveAll(temp))
	}
	if err := env.FS.Rename(temp, path); err != nil {
		return err
	}
	return env.FS.SyncDir(filepath.Dir(path))
}

// downloadTo reads an object of so many bytes, range by range.
func downloadTo(ctx context.Context, s remote.Storage, key string, size int64, take func([]byte) error) error {
	buf := make([]byte, min(size, importRange))
	for off := int64(0); off < size; {
		b := buf[:min(size-off, importRange)]
		if err := readRange(ctx, s, key, off, b); err != nil {
			return err
		}
		if err := take(b); err != nil {
			return err
		}
		off += int64(len(b))
	}
	return nil
}

// readRange reads a range of an object, again if the connection breaks.
func readRange(ctx context.Context, s remote.Storage, key string, off int64, b []byte) error {
	const attempts = 5
	for attempt := 1; ; attempt++ {
		d, err := s.Get(ctx, key, remote.GetOptions{Offset: off, Length: int64(len(b))})
		if err != nil {
			return err
		}
		_, err = io.ReadFull(d.Body, b)
		err = errors.Join(err, d.Body.Close())
		if err == nil || ctx.Err() != nil || attempt == attempts {
			return err
		}
	}
}
