package timeline

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/stratapg/strata/internal/timeline/manifest"
	"github.com/stratapg/strata/internal/upload/index"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
)

// Heat gives the layers that one who may take the timeline over should have: those that remote storage has and reads at the ends of
// the timeline and of its branches need, of them that are here, and that the last heatmap named, if they have been neither
// fetched nor evicted since the timeline was opened; else a writer that has just come would make those forget who wait beside it.
func (t *Timeline) Heat(last []index.HeatLayer) ([]index.HeatLayer, error) {
	v, err := t.pinView()
	if err != nil {
		return nil, err
	}
	defer v.release()
	names, err := t.env.FS.List(t.dir)
	if err != nil {
		return nil, err
	}
	here := map[string]bool{}
	for _, n := range names {
		here[n] = true
	}
	wanted := map[string]index.HeatLayer{}
	for _, l := range last {
		wanted[l.Desc.FileName()] = l
	}
	covered := t.hidden(v)
	var out []index.HeatLayer
	for d := range v.layers.All() {
		r, uploaded := t.files.remote(d)
		name := d.FileName()
		if !uploaded || covered[name] {
			continue
		}
		l := index.HeatLayer{Layer: index.Layer{Desc: d, Sum: index.Sum(r.Sum)}, Used: t.files.used(&d)}
		if r.Shard != 0 {
			l.Shard = fmt.Sprintf("%04x", r.Shard)
		}
		if !here[name] {
			before, named := wanted[name]
			if !named || t.files.find(&d) != nil {
				continue
			}
			l.Used, l.Cold = before.Used, before.Cold
		}
		out = append(out, l)
	}
	slices.SortFunc(out, func(a, b index.HeatLayer) int { return index.CompareHeat(&a, &b) })
	return out, nil
}

// Fetch brings layers of a timeline that is not open here into a folder, where Adoption.Warm finds them, and removes from it what
// is not among them. progress, if not nil, is told of each that has come, and once before; those count that are there already.
func Fetch(ctx context.Context, env *Env, dir string, id layer.Identity, layers []index.Layer, progress func(DownloadProgress)) error {
	if err := env.FS.MkdirAll(dir); err != nil {
		return err
	}
	known := make(map[string]manifest.Remote, len(layers))
	for i := range layers {
		a := Adoption{Index: index.New()}
		if err := a.Index.Layers.Put(layers[i]); err != nil {
			return fmt.Errorf("layer %s: %w", layers[i].Desc.Name(), err)
		}
		r, err := a.remote(layers[i].Desc)
		if err != nil {
			return err
		}
		known[layers[i].Desc.FileName()] = r
	}
	here, err := tidyWarm(env, dir, layers)
	if err != nil {
		return err
	}
	files := newLayerFiles(env, dir, id, func(d layer.Desc) (manifest.Remote, bool) {
		r, ok := known[d.FileName()]
		return r, ok
	})
	defer files.close()
	var p DownloadProgress
	var lacking []layer.Desc
	for i := range layers {
		d := layers[i].Desc
		p.TotalLayers++
		p.TotalBytes += d.Size
		if here[d.FileName()] {
			p.Layers++
			p.Bytes += d.Size
		} else {
			lacking = append(lacking, d)
		}
	}
	if progress != nil {
		progress(p)
	}
	return files.fetchAll(ctx, lacking, p, progress)
}

// tidyWarm removes what is not wanted in a folder, or not whole, and gives what is left.
func tidyWarm(env *Env, dir string, layers []index.Layer) (here map[string]bool, err error) {
	size := make(map[string]int64, len(layers))
	for i := range layers {
		size[layers[i].Desc.FileName()] = layers[i].Desc.Size
	}
	names, err := env.FS.List(dir)
	if err != nil {
		return nil, err
	}
	here = map[string]bool{}
	for _, name := range names {
		path := filepath.Join(dir, name)
		st, err := env.FS.Stat(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // two fetch at once
		}
		if err != nil {
			return nil, err
		}
		if want, ok := size[name]; ok && want == st.Size {
			here[name] = true
		} else if err := env.Disk.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return here, nil
}

// takeWarm moves the files of layers that were fetched before into the new timeline's folder.
func (a *Adoption) takeWarm(env *Env, dir string, s *manifest.State) error {
	names, err := env.FS.List(a.Warm)
	if errors.Is(err, fs.ErrNotExist) || a.Warm == "" {
		return nil
	}
	if err != nil {
		return err
	}
	for i := range s.Layers {
		d := &s.Layers[i]
		name := d.FileName()
		if _, ok := slices.BinarySearch(names, name); !ok {
			continue
		}
		from := filepath.Join(a.Warm, name)
		if st, err := env.FS.Stat(from); err != nil || st.Size != d.Size {
			continue
		}
		if err := env.FS.Rename(from, filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return env.FS.RemoveAll(a.Warm)
}

// WarmDir is where a store keeps layers of a timeline that it has not attached.
func WarmDir(store string, id page.TenantShardID, timeline page.TimelineID) string {
	return filepath.Join(store, secondaryDir, id.String(), timeline.String())
}

// secondaryDir is the folder, in a store, of what Fetch brought.
const secondaryDir = "secondary"
