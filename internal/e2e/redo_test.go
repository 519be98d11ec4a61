package e2e

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/inspect/redocheck"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/walredo/native"
)

// redone are the resource managers whose every record with a block reference redo must know.
var redone = []pg.Rmgr{pg.RmXLOG, pg.RmHeap, pg.RmHeap2, pg.RmBtree, pg.RmSeq}

// TestRealServers takes clusters of 15 and 17 through a workload and compares record by record, the whole
// cluster at its end, and at positions between with what PostgreSQL's own recovery gives.
func TestRealServers(t *testing.T) {
	if !testkit.WithoutRace(t) {
		return
	}
	for _, v := range []pg.Version{pg.V15, pg.V17} {
		t.Run(fmt.Sprint(v), func(t *testing.T) {
			w := work(t, v, testkit.Work{Transactions: testkit.Size(300, 300, 10_000), Seed: uint64(v), LeaveOpen: true},
				map[string]string{"wal_consistency_checking": "all", "track_commit_timestamp": "on"}, nil)
			t.Run("record by record", func(t *testing.T) { recordByRecord(t, w) })
			store := filepath.Join(t.TempDir(), "store")
			tl := importAndIngest(t, store, w.base, w.wal, 64*mib)
			t.Run("cluster by cluster", func(t *testing.T) {
				requireSameCluster(t, tl, w.version, w.server.Data, tl.LastRecordLSN(), tl.Info().OldestLSN)
			})
			t.Run("in mid-flight", func(t *testing.T) { midFlight(t, w, tl) })
		})
	}
}

// recordByRecord redoes every record on our own result so far and compares it with the image that the
// server wrote beside it.
func recordByRecord(t *testing.T, w worked) {
	redoer := native.New()
	defer redoer.Close()
	r, err := redocheck.Run(t.Context(), redocheck.Options{WALDir: w.wal, Version: w.version, PGData: w.base, Redoer: redoer})
	require.NoError(t, err)
	t.Logf("records from %s to %s: %+v\n%s", r.Start, r.End, r.Total, coverage(r))
	for _, m := range redone {
		c := r.Rmgr(m)
		require.Zero(t, c.Different, "%s: %v", m, r.First)
		require.Zero(t, c.Uncovered, "%s", m)
		require.Zero(t, c.Primed, "%s: the base and the records before give every page", m)
		require.Positive(t, c.Equal, "%s", m)
	}
	require.Zero(t, r.Total.Different, "%v", r.First)
	requireCovered(t, w.version, r)
}

// coverage is the table of every kind of record that the redone resource managers have in a version.
func coverage(r redocheck.Report) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "manager\toperation\trecords\tblocks\tequal\twhy not")
	for _, o := range r.Ops {
		if o.Records == 0 && !slices.Contains(redone, o.Op.Rmgr) {
			continue
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%s\n", o.Op.Rmgr, o.Name, o.Records, o.Blocks, o.Equal, whyNot(o))
	}
	w.Flush()
	return b.String()
}

func whyNot(o redocheck.OpCounts) string {
	if o.Records > 0 {
		return ""
	}
	return absent[o.Op.Rmgr.String()+" "+o.Name]
}

// requireCovered demands that each kind of record with pages to redo occurred, or that it is known why not.
func requireCovered(t *testing.T, v pg.Version, r redocheck.Report) {
	t.Helper()
	for _, o := range r.Ops {
		if slices.Contains(redone, o.Op.Rmgr) && o.Records == 0 && whyNot(o) == "" {
			t.Errorf("PostgreSQL %d: %s %s did not occur, and nothing says why", v, o.Op.Rmgr, o.Name)
		}
	}
}

// absent says of the kinds of records that the workload does not make why it cannot.
var absent = map[string]string{
	"XLOG NOOP":                 "no server writes it",
	"XLOG END_OF_RECOVERY":      "written at a promotion",
	"XLOG OVERWRITE_CONTRECORD": "written after a crash in the middle of a record",
	"Heap HOT_UPDATE+INIT":      "a HOT update's new row lies beside the old one, so the page is not empty",
}
