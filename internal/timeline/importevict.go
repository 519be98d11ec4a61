package timeline

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/stratapg/strata/internal/timeline/manifest"
	"github.com/stratapg/strata/internal/upload"
	"github.com/stratapg/strata/internal/upload/index"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
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
	if !ok || r.Sum == 0 {
		return false
	}
	if _, err := u.t.env.FS.Stat(filepath.Join(u.t.dir, d.FileName())); !errors.Is(err, fs.ErrNotExist) {
		return false
	}
	q.Inherit(d, shardText(r.Shard), index.Sum(r.Sum))
	return true
}
