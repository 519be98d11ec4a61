package tenant

import (
	"fmt"
	"maps"
	"slices"

	"github.com/stratapg/strata/internal/upload/index"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
)

// The index in remote storage says of an import what its file says.

// index gives the index of an import whose layers are all in remote storage.
func (f *importFile) index(shard string) (*index.Part, error) {
	p := index.New()
	in := &index.Import{Begun: f.begun.UTC(), Plan: f.digest, Jobs: f.jobs, Files: f.files}
	for _, n := range slices.Sorted(maps.Keys(f.done)) {
		j := f.done[n]
		job := index.ImportedJob{Job: n, Relations: j.Relations, Pages: j.Pages, Suspect: j.Suspect}
		for _, d := range j.layers {
			if err := p.Layers.Put(index.Layer{Desc: d, Shard: shard, Sum: index.Sum(f.sumOf(d))}); err != nil {
				return nil, err
			}
			job.Layers = append(job.Layers, d.Name())
			p.Metadata.DiskConsistentLSN = d.LSNs.Start // the same for all
		}
		in.Done = append(in.Done, job)
	}
	p.Metadata.InitdbLSN, p.Metadata.GCCutoffLSN = p.Metadata.DiskConsistentLSN, p.Metadata.DiskConsistentLSN
	p.Metadata.PgVersion = placeholderVersion
	p.Origin = &index.Origin{Name: f.name, InitialLSN: p.Metadata.DiskConsistentLSN, Import: in}
	return p, p.BeginImport(f.id.String(), f.begun)
}

// importFileOf is the file of an import whose index was attached: no layer is here.
func importFileOf(id page.TimelineID, name string, p *index.Part) (*importFile, error) {
	in := p.Origin.Import
	if in.Jobs < 0 || in.Jobs > maxImportJobs {
		return nil, fmt.Errorf("%w: an import of %d jobs", ErrCorruptStoreFile, in.Jobs)
	}
	f := &importFile{id: id, name: name, begun: in.Begun, digest: in.Plan, jobs: in.Jobs, done: map[int]ImportedJob{}, indexed: true, files: in.Files}
	for _, j := range in.Done {
		if _, twice := f.done[j.Job]; twice || j.Job < 0 || j.Job >= in.Jobs {
			return nil, fmt.Errorf("%w: job %d of %d", ErrCorruptStoreFile, j.Job, in.Jobs)
		}
		done := ImportedJob{Relations: j.Relations, Pages: j.Pages, Suspect: j.Suspect}
		for _, name := range j.Layers {
			d, err := layer.ParseName(name)
			if err != nil {
				return nil, fmt.Errorf("%w: %w", ErrCorruptStoreFile, err)
			}
			l, ok := p.Layers.Find(&d)
			if !ok || l.Sum == 0 {
				return nil, fmt.Errorf("%w: the index does not name layer %s of an import, or not its checksum", ErrCorruptStoreFile, name)
			}
			done.layers = append(done.layers, l.Desc)
			f.away = noteSum(f.away, l.Desc.FileName(), uint64(l.Sum))
		}
		f.done[j.Job] = done
	}
	// What the index says is not trusted further than what a file says.
	return decodeImportFile(f.encode())
}

// progress is how far an import is that nobody goes on with.
func (f *importFile) progress() *ImportProgress {
	p := &ImportProgress{Jobs: f.jobs, JobsDone: len(f.done)}
	for _, j := range f.done {
		p.PagesDone += j.Pages
	}
	return p
}
