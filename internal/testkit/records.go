package testkit

import (
	"path/filepath"
	"testing"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/control"
	"github.com/stratapg/strata/pg/wal"
)

// RecordEnds lists the ends of all WAL records in a folder of segments that follow a cleanly stopped
// cluster's last checkpoint: the LSNs that a state can have.
func RecordEnds(t testing.TB, v pg.Version, base, dir string) []page.LSN {
	t.Helper()
	f, err := control.Read(filepath.Join(base, "global", "pg_control"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := wal.OpenDir(dir, wal.DirOptions{Version: v, Start: f.ShutdownCheckpointEnd(), Prev: f.CheckPointLSN(),
		SegSize: f.WALSegSize(), SystemID: f.SystemID()})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var ends []page.LSN
	var rec wal.Record
	for {
		ok, err := r.Next(t.Context(), &rec)
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			return ends
		}
		ends = append(ends, rec.End)
	}
}
