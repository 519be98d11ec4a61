package timeline

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/stratapg/strata/internal/timeline/manifest"
	"github.com/stratapg/strata/internal/upload"
	"github.com/stratapg/strata/layer"
)

// A layer that remote storage has need not be on the local disk. The manifest says which those are; whether a file is
// there is for the disk to say. Whoever reads one that is not fetches it first (download.go), and eviction removes
// it again (evict.go).

// remoteLookup gives what is known of a layer, if remote storage has it. It may be called from many goroutines.
type remoteLookup func(d layer.Desc) (manifest.Remote, bool)

// remoteKey is where a layer of a timeline lies.
func remoteKey(id layer.Identity, r *manifest.Remote) string {
	shard := ""
	if r.Shard != 0 {
		shard = fmt.Sprintf("%04x", r.Shard)
	}
	return upload.Place{Tenant: id.Tenant, Timeline: id.Timeline}.LayerKey(r.Layer.Name(), r.Layer.Generation, shard)
}

// forsake gives up a layer's file that is not what it should be, if it can be had from remote storage.
func (o *Opened) forsake(d layer.Desc, why error) bool {
	if _, ok := o.log.Remote(d); !ok || o.env.Remote == nil || o.env.ReadOnly || !errors.Is(why, layer.ErrCorrupt) {
		return false
	}
	name := filepath.Join(o.dir, d.FileName())
	if err := o.env.Disk.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false
	}
	o.env.leftOver(name, "not as it should be, and in remote storage: "+why.Error())
	return true
}

// countAbsent sees how many of the layers that remote storage has are not here.
func (f *layerFiles) countAbsent(remote []manifest.Remote) error {
	if len(remote) == 0 {
		return nil
	}
	absent := len(remote)
	names, err := f.env.FS.List(f.dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if d, err := layer.ParseName(name); err == nil && d.FileName() == name {
			if r, ok := f.remote(d); ok && r.Layer.Generation == d.Generation {
				absent--
			}
		}
	}
	f.absent.Store(int64(absent))
	return nil
}
