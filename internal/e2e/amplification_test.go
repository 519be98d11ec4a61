package e2e

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/stretchr/testify/require"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

// amplification is what a strategy has cost on one workload.
type amplification struct {
	strategy        string
	wal, flushed    int64
	compacted       [compaction.Kinds]int64 // bytes written by kind of job
	layers          int
	bytes           int64 // of the layers at the end
	visits, records []int // of each page read at the end, in ascending order
}

// TestAmplification has each strategy compact a server's work as it comes, and prints what it wrote and what reads meet then.
func TestAmplification(t *testing.T) {
	if !testkit.Long() {
		t.Log("in the long form only: TestCompactedClusters takes every strategy through the same work")
		return
	}
	c := compactedWork(t, pg.V15)
	var all []*amplification
	for _, s := range strata.CompactionStrategies() {
		a := c.amplify(t, s)
		all = append(all, a)
		require.Greater(t, a.flushed, a.wal/8)
		require.Positive(t, a.compactedBytes(), "%s has compacted", s)
	}
	t.Logf("WAL of %d KiB in flushes of %d KiB, target %d KiB:\n%s", all[0].wal>>10, amplifiedDistance>>10, amplifiedTarget>>10, amplificationTable(all))
	for _, a := range all {
		if a.strategy == "partitioned" {
			require.LessOrEqual(t, a.visits[len(a.visits)-1], amplifiedVisits+1, "deltas, and the image below them")
		}
	}
}

const (
	amplifiedDistance = mib / 2
	amplifiedTarget   = mib
	amplifiedVisits   = 8
)

func (c *compacted) amplify(t *testing.T, strategy string) *amplification {
	a := &amplification{strategy: strategy}
	var mu sync.Mutex
	e, err := strata.Open(t.Context(), strata.Options{
		Dir: filepath.Join(t.TempDir(), "store"), CreateIfMissing: true, CheckpointDistance: amplifiedDistance,
		Compaction: strata.Compaction{Strategy: strategy, Period: strata.Every(time.Hour),
			Knobs: compaction.Options{CompactionTargetSize: amplifiedTarget, MaxVisits: amplifiedVisits}},
		GC: strata.GarbageCollection{Period: strata.Every(0)},
		Events: strata.Events{CompactionEnd: func(i strata.CompactionInfo) {
			mu.Lock()
			defer mu.Unlock()
			a.compacted[i.Kind] += i.BytesWritten
		}},
	})
	require.NoError(t, err)
	defer func() { require.NoError(t, e.Close()) }()
	tenant, err := e.DefaultTenant(t.Context())
	require.NoError(t, err)
	tl, _, err := tenant.Import(t.Context(), strata.ImportOptions{PGData: c.base, Name: timelineName})
	require.NoError(t, err)
	c.ingest(t, tl, 0)
	_, err = tl.Compact(t.Context(), strata.CompactOptions{DueOnly: true}) // what is still under way ends first
	require.NoError(t, err)
	i := tl.Info()
	a.wal, a.flushed = int64(i.LastRecordLSN-i.InitialLSN), e.Metrics().FlushBytes
	a.layers, a.bytes = i.Layers, i.LayerBytes
	a.read(t, tl)
	return a
}

func (a *amplification) compactedBytes() (n int64) {
	for _, b := range a.compacted {
		n += b
	}
	return n
}

// read reads every block of the users' relations, one by one.
func (a *amplification) read(t *testing.T, tl *strata.Timeline) {
	last := tl.LastRecordLSN()
	cluster := tl.Cluster(last)
	dbs, err := cluster.Databases(t.Context())
	require.NoError(t, err)
	for _, db := range dbs {
		rels, err := cluster.Relations(t.Context(), db.Spc, db.DB)
		require.NoError(t, err)
		for _, rel := range rels {
			if rel.Rel < firstUserRelation || rel.Fork != page.ForkMain {
				continue
			}
			size, err := cluster.RelSize(t.Context(), rel)
			require.NoError(t, err)
			for b := range size {
				a.readPage(t, tl, rel, b, last)
			}
		}
	}
	slices.Sort(a.visits)
	slices.Sort(a.records)
	require.Greater(t, len(a.visits), 100)
}

// firstUserRelation is FirstNormalObjectId (access/transam.h).
const firstUserRelation = 16384

func (a *amplification) readPage(t *testing.T, tl *strata.Timeline, rel page.RelTag, block uint32, at page.LSN) {
	var trace strata.ReadTrace
	_, err := tl.Get(strata.WithReadTrace(t.Context(), &trace), rel.Block(block), at) // Page would ask for the relation's size too
	require.NoError(t, err)
	visits, records := trace.More, 0
	for _, v := range trace.Visited {
		if v.Layer != "memory" {
			visits++
		}
		records += v.Found
	}
	a.visits, a.records = append(a.visits, visits), append(a.records, records)
}

func amplificationTable(all []*amplification) string {
	var s strings.Builder
	w := tabwriter.NewWriter(&s, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "strategy\tflushed KiB\tmerged\timages\tfolded\twritten/WAL\twritten/flushed\tlayers\tKiB\tlayers/read mean\tp99\tmax\tvalues/read mean\tp99\tmax\t")
	for _, a := range all {
		written := a.flushed + a.compactedBytes()
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%.2f\t%.2f\t%d\t%d\t%s\t%s\t\n", a.strategy, a.flushed>>10,
			a.compacted[compaction.Retile]>>10, a.compacted[compaction.Image]>>10, a.compacted[compaction.Fold]>>10,
			float64(written)/float64(a.wal), float64(written)/float64(a.flushed), a.layers, a.bytes>>10, spread(a.visits), spread(a.records))
	}
	w.Flush()
	return s.String()
}

// spread gives mean, 99th percentile and maximum of values in ascending order, as cells.
func spread(v []int) string {
	var sum float64
	for _, x := range v {
		sum += float64(x)
	}
	return fmt.Sprintf("%.2f\t%v\t%v", sum/float64(len(v)), v[len(v)*99/100], v[len(v)-1])
}
