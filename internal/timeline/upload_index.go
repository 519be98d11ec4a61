package timeline

import (
	"github.com/stratapg/strata/internal/timeline/manifest"
	"github.com/stratapg/strata/internal/upload"
	"github.com/stratapg/strata/internal/upload/index"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
)

// isThere says whether remote storage has a layer of the manifest for good.
func (t *Timeline) isThere(part *index.Part, d *layer.Desc) bool {
	if part == nil {
		return false
	}
	l, ok := part.Layers.Find(d)
	if !ok || l.Desc.Generation != d.Generation || l.Desc.Size != d.Size {
		return false
	}
	_, noted := t.log.Remote(*d)
	return noted
}

// surplusOf gives the layers that an index names and a manifest does not.
func surplusOf(part *index.Part, layers *layer.Map) (out []layer.Desc) {
	if part == nil {
		return nil
	}
	for l := range part.Layers.All() {
		if !names(layers, l.Desc) {
			out = append(out, l.Desc)
		}
	}
	return out
}

func names(layers *layer.Map, d layer.Desc) bool {
	own, ok := layers.Find(d)
	return ok && own.Generation == d.Generation
}

// namesObject says whether a manifest names the layer of an object.
func namesObject(layers *layer.Map, o upload.Object) bool {
	d, err := layer.ParseName(o.Name)
	d.Generation = o.Generation
	return err == nil && names(layers, d)
}

// initdbLSN is where the whole history begins, which is what Neon keeps.
func (t *Timeline) initdbLSN() page.LSN {
	d := t.from()
	for d.ancestor != nil {
		d = d.ancestor.from()
	}
	return d.initial
}

// describe writes what a manifest says into an index, but for its layers.
func describe(p *index.Part, s *manifest.State, initdb page.LSN) {
	p.Metadata.DiskConsistentLSN, p.Metadata.PrevRecordLSN = s.DiskConsistentLSN, prevOf(s.PrevRecordLSN)
	p.Metadata.PgVersion, p.Metadata.InitdbLSN = int(s.Version), initdb
	p.Metadata.GCCutoffLSN = max(p.Metadata.GCCutoffLSN, s.Cutoff)
	if p.Metadata.GCCutoffLSN == 0 {
		p.Metadata.GCCutoffLSN = initdb
	}
	describeDescent(p, &manifest.Descent{Ancestor: s.Ancestor, AncestorLSN: s.AncestorLSN, Lineage: s.Lineage})
	p.SetRelDirs(s.RelDirs)
	p.Origin = &index.Origin{RelDirsWanted: s.RelDirsWanted, Name: s.Name, Flavour: uint8(s.Flavour), WALSegSize: s.WALSegSize, SystemID: s.SystemID,
		Checksums: s.Checksums, HintBits: s.HintBits, InitialLSN: s.InitialLSN, Cutoff: s.Cutoff}
	for _, m := range s.Moved {
		addMoved(p.Origin, m)
	}
}

// describeDescent writes where a timeline comes from into an index.
func describeDescent(p *index.Part, d *manifest.Descent) {
	p.Metadata.Ancestor, p.Metadata.AncestorLSN = nil, 0
	if d.AncestorLSN != 0 {
		ancestor := d.Ancestor
		p.Metadata.Ancestor, p.Metadata.AncestorLSN = &ancestor, d.AncestorLSN
	}
	l := &d.Lineage
	if l.None() {
		return
	}
	// Neither fails but on what Adopt refuses.
	_ = p.SetLineage(index.Lineage{Original: l.Original, OriginalLSN: l.OriginalLSN, DetachedAt: l.DetachedAt, Former: l.Former, Truncated: l.Truncated})
	if l.OriginalLSN != 0 {
		_ = p.SetDetaching(l.Unsettled, l.DetachedAt)
	}
}

func prevOf(lsn page.LSN) *page.LSN {
	if lsn == 0 {
		return nil
	}
	return &lsn
}

func addMoved(o *index.Origin, m manifest.Moved) {
	if o.Moved == nil {
		o.Moved = map[string][]page.Range{}
	}
	name := m.Layer.Name()
	o.Moved[name] = page.NewSet(o.Moved[name]...).Union(page.NewSet(m.Keys...)).Ranges()
}

// amend writes an edit of a manifest into an index, but for its layers.
func amend(p *index.Part, e *manifest.Edit) {
	if e.Position != nil {
		p.Metadata.DiskConsistentLSN, p.Metadata.PrevRecordLSN = e.Position.DiskConsistentLSN, prevOf(e.Position.PrevRecordLSN)
	}
	if e.Cutoff != 0 {
		p.Metadata.GCCutoffLSN, p.Origin.Cutoff = max(p.Metadata.GCCutoffLSN, e.Cutoff), e.Cutoff
	}
	if e.RelDirs != nil {
		p.SetRelDirs(e.RelDirs.RelDirs)
		p.Origin.RelDirsWanted = e.RelDirs.Wanted
	}
	if d := e.Descent; d != nil {
		describeDescent(p, d)
		p.Origin.InitialLSN = d.InitialLSN
	}
	for _, d := range e.Remove {
		delete(p.Origin.Moved, d.Name())
	}
	for _, m := range e.Moved {
		addMoved(p.Origin, m)
	}
}
