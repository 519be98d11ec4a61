package e2e

import (
	"path/filepath"
	"testing"

	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/pg"
)

// worked is a cluster before and after a workload, and the WAL between.
type worked struct {
	version pg.Version
	server  *testkit.Postgres // stopped
	base    string            // data directory before, cleanly stopped
	wal     string            // archive of segments
}

// work makes a cluster, stops it, runs a workload and stops it again. Extra, if not nil, is run before the
// last stop.
func work(t *testing.T, v pg.Version, w testkit.Work, settings map[string]string, extra func(*testkit.Postgres)) worked {
	t.Helper()
	c := testkit.Config{Settings: map[string]string{"wal_level": "logical", "wal_keep_size": "16GB"}}
	for k, s := range settings {
		c.Settings[k] = s
	}
	p := testkit.Server(t, v, c)
	// A first start, so that the base is what a server has stopped and not only what initdb made.
	p.Start()
	p.Exec("postgres", "create table before(a int primary key); insert into before select generate_series(1, 1000)")
	p.Stop()
	base := filepath.Join(testkit.ServerDir(t), "base")
	testkit.CopyTree(t, base, p.Data)
	p.Configure(map[string]string{"max_connections": "35", "max_prepared_transactions": "12"}) // known to standbys by a record
	p.Start()
	p.Workload(w)
	if extra != nil {
		extra(p)
	}
	p.Stop()
	return worked{version: v, server: p, base: base, wal: p.CopyWAL()}
}
