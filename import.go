package strata

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/stratapg/strata/ingest"
	"github.com/stratapg/strata/ingest/source"
	"github.com/stratapg/strata/internal/tenant"
	"github.com/stratapg/strata/internal/timeline"
	"github.com/stratapg/strata/internal/timeline/manifest"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/remote"
)

// ErrImportChanged: an import cannot go on, because its source is not what it was.
var ErrImportChanged = tenant.ErrImportChanged

// ImportOptions say what becomes a timeline, and how. One of PGData, Tar, Server and Objects must be set.
type ImportOptions struct {
	// PGData is the data directory of a cluster that was stopped cleanly, or an unpacked base backup. It is only read.
	PGData string
	// Tar is a tar of either, or a folder of tars as pg_basebackup -Ft makes it; plain, gzip or zstd.
	Tar string
	// Server is a libpq connection string or URL of a running server, of which a base backup is taken. The user must be
	// allowed to replicate. Slot, if set, is a physical replication slot that then keeps the server's WAL, so that
	// Receive can go on; it is made if it is not there.
	Server, Slot string
	// Objects and Prefix are an object store and where in it the files of a data directory lie, or tars as for Tar.
	// The store stays the caller's.
	Objects remote.Storage
	Prefix  string
	// WAL is a folder of WAL segments for a base backup that has not all of its WAL with it.
	WAL string
	// Name is the new timeline's name, unique in its tenant. It must be set.
	Name string
	// ID is the new timeline's id; default: a random one.
	ID page.TimelineID
	// Flavour says whose WAL will follow; default pg.Stock.
	Flavour pg.Flavour
	// RelDirs is how the timeline begins to list its relations, and every branch of it; default: in one value for each database. With
	// page.RelDirV2, a key for each relation, what a CREATE or DROP writes does not grow with the number of relations.
	RelDirs page.RelDirForm
	// Resume goes on with an import of that name that was interrupted, if there is one: ErrImportChanged if the source has
	// changed. Without it what was imported is given up, and all begins anew. A server's base backup that was received
	// whole is not taken again.
	Resume bool
	// Jobs is how many parts are imported at once, each with about 10 MiB of memory; default 2. They are fewer where
	// Options.Memory has no room.
	Jobs int
	// JobPages is about how many pages are one part, which is done again if it is interrupted; default: those of
	// Options.ImageLayerSize. An import that goes on must have the same.
	JobPages int64
	// Progress, if set, is called now and then, from one goroutine at a time.
	Progress func(ImportProgress)
}

// ImportProgress says how far an import is.
type ImportProgress struct {
	Jobs, JobsDone    int
	Pages, TotalPages int64 // of relations and SLRUs
	Bytes, TotalBytes int64 // size of those, 0 if unknown
	// Received and ToReceive are of a server's base backup or of a compressed tar, which comes first; ToReceive is an
	// estimate, or 0.
	Received, ToReceive int64
	// Replayed is how much WAL of a base backup was taken in, which comes last.
	Replayed int64
	// Left is how long the pages will take at the rate so far; 0 while that is not known.
	Left time.Duration
}

// ImportResult is what an import took.
type ImportResult struct {
	// LSN is where the timeline begins: the end of the shutdown checkpoint, or of the base backup.
	LSN       page.LSN
	Relations int64 // forks of relations
	Pages     int64 // their blocks, and pages of SLRUs
	Bytes     int64 // size of those
	// Left are files of the cluster that were not taken, such as the replication slots of a stock server.
	Left []string
}

// validate says what is wrong with the options.
func (o *ImportOptions) validate() error {
	if o.Flavour != pg.Stock && o.Flavour != pg.Neon {
		return fmt.Errorf("ImportOptions.Flavour is %d: want pg.Stock or pg.Neon", o.Flavour)
	}
	if !o.RelDirs.Known() {
		return fmt.Errorf("ImportOptions.RelDirs: no %s is known", o.RelDirs)
	}
	sources := 0
	for _, set := range []bool{o.PGData != "", o.Tar != "", o.Server != "", o.Objects != nil} {
		if set {
			sources++
		}
	}
	if sources != 1 {
		return fmt.Errorf("ImportOptions: one of PGData, Tar, Server and Objects is to be set, and %d are", sources)
	}
	return nil
}

// Import makes a timeline of the files of a cluster. Those of one that was stopped cleanly make one that begins at
// the end of the shutdown checkpoint; a base backup of a running server one that begins at the backup's end. Nothing is
// visible until all of it is durable. An import that fails or is interrupted can be gone on with, or deleted.
func (t *Tenant) Import(ctx context.Context, o ImportOptions) (*Timeline, ImportResult, error) {
	if err := o.validate(); err != nil {
		return nil, ImportResult{}, err
	}
	if err := t.free(o.Name, o.ID); err != nil {
		return nil, ImportResult{}, err // before gigabytes are looked at
	}
	if s := t.Shard(); o.Server != "" && s.Count > 1 {
		return nil, ImportResult{}, fmt.Errorf("import into %s: %w", s, errShardServer)
	}
	i := &importer{t: t, o: o}
	tl, sum, err := t.t.Import(ctx, o.Name, o.ID, tenant.ImportOptions{
		LayerSize: t.options.ImageLayerSize, Compression: t.options.ImageCompression,
		Jobs: o.Jobs, JobBytes: importJobBytes, Resume: o.Resume, Progress: i.progress,
	}, i.open)
	wrapped, err := t.wrap(tl, errors.Join(err, i.close()))
	if err != nil {
		return nil, ImportResult{}, err
	}
	r := ImportResult{LSN: tl.Meta().InitialLSN, Relations: sum.Relations, Pages: sum.Pages, Bytes: sum.Pages * pg.BlockSize}
	if i.d != nil {
		r.Left = i.d.Left
	}
	return wrapped, r, nil
}

// errShardServer says that a running server is not imported shard by shard.
var errShardServer = errors.New("each shard would take a base backup of its own, of another moment: take one with pg_basebackup -Ft, and import that into each")

// importJobBytes is about the memory of one job: what it reads, and what it compresses and writes.
const importJobBytes = ingest.JobBytes + 6<<20

// importer is an import at work.
type importer struct {
	t   *Tenant
	o   ImportOptions
	src source.Source
	d   *ingest.DataDir

	mu    sync.Mutex
	state ImportProgress
}

func (i *importer) close() error {
	if i.src == nil {
		return nil
	}
	return i.src.Close()
}

// tell changes the progress and tells of it.
func (i *importer) tell(change func(p *ImportProgress)) {
	if i.o.Progress == nil {
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	change(&i.state)
	i.o.Progress(i.state)
}

func (i *importer) progress(p tenant.ImportProgress) {
	i.tell(func(s *ImportProgress) {
		s.Jobs, s.JobsDone, s.Pages, s.TotalPages, s.Bytes, s.TotalBytes, s.Left = p.Jobs, p.JobsDone, p.PagesDone, p.Pages, p.BytesDone, p.Bytes, p.Left
	})
}

// open looks the source over and plans.
func (i *importer) open(ctx context.Context, dir tenant.ImportDir) (*tenant.ImportPlan, error) {
	var wal fs.FS
	if i.o.WAL != "" {
		wal = os.DirFS(i.o.WAL)
	}
	var err error
	if i.src, err = i.source(ctx, dir); err != nil {
		return nil, err
	}
	if i.d, err = ingest.Open(ctx, i.src, wal); err != nil {
		return nil, err
	}
	d := i.d
	d.AuxFiles, d.RelDirs = i.o.Flavour == pg.Neon, i.o.RelDirs
	pages := i.o.JobPages
	if pages <= 0 {
		pages = i.t.options.ImageLayerSize / pg.BlockSize
	}
	plan, err := d.Plan(ctx, pages)
	if err != nil {
		return nil, err
	}
	out := &tenant.ImportPlan{
		Meta: manifest.Meta{Version: d.Version, Flavour: i.o.Flavour, InitialLSN: d.LSN,
			WALSegSize: d.SegSize, SystemID: d.SystemID, Checksums: d.Checksums, HintBits: d.HintBits, RelDirs: relDirsFrom(i.o.RelDirs, d.LSN)},
		Prev: d.PrevLSN, Digest: plan.Digest, Jobs: make([]tenant.ImportJob, len(plan.Jobs)),
		Run: func(ctx context.Context, job int, sink *timeline.ImageSink, took func(pages, bytes int64)) (tenant.ImportedJob, error) {
			var before ingest.ImportStats
			s, err := plan.Run(ctx, job, sink, func(s ingest.ImportStats) {
				took(s.Pages-before.Pages, s.Bytes-before.Bytes)
				before = s
			})
			return tenant.ImportedJob{Relations: s.Relations, Pages: s.Pages, Suspect: s.Suspect}, err
		},
		Check:   d.StillStopped,
		Lasting: ingest.Lasting,
	}
	for n := range plan.Jobs {
		j := &plan.Jobs[n]
		out.Jobs[n] = tenant.ImportJob{Keys: j.Keys, Pages: j.Pages, Bytes: j.Bytes}
	}
	if d.Backup != nil {
		out.Recover = func(ctx context.Context, tl *timeline.Timeline, suspect []page.Key) (page.LSN, error) {
			return d.Recover(ctx, tl, i.o.Flavour, suspect, func(p ingest.Progress) {
				i.tell(func(s *ImportProgress) { s.Replayed = p.Bytes })
			})
		}
	}
	return out, nil
}
