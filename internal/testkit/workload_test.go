package testkit_test

import (
	"fmt"
	"testing"

	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/pg"
)

// TestWorkload shows that servers of every version can do the workload.
func TestWorkload(t *testing.T) {
	for _, v := range []pg.Version{pg.V14, pg.V15, pg.V16, pg.V17} {
		t.Run(fmt.Sprint(v), func(t *testing.T) {
			p := testkit.Server(t, v, testkit.Config{Settings: map[string]string{"wal_level": "logical"}})
			p.Start()
			before := p.LSN()
			p.Workload(testkit.Work{Transactions: 100, LeaveOpen: true})
			p.HashWork()
			p.GistWork()
			p.SPGistWork()
			if written := p.LSN() - before; written < 1<<20 {
				t.Fatalf("%d bytes of WAL for all that", written)
			}
			p.Stop()
		})
	}
}
