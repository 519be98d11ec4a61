package timeline

import (
	"slices"

	"github.com/stratapg/strata/internal/timeline/manifest"
	"github.com/stratapg/strata/internal/upload"
	"github.com/stratapg/strata/internal/upload/index"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
)

// compareIndex says which layers of a manifest remote storage has for good, by their names.
func compareIndex(part *index.Part, s *manifest.State) map[string]bool {
	there := map[string]bool{}
	if part == nil {
		return there
	}
	noted := make(map[string]bool, len(s.Remote))
	for i := range s.Remote {
		noted[s.Remote[i].Layer.FileName()] = true
	}
	for i := range s.Layers {
		d := &s.Layers[i]
		if l, ok := part.Layers[d.Name()]; ok && l.Generation == d.Generation && l.Size == d.Size && noted[d.FileName()] {
			there[d.Name()] = true
		}
	}
	return there
}

// surplusOf gives the layers that an index names and a manifest does not.
func surplusOf(part *index.Part, names map[upload.Object]bool) ([]layer.Desc, error) {
	if part == nil {
		return nil, nil
	}
	all, err := part.Descs()
	return slices.DeleteFunc(all, func(d layer.Desc) bool { return names[upload.ObjectOf(&d)] }), err
}

// objectsOf gives what a manifest names.
func objectsOf(s *manifest.State) map[upload.Object]bool {
	names := make(map[upload.Object]bool, len(s.Layers))
	for i := range s.Layers {
		names[upload.ObjectOf(&s.Layers[i])] = true
	}
	return names
}

// initdbLSN is where the whole history begins, which is what Neon keeps.
func (t *Timeline) initdbLSN() page.LSN {
	for t.ancestor != nil {
		t = t.ancestor
	}
	return t.meta.InitialLSN
}

// describe writes what a manifest says into an index, but for its layers.
func describe(p *index.Part, s *manifest.State, initdb page.LSN) {
	p.Metadata.DiskConsistentLSN, p.Metadata.PrevRecordLSN = s.DiskConsistentLSN, prevOf(s.PrevRecordLSN)
	p.Metadata.PgVersion, p.Metadata.InitdbLSN = int(s.Version), initdb
	p.Metadata.GCCutoffLSN = max(p.Metadata.GCCutoffLSN, s.Cutoff)
	if p.Metadata.GCCutoffLSN == 0 {
		p.Metadata.GCCutoffLSN = initdb
	}
	p.Metadata.Ancestor, p.Metadata.AncestorLSN = nil, 0
	if s.AncestorLSN != 0 {
		ancestor := s.Ancestor
		p.Metadata.Ancestor, p.Metadata.AncestorLSN = &ancestor, s.AncestorLSN
	}
	p.Origin = &index.Origin{Name: s.Name, Flavour: uint8(s.Flavour), WALSegSize: s.WALSegSize, SystemID: s.SystemID,
		Checksums: s.Checksums, HintBits: s.HintBits, InitialLSN: s.InitialLSN, Cutoff: s.Cutoff}
	for _, m := range s.Moved {
		addMoved(p.Origin, m)
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
	for _, d := range e.Remove {
		delete(p.Origin.Moved, d.Name())
	}
	for _, m := range e.Moved {
		addMoved(p.Origin, m)
	}
}
