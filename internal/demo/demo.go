// Package demo is the main job from end to end on the sample: import of a real cluster, ingest of its WAL,
// every page at every LSN that PostgreSQL gave digests of, a branch, a base backup, a picture. It tells a
// newcomer what it does, and fails where a page is not PostgreSQL's.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/inspect/draw"
	"github.com/stratapg/strata/internal/sample"
	"github.com/stratapg/strata/page"
)

// checkpointDistance is small, so that the sample's few MiB of WAL become several layers.
const checkpointDistance = 4 << 20

// Options say where things are.
type Options struct {
	// Sample is the folder of the sample.
	Sample string
	// Output is the folder for the base backup and the picture; it is made if it is not there.
	Output string
	// Work is a folder for the store and the unpacked sample. It must be empty.
	Work string
	// Log takes what is told on the way.
	Log io.Writer

	// ingest stands in for Timeline.Ingest in tests.
	ingest func(ctx context.Context, tl *strata.Timeline, dir string) (strata.IngestResult, error)
}

// Result is what the closing line says.
type Result struct {
	Pages     int // pages read and compared, over all LSNs
	LSNs      int
	Different int
	Seconds   float64
	PeakMiB   int64
}

// String is the closing line.
func (r Result) String() string {
	return fmt.Sprintf("demo: pages=%d lsns=%d different=%d seconds=%.3f peak_mib=%d",
		r.Pages, r.LSNs, r.Different, r.Seconds, r.PeakMiB)
}

// demo is one run.
type demo struct {
	Options
	s      *sample.Sample
	tenant *strata.Tenant
	tl     *strata.Timeline
	result Result
}

// Run does it all. An error says that something could not be done; differing pages are in the result.
func Run(ctx context.Context, o Options) (Result, error) {
	start := time.Now()
	s, err := sample.Open(o.Sample)
	if err != nil {
		return Result{}, err
	}
	engine, err := strata.Open(ctx, strata.Options{
		Dir: filepath.Join(o.Work, "store"), CreateIfMissing: true, CheckpointDistance: checkpointDistance,
	})
	if err != nil {
		return Result{}, err
	}
	d := demo{Options: o, s: s}
	if d.tenant, err = engine.DefaultTenant(ctx); err == nil {
		err = d.steps(ctx)
	}
	err = errors.Join(err, engine.Close())
	d.result.Seconds = time.Since(start).Seconds()
	d.result.PeakMiB = peakMiB()
	return d.result, err
}

func (d *demo) steps(ctx context.Context) error {
	for _, step := range []func(context.Context) error{d.importCluster, d.ingestWAL, d.readEverything, d.branch, d.baseBackup, d.draw} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (d *demo) say(format string, args ...any) { fmt.Fprintf(d.Log, format+"\n", args...) }

// rate gives MB/s.
func rate(bytes int64, since time.Time) float64 {
	return float64(bytes) / 1e6 / time.Since(since).Seconds()
}

func (d *demo) importCluster(ctx context.Context) error {
	dir := filepath.Join(d.Work, "cluster")
	if err := d.s.ExtractCluster(dir); err != nil {
		return err
	}
	start := time.Now()
	tl, r, err := d.tenant.Import(ctx, strata.ImportOptions{PGData: dir, Name: "main"})
	if err != nil {
		return err
	}
	d.tl = tl
	d.say("import      a PostgreSQL %d cluster at %s: %d relations, %d pages, %.0f MB/s",
		tl.Info().Version, r.LSN, r.Relations, r.Pages, rate(r.Bytes, start))
	return nil
}

func (d *demo) ingestWAL(ctx context.Context) error {
	dir := filepath.Join(d.Work, "wal")
	if err := d.s.ExtractWAL(dir); err != nil {
		return err
	}
	ingest := d.ingest
	if ingest == nil {
		ingest = func(ctx context.Context, tl *strata.Timeline, dir string) (strata.IngestResult, error) {
			return tl.Ingest(ctx, strata.IngestOptions{Dir: dir})
		}
	}
	start := time.Now()
	r, err := ingest(ctx, d.tl, dir)
	if err != nil {
		return err
	}
	if err := d.tl.Flush(ctx); err != nil {
		return err
	}
	i := d.tl.Info()
	d.say("ingest      %d WAL records to %s, written as %d layers of %d bytes: %.0f MB/s",
		r.Records, r.LSN, i.Layers, i.LayerBytes, rate(r.Bytes, start))
	return nil
}

// readEverything reads the whole cluster at each LSN that there are digests of.
func (d *demo) readEverything(ctx context.Context) error {
	for _, lsn := range d.s.LSNs() {
		pages, err := d.check(ctx, d.tl, lsn)
		if err != nil {
			return err
		}
		d.result.LSNs++
		d.result.Pages += pages
	}
	return nil
}

// check compares the whole cluster at lsn and gives the number of pages.
func (d *demo) check(ctx context.Context, tl *strata.Timeline, lsn page.LSN) (int, error) {
	want, err := d.s.Pages(lsn)
	if err != nil {
		return 0, err
	}
	start := time.Now()
	r, err := sample.Check(ctx, tl, sample.Version, want)
	if err != nil {
		return 0, err
	}
	for _, f := range r.First {
		d.say("            DIFFERENT  %s", f)
	}
	n := r.Pages + r.SLRU
	d.result.Different += r.Different
	d.say("read        %s at %s: %d pages, %d unlike PostgreSQL's, %.0f pages/s",
		tl.Info().Name, lsn, n, r.Different, float64(n)/time.Since(start).Seconds())
	return n, nil
}

// branch makes a branch in mid-flight, which must show what its ancestor showed there.
func (d *demo) branch(ctx context.Context) error {
	lsns := d.s.LSNs()
	at := lsns[len(lsns)/2]
	b, err := d.tenant.Branch(ctx, d.tl, strata.BranchOptions{Name: "before", At: at})
	if err != nil {
		return err
	}
	d.say("branch      %s of %s at %s", b.Info().Name, d.tl.Info().Name, b.Info().AncestorLSN)
	pages, err := d.check(ctx, b, at)
	d.result.Pages += pages
	return err
}

func (d *demo) baseBackup(ctx context.Context) error {
	name := filepath.Join(d.Output, "base.tar")
	var r strata.BaseBackupResult
	start := time.Now()
	err := d.write(name, func(w io.Writer) (err error) {
		r, err = d.tl.BaseBackup(ctx, w, strata.BaseBackupOptions{})
		return err
	})
	if err != nil {
		return err
	}
	d.say("basebackup  %s: the cluster at %s, %d files, %.0f MB/s; a stock PostgreSQL %d starts from it",
		name, r.LSN, r.Files, rate(r.Bytes, start), sample.Version)
	return nil
}

func (d *demo) draw(context.Context) error {
	name := filepath.Join(d.Output, "layers.svg")
	p := draw.Picture{Title: "Timeline main: layers, key × LSN", Layers: d.tl.Layers()}
	for _, lsn := range d.s.LSNs() {
		p.Marks = append(p.Marks, draw.Mark{LSN: lsn, Label: "read at " + lsn.String()})
	}
	d.say("draw        %s", name)
	return d.write(name, p.SVG)
}

// write makes a file in the output folder.
func (d *demo) write(name string, fill func(io.Writer) error) error {
	if err := os.MkdirAll(d.Output, 0o755); err != nil {
		return err
	}
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(fill(f), f.Close())
}

// peakMiB is the most memory that the process has had, as the kernel counted it.
func peakMiB() int64 {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return u.Maxrss / maxrssPerMiB
}
