package bench

import (
	"testing"

	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/wal"
)

// walFeed is how much is fed at once, as by a DirReader.
const walFeed = 256 << 10

// BenchmarkDecodeWAL decodes segments that servers wrote: page headers, CRC, all block references, on one
// core. It fails if the number of records is not the known one.
func BenchmarkDecodeWAL(b *testing.B) {
	for _, c := range []struct {
		name, file          string
		version             pg.Version
		segment, start, end page.LSN
		records             int
	}{
		{"pgbench-init-15", "real-wal-pg15/000000010000000000000001.zst", pg.V15, 0x1000000, 0x14AEC08, 0x1FFFF98, 72925},
		{"pgbench-run-17", "neon-pg17/000000010000000000000002.zst", pg.V17, 0x2000000, 0x2377B20, 0x2E770A0, 138310},
	} {
		b.Run(c.name, func(b *testing.B) {
			seg := testkit.FixtureZstd(b, c.file)
			b.SetBytes(int64(c.end - c.start))
			b.ReportAllocs()
			for b.Loop() {
				n, err := decodeWAL(c.version, c.start, c.end, seg[c.start-c.segment:])
				if n != c.records || err != nil {
					b.Fatalf("%d records, want %d: %v", n, c.records, err)
				}
			}
			b.ReportMetric(float64(c.records)*float64(b.N)/b.Elapsed().Seconds(), "records/s")
		})
	}
}

// decodeWAL counts the records of w up to end.
func decodeWAL(v pg.Version, start, end page.LSN, w []byte) (int, error) {
	d, err := wal.NewDecoder(wal.DecoderOptions{Version: v, Start: start, SegSize: wal.DefaultSegSize})
	if err != nil {
		return 0, err
	}
	var r wal.Record
	for n := 0; ; {
		ok, err := d.Next(&r)
		switch {
		case err != nil:
			return n, err
		case ok:
			n++
			if r.End >= end {
				return n, nil
			}
		case len(w) == 0:
			return n, nil
		default:
			k := min(walFeed, len(w))
			d.Feed(w[:k])
			w = w[k:]
		}
	}
}

// TestDecodeWAL runs the benchmark's work once.
func TestDecodeWAL(t *testing.T) {
	n, err := decodeWAL(pg.V17, 0x2377B20, 0x2E770A0, testkit.FixtureZstd(t, "neon-pg17/000000010000000000000002.zst")[0x377B20:])
	if n != 138310 || err != nil {
		t.Fatalf("%d records, want 138310: %v", n, err)
	}
	t.Logf("decoded %d records", n)
}
