// Package walredotest gives tests and benchmarks of redo their requests.
package walredotest

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/walredo"
)

// Requests gives the requests of Neon's redo benchmark by name: "short" is an image and an in-place update
// of pg_class, "medium" 227 records on a page of a user's table. Neon computes of
// PostgreSQL 14 wrote them, with command ids in the heap records.
func Requests(t testing.TB) map[string]*walredo.Request {
	t.Helper()
	raw, err := os.ReadFile(testkit.Fixture(t, "walredo-requests.json"))
	if err != nil {
		t.Fatal(err)
	}
	var file map[string]struct {
		Key     [6]uint32
		LSN     string
		Version int    `json:"pg_version"`
		Base    []byte `json:"base_image"`
		Records []struct {
			LSN      string
			WillInit bool   `json:"will_init"`
			Record   []byte `json:"rec"`
		}
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	requests := map[string]*walredo.Request{}
	for name, f := range file {
		k := f.Key
		r := &walredo.Request{
			Flavour: pg.Neon,
			Key:     page.Key{F1: uint8(k[0]), F2: k[1], F3: k[2], F4: k[3], F5: uint8(k[4]), F6: k[5]},
			LSN:     lsn(t, f.LSN),
			Version: pg.Version(f.Version),
			Base:    f.Base,
		}
		for _, rec := range f.Records {
			r.Records = append(r.Records, walredo.Record{
				LSN:   lsn(t, rec.LSN),
				Value: page.Value{Kind: page.KindPostgres, WillInit: rec.WillInit, Bytes: rec.Record},
			})
		}
		requests[name] = r
	}
	return requests
}

func lsn(t testing.TB, s string) page.LSN {
	t.Helper()
	l, err := page.ParseLSN(s)
	if err != nil {
		t.Fatal(err)
	}
	return l
}
