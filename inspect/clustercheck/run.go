package clustercheck

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/control"
)

// Options say what to compare with what.
type Options struct {
	Reader   datadir.Reader
	LSN      page.LSN
	Version  pg.Version
	SystemID uint64
	// First is the oldest LSN that Reader can read. Databases that exist at LSN but not at First were made
	// by WAL; 0 means that none were.
	First page.LSN
	// Fuzzy says that the timeline was imported from the base backup of a running server. What was dropped just before its
	// checkpoint may be an empty relation there: PostgreSQL removes its files after the next one.
	Fuzzy bool
	// Dir is the data directory of a cleanly stopped server of the same cluster.
	Dir string
	// MaxFirst is how many differences are described; 20 if 0.
	MaxFirst int
}

const defaultMaxFirst = 20

// Difference is one thing that is not the same on both sides.
type Difference struct {
	What   string // relation and block, SLRU page, …
	Reason string
}

// String gives one line.
func (d Difference) String() string { return d.What + ": " + d.Reason }

// Report is the outcome. Different counts pages, and once each for a relation, segment or map that only one
// side has.
type Report struct {
	Pages     int64 // blocks of relations compared
	SLRU      int64 // pages of SLRUs compared
	Different int64
	// Lawful counts what differs as it may, by the reason's name in docs/masks.md.
	Lawful map[string]int64
	// First are the first differences found; their order is by relation.
	First []Difference
}

// Run compares. It returns an error where the comparison could not be made: another cluster, a server that
// runs or was not stopped cleanly, a page that could not be rebuilt. What was counted until then is in the
// report.
func Run(ctx context.Context, o Options) (Report, error) {
	if o.MaxFirst == 0 {
		o.MaxFirst = defaultMaxFirst
	}
	if err := checkComparable(o); err != nil {
		return Report{}, err
	}
	disk, err := scan(o.Dir, o.Version)
	if err != nil {
		return Report{}, err
	}
	c := &checker{o: o, snap: datadir.At(o.Reader, o.LSN, o.Version), disk: disk, report: Report{Lawful: map[string]int64{}}}
	for _, stage := range []func(context.Context) error{c.findImported, c.relations, c.slrus, c.relMaps} {
		if err := stage(ctx); err != nil {
			return c.finish(), err
		}
	}
	return c.finish(), nil
}

// checkComparable refuses directories that cannot be right.
func checkComparable(o Options) error {
	if _, err := os.Stat(filepath.Join(o.Dir, "postmaster.pid")); err == nil {
		return fmt.Errorf("%s: postmaster.pid is there: stop the server first", o.Dir)
	}
	v, err := os.ReadFile(filepath.Join(o.Dir, "PG_VERSION"))
	if err != nil {
		return fmt.Errorf("%s is no data directory: %w", o.Dir, err)
	}
	if got := strings.TrimSpace(string(v)); got != strconv.Itoa(int(o.Version)) {
		return fmt.Errorf("%s: PostgreSQL %s, the timeline is of %d", o.Dir, got, o.Version)
	}
	path := filepath.Join(o.Dir, "global", "pg_control")
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	ctl, err := control.Parse(raw)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if o.SystemID != 0 && ctl.SystemID() != o.SystemID {
		return fmt.Errorf("%s: system identifier %d, the timeline's is %d: another cluster", path, ctl.SystemID(), o.SystemID)
	}
	if s := ctl.State(); s != control.ShutDown && s != control.ShutDownInRecovery {
		return fmt.Errorf("%s: the server was not stopped cleanly (state %v): start it and stop it with -m fast", path, s)
	}
	return nil
}

// checker holds one comparison. The relations are compared on several goroutines; mu guards the report.
type checker struct {
	o    Options
	snap *datadir.Snapshot
	disk *dataDir
	// imported are the databases that were there when the timeline began.
	imported map[dbID]bool

	mu     sync.Mutex
	report Report
}

func (c *checker) differs(what, format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report.Different++
	// Enough are kept to give the first in order although they arrive in any.
	const slack = 50
	if len(c.report.First) < c.o.MaxFirst*slack {
		c.report.First = append(c.report.First, Difference{what, fmt.Sprintf(format, args...)})
	}
}

func (c *checker) lawful(reason string, n int64) {
	if n > 0 {
		c.mu.Lock()
		c.report.Lawful[reason] += n
		c.mu.Unlock()
	}
}

func (c *checker) finish() Report {
	slices.SortFunc(c.report.First, func(a, b Difference) int { return strings.Compare(a.What, b.What) })
	c.report.First = c.report.First[:min(len(c.report.First), c.o.MaxFirst)]
	return c.report
}

// findImported lists the databases that the timeline began with.
func (c *checker) findImported(ctx context.Context) error {
	at := c.o.First
	if at == 0 {
		at = c.o.LSN
	}
	dbs, err := datadir.At(c.o.Reader, at, c.o.Version).Databases(ctx)
	if err != nil {
		return err
	}
	c.imported = make(map[dbID]bool, len(dbs))
	for _, db := range dbs {
		c.imported[dbID{db.Spc, db.DB}] = true
	}
	return nil
}

// relations compares every relation that either side has.
func (c *checker) relations(ctx context.Context) error {
	ours, err := c.ourRelations(ctx)
	if err != nil {
		return err
	}
	tags := make([]page.RelTag, 0, len(ours))
	for t := range ours {
		tags = append(tags, t)
	}
	for t := range c.disk.rels {
		if _, ok := ours[t]; !ok {
			tags = append(tags, t)
		}
	}
	slices.SortFunc(tags, page.RelTag.Compare)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for _, t := range tags {
		if ctx.Err() != nil {
			break
		}
		g.Go(func() error {
			size, have := ours[t]
			return c.relation(ctx, t, size, have, hasInit(t, ours, c.disk.rels))
		})
	}
	return g.Wait()
}

func hasInit(t page.RelTag, ours map[page.RelTag]uint32, disk map[page.RelTag]*relFile) bool {
	i := t.WithFork(page.ForkInit)
	_, a := ours[i]
	_, b := disk[i]
	return a || b
}

// ourRelations gives the sizes of all relations of the timeline, in blocks.
func (c *checker) ourRelations(ctx context.Context) (map[page.RelTag]uint32, error) {
	dbs, err := c.snap.Databases(ctx)
	if err != nil {
		return nil, err
	}
	all := map[page.RelTag]uint32{}
	for _, db := range dbs {
		rels, err := c.snap.Relations(ctx, db.Spc, db.DB)
		if err != nil {
			return nil, err
		}
		sizes, err := c.snap.RelSizes(ctx, rels)
		if err != nil {
			return nil, err
		}
		for i, r := range rels {
			all[r] = sizes[i]
		}
	}
	return all, nil
}

// relMaps compares the relation maps byte by byte.
func (c *checker) relMaps(ctx context.Context) error {
	dbs, err := c.snap.Databases(ctx)
	if err != nil {
		return err
	}
	seen := map[dbID]bool{}
	for _, db := range dbs {
		id := dbID{db.Spc, db.DB}
		what := fmt.Sprintf("relation map of database %d/%d", id.spc, id.db)
		path, onDisk := c.disk.maps[id]
		seen[id] = true
		if !db.HasRelMap {
			if onDisk {
				c.differs(what, "only the data directory has it")
			}
			continue
		}
		if !onDisk {
			c.differs(what, "only the timeline has it")
			continue
		}
		theirs, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		mine, err := c.snap.RelMap(ctx, db.Spc, db.DB)
		if err != nil {
			return err
		}
		if !bytes.Equal(mine, theirs) {
			c.differs(what, "the files differ")
		}
	}
	for id, path := range c.disk.maps {
		if !seen[id] {
			c.differs(fmt.Sprintf("relation map of database %d/%d", id.spc, id.db), "only the data directory has %s", path)
		}
	}
	return nil
}

// itemPointer reads a page's first line pointer's offset and length.
func itemPointer(p []byte) (off, length int) {
	lp := binary.LittleEndian.Uint32(p[24:])
	return int(lp & 0x7FFF), int(lp >> 17)
}
