package ingest

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"

	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

// Plan is an import as jobs. It follows from the contents of the source and the size of a job alone, so that whoever
// goes on with an import that was interrupted finds the same jobs, by the same numbers.
type Plan struct {
	// LSN is that of all values.
	LSN page.LSN
	// Jobs are in the order of their keys, and tile the key space.
	Jobs []Job
	// Pages and Bytes are of all jobs.
	Pages, Bytes int64
	// Digest tells plans apart: by the bounds of jobs, what they store of their own, and the names and lengths of what they
	// read. The content of pages is not in it.
	Digest string

	d *DataDir
}

// Job stores all values of a range of keys.
type Job struct {
	Keys         page.Range
	Pages, Bytes int64
	tasks        []task
}

// task is a value that is in memory already, or consecutive pages of a file.
type task struct {
	key   page.Key // of the value, or of the first page
	value []byte   // if path is empty

	path   string
	offset int64
	blocks uint32
	block  uint32 // number of the first page in its relation, for its checksum
	check  bool   // verify checksums
}

// The least and the greatest number of pages of a job.
const (
	minJobPages = 16
	maxJobPages = 1 << 24
)

// Plan divides the import into jobs of about jobPages pages; 0 makes one job. Small files are read now, so that
// what is wrong with them is found before gigabytes are read.
func (d *DataDir) Plan(ctx context.Context, jobPages int64) (*Plan, error) {
	if jobPages != 0 {
		jobPages = min(max(jobPages, minJobPages), maxJobPages)
	}
	p := &planner{plan: &Plan{LSN: d.LSN, d: d}, d: d, pages: jobPages}
	p.digest = sha256.New()
	if err := p.all(ctx); err != nil {
		return nil, err
	}
	p.end(page.MaxKey)
	p.plan.Digest = hex.EncodeToString(p.digest.Sum(nil))
	return p.plan, nil
}

// planner lists everything in the order of the keys.
type planner struct {
	plan   *Plan
	d      *DataDir
	pages  int64
	job    Job // in hand
	digest hash.Hash
}

// planFormat is part of every digest; it changes with what a plan stores.
const planFormat = "strata import plan 1"

func (p *planner) all(ctx context.Context) error {
	p.note(planFormat, uint64(p.d.LSN), uint64(p.d.PrevLSN), p.d.SystemID, uint64(p.d.Version))
	meta, err := p.d.metadata(ctx)
	if err != nil {
		return err
	}
	dbs := make([]datadir.Database, len(p.d.dbs))
	for i, db := range p.d.dbs {
		dbs[i] = db.Database
	}
	p.value(page.DBDirKey, datadir.EncodeDatabases(dbs))
	for i := range p.d.dbs {
		if err := p.database(ctx, &p.d.dbs[i]); err != nil {
			return err
		}
	}
	for i, kind := range page.SLRUs {
		p.slru(kind, p.d.slrus[i])
	}
	for _, kv := range meta {
		p.value(kv.key, kv.value)
	}
	return nil
}

func (p *planner) database(ctx context.Context, db *dbFiles) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if db.HasRelMap {
		b, err := p.d.relMap(ctx, db)
		if err != nil {
			return err
		}
		p.value(page.RelMapKey(db.Spc, db.DB), b)
	}
	forks := make([]datadir.RelFork, len(db.rels))
	for i := range db.rels {
		forks[i] = datadir.RelFork{Rel: db.rels[i].rel.Rel, Fork: uint8(db.rels[i].rel.Fork)}
	}
	if p.d.RelDirs == page.RelDirV2 {
		forks = nil // they have keys of their own
	}
	p.value(page.RelDirKey(db.Spc, db.DB), datadir.EncodeRelations(forks))
	check := p.d.Checksums && !p.d.SkipChecksums
	for i := range db.rels {
		r := &db.rels[i]
		block := uint32(0)
		for seg, n := range r.blocks {
			p.file(task{path: r.segmentPath(seg), key: r.rel.Block(block), block: block, check: check}, n)
			block += n
		}
		p.value(r.rel.SizeKey(), datadir.EncodeSize(block))
	}
	return nil
}

func (p *planner) slru(kind page.SLRU, files []slruFile) {
	segs := make([]uint32, len(files))
	for i, f := range files {
		segs[i] = f.segment
	}
	p.value(kind.DirKey(), datadir.EncodeSegments(segs))
	for _, f := range files {
		p.file(task{path: f.path, key: kind.Block(f.segment, 0)}, f.pages)
		p.value(kind.SizeKey(f.segment), datadir.EncodeSize(f.pages))
	}
}

// value adds a value; a full job ends before it.
func (p *planner) value(k page.Key, v []byte) {
	if p.pages != 0 && p.job.Pages >= p.pages {
		p.end(k)
	}
	p.job.tasks = append(p.job.tasks, task{key: k, value: v})
	p.note(k.String(), uint64(len(v)))
	p.digest.Write(v)
}

// file adds a file of n pages, which jobs share where it is larger than what a job has left.
func (p *planner) file(t task, n uint32) {
	for n > 0 {
		if p.pages != 0 && p.job.Pages >= p.pages {
			p.end(t.key)
		}
		part := t
		part.blocks = n
		if p.pages != 0 {
			part.blocks = uint32(min(int64(n), p.pages-p.job.Pages))
		}
		p.job.tasks = append(p.job.tasks, part)
		p.job.Pages += int64(part.blocks)
		p.note(t.path, uint64(part.offset), uint64(part.blocks))
		n -= part.blocks
		t.offset += int64(part.blocks) * pg.BlockSize
		t.key.F6 += part.blocks
		t.block += part.blocks
	}
}

// end ends the job in hand where the next one begins.
func (p *planner) end(at page.Key) {
	j := p.job
	p.job = Job{}
	j.Keys = page.Range{Start: page.MinKey, End: at}
	if n := len(p.plan.Jobs); n > 0 {
		j.Keys.Start = p.plan.Jobs[n-1].Keys.End
	}
	j.Bytes = j.Pages * pg.BlockSize
	p.plan.Jobs = append(p.plan.Jobs, j)
	p.plan.Pages += j.Pages
	p.plan.Bytes += j.Bytes
	p.note("job", uint64(len(p.plan.Jobs)))
}

// note adds to the digest. The length goes before the text, so that no two plans give the same bytes.
func (p *planner) note(text string, numbers ...uint64) {
	b := binary.AppendUvarint(nil, uint64(len(text)))
	b = append(b, text...)
	for _, n := range numbers {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	p.digest.Write(b)
}
