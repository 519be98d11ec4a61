package wal_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/wal"
)

// realWAL is a segment that a server wrote, with what is known of it.
type realWAL struct {
	file           string
	version        pg.Version
	segment, start page.LSN
	end            page.LSN // where the last whole record ends
	records        int
}

var (
	pgbench15 = realWAL{"real-wal-pg15/000000010000000000000001.zst", pg.V15, 0x1000000, 0x14AEC08, 0x1FFFF98, 72925}
	neon17    = realWAL{"neon-pg17/000000010000000000000002.zst", pg.V17, 0x2000000, 0x2377B20, 0x2E770A0, 138310}
)

func (w realWAL) decoder(t testing.TB) *wal.Decoder {
	d, err := wal.NewDecoder(wal.DecoderOptions{Version: w.version, Start: w.start, SegSize: wal.DefaultSegSize})
	require.NoError(t, err)
	return d
}

// all decodes seg from w.start, fed in pieces of chunk bytes, up to w.end or the end of seg.
func (w realWAL) all(t testing.TB, seg []byte, chunk int, visit func(r *wal.Record)) (records int, end page.LSN) {
	d := w.decoder(t)
	var r wal.Record
	for rest := seg[w.start-w.segment:]; len(rest) > 0; {
		n := min(chunk, len(rest))
		d.Feed(rest[:n:n])
		rest = rest[n:]
		for {
			ok, err := d.Next(&r)
			if err != nil { // not require.NoError: it would be two thirds of the benchmark
				t.Fatal(err)
			}
			if !ok {
				break
			}
			records++
			if visit != nil {
				visit(&r)
			}
			if d.LSN() == w.end {
				return records, d.LSN()
			}
		}
	}
	return records, d.LSN()
}

func TestRealWALIn50ByteChunks(t *testing.T) {
	for _, w := range []realWAL{pgbench15, neon17} {
		t.Run(w.file, func(t *testing.T) {
			seg := testkit.FixtureZstd(t, w.file)
			for _, chunk := range []int{50, len(seg)} {
				n, end := w.all(t, seg, chunk, nil)
				require.Equal(t, w.records, n)
				require.Equal(t, w.end, end)
			}
		})
	}
}

// The counts come from a decoder of another hand over the same segment.
func TestRealWALCounts(t *testing.T) {
	seg := testkit.FixtureZstd(t, pgbench15.file)
	counts := map[string]int{}
	var blocks, images, inits, applies int
	var ends []page.LSN
	pgbench15.all(t, seg, len(seg), func(r *wal.Record) {
		counts[fmt.Sprintf("%v %02X", r.Rmgr, r.Op()&0x70)]++
		if len(ends) < 4 {
			ends = append(ends, r.End)
		}
		var page [pg.BlockSize]byte
		for i := range r.Blocks {
			b := &r.Blocks[i]
			blocks++
			if b.WillInit {
				inits++
			}
			if b.HasImage {
				images++
				require.Equal(t, wal.Uncompressed, b.Compression)
				require.NoError(t, b.RestoreImage(page[:]))
			}
			if b.Apply {
				applies++
			}
		}
	})
	require.Equal(t, []page.LSN{0x14AEC40, 0x14AEC60, 0x14AEC90, 0x14AECD0}, ends)
	require.Equal(t, 72821, blocks)
	require.Equal(t, 30, images)
	require.Equal(t, 30, applies)
	require.Equal(t, 1210, inits+applies-12, "blocks that need no older page, but for the 12 of FPI records")
	require.Equal(t, map[string]int{
		"Heap 00": 72638, "Heap 20": 4, "Heap 30": 1, "Heap2 50": 21, "Heap2 70": 73, "Btree 00": 146, "XLOG 30": 13,
		"XLOG 60": 1, "Transaction 00": 4, "Transaction 60": 8, "Storage 10": 8, "Standby 00": 8,
	}, counts)
}

func BenchmarkDecode(b *testing.B) {
	for _, w := range []realWAL{pgbench15, neon17} {
		b.Run(w.version.VersionFile()[:2], func(b *testing.B) {
			seg := testkit.FixtureZstd(b, w.file)
			b.SetBytes(int64(w.end - w.start))
			b.ReportAllocs()
			records := 0
			for b.Loop() {
				n, _ := w.all(b, seg, 256<<10, nil)
				records += n
			}
			b.ReportMetric(float64(records)/b.Elapsed().Seconds(), "records/s")
		})
	}
}
