package bench

import (
	"context"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/ingest"
	"github.com/stratapg/strata/internal/sample"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/wal"
)

// walFixture is a cluster and the WAL that follows it.
type walFixture struct {
	name, base, segment string // paths of the repository's sample where they are empty
	flavour             pg.Flavour
	segStart            page.LSN // of the segment
	whole, eighth       walReach // all of it, and some that is enough under the race detector
}

// walReach is how far WAL is taken in: the end of a record, and how many there are up to it.
type walReach struct {
	end     page.LSN
	records int64
}

var walFixtures = []walFixture{
	{"sample", "", "", pg.Stock, 0x1C00000, walReach{0x23E24C8, 114779}, walReach{0x1CFC550, 14083}},
	{"neon-pg17", "neon-pg17/base-pgdata.tar.zst", "neon-pg17/000000010000000000000002.zst", pg.Stock, 0x2000000, walReach{0x2E770A0, 138310}, walReach{0x24D79F0, 17448}},
	{"real-wal-pg15", "real-wal-pg15/initdb.tar.zst", "real-wal-pg15/000000010000000000000001.zst", pg.Neon, 0x1000000, walReach{0x1FFFF98, 72925}, walReach{0x1618EF0, 8218}},
}

// reach is all of the WAL, but under the race detector an eighth of it, by which the work cannot rot either.
func (f *walFixture) reach() walReach {
	if testkit.UnderRace && !testkit.Long() {
		return f.eighth
	}
	return f.whole
}

// ingestChunk is how much WAL is fed at once.
const ingestChunk = 256 << 10

// BenchmarkIngestWAL decodes WAL, CRC checked, and takes it into an in-memory layer. MB/s are of WAL.
func BenchmarkIngestWAL(b *testing.B) {
	for _, f := range walFixtures {
		b.Run(f.name, func(b *testing.B) {
			base, segment := loadWALFixture(b, f)
			b.ReportAllocs()
			var bytes, records int64
			cpu := startCPU()
			for b.Loop() {
				ingestOnce(b, f, base, segment).Release()
				bytes += int64(f.reach().end - base.LSN)
				records += f.reach().records
			}
			cpu.report(b, bytes)
			b.ReportMetric(float64(records)/b.Elapsed().Seconds(), "records/s")
		})
	}
}

// TestIngestBenchmark runs what the benchmark runs, once, so that it cannot rot, and says what it computed.
func TestIngestBenchmark(t *testing.T) {
	for _, f := range walFixtures {
		base, segment := loadWALFixture(t, f)
		mem := ingestOnce(t, f, base, segment)
		defer mem.Release()
		sum := crc32.NewIEEE()
		require.NoError(t, mem.Iterate(t.Context(), func(k page.Key, lsn page.LSN, _ bool, v []byte) error {
			fmt.Fprintf(sum, "%s %s", k, lsn)
			sum.Write(v)
			return nil
		}))
		t.Logf("%s: crc32 %08x of %d values, %d bytes", f.name, sum.Sum32(), mem.Len(), mem.Size())
	}
}

// loadWALFixture imports the cluster's metadata and unpacks the segment.
func loadWALFixture(t testing.TB, f walFixture) (*benchBase, []byte) {
	t.Helper()
	base, segment := f.files(t)
	d, err := ingest.OpenDataDir(base)
	require.NoError(t, err)
	sink := &benchBase{DataDir: d, values: make(map[page.Key][]byte)}
	_, err = d.Import(context.Background(), sink, nil)
	require.NoError(t, err)
	return sink, segment
}

// files gives the cluster's folder and the WAL in one piece.
func (f *walFixture) files(t testing.TB) (base string, segment []byte) {
	base = filepath.Join(t.TempDir(), "cluster")
	if f.base != "" {
		require.NoError(t, os.Mkdir(base, 0o700))
		testkit.UntarFixture(t, base, f.base)
		return base, testkit.FixtureZstd(t, f.segment)
	}
	s, err := sample.Open(sampleDir)
	require.NoError(t, err)
	require.NoError(t, s.ExtractCluster(base))
	dir := filepath.Join(t.TempDir(), "wal")
	require.NoError(t, s.ExtractWAL(dir))
	names, err := filepath.Glob(filepath.Join(dir, "*")) // sorted
	require.NoError(t, err)
	for _, name := range names {
		b, err := os.ReadFile(name)
		require.NoError(t, err)
		segment = append(segment, b...)
	}
	return base, segment
}

// ingestOnce takes in the records of the segment behind the import, as far as they are to be.
func ingestOnce(t testing.TB, f walFixture, base *benchBase, segment []byte) *layer.Mem {
	ctx := context.Background()
	s := &benchStore{base: base, mem: layer.NewMem(base.LSN+1, nil), last: base.LSN, prev: base.PrevLSN}
	i, err := ingest.NewIngester(ctx, s, ingest.Options{Version: base.Version, Flavour: f.flavour})
	require.NoError(t, err)
	d, err := wal.NewDecoder(wal.DecoderOptions{Version: base.Version, Start: base.LSN, SegSize: base.SegSize, SystemID: base.SystemID})
	require.NoError(t, err)
	var rec wal.Record
	reach := f.reach()
	for rest := segment[base.LSN-f.segStart:]; i.LSN() < reach.end; {
		ok, err := d.Next(&rec)
		if err != nil {
			require.NoError(t, err)
		}
		if !ok {
			n := min(len(rest), ingestChunk)
			require.NotZero(t, n)
			d.Feed(rest[:n])
			rest = rest[n:]
			continue
		}
		if err := i.Record(ctx, &rec); err != nil {
			require.NoError(t, err)
		}
	}
	require.NoError(t, i.Commit(ctx))
	require.Equal(t, reach, walReach{s.last, i.Stats().Records})
	return s.mem
}

// benchBase keeps an import's values, except for pages.
type benchBase struct {
	*ingest.DataDir
	values map[page.Key][]byte
}

func (b *benchBase) PutImage(_ context.Context, k page.Key, image []byte) error {
	if len(image) != pg.BlockSize || k == page.ControlFileKey {
		b.values[k] = append([]byte(nil), image...)
	}
	return nil
}

// benchStore is the base below one in-memory layer. Ingest reads only images from it.
type benchStore struct {
	base       *benchBase
	mem        *layer.Mem
	last, prev page.LSN
}

var _ datadir.Store = (*benchStore)(nil)

func (s *benchStore) LastRecordLSN() page.LSN { return s.last }
func (s *benchStore) PrevRecordLSN() page.LSN { return s.prev }

func (s *benchStore) Put(ctx context.Context, b *page.Batch) error {
	if err := b.Check(s.last); err != nil {
		return err
	}
	s.last, s.prev = b.End, b.Prev
	return s.mem.Put(ctx, b)
}

func (s *benchStore) Get(ctx context.Context, k page.Key, lsn page.LSN) ([]byte, error) {
	c := layer.NewCollector(page.SetOfKeys(k), lsn)
	defer c.Release()
	if err := s.mem.Collect(ctx, c, c.Keys(), page.LSNRange{Start: s.base.LSN + 1, End: lsn + 1}); err != nil {
		return nil, err
	}
	for _, found := range c.Results() {
		v, err := page.DecodeValue(found[0].Value)
		return append([]byte(nil), v.Bytes...), err
	}
	if v, ok := s.base.values[k]; ok {
		return v, nil
	}
	return nil, fmt.Errorf("%s: %w", k.Describe(), page.ErrNotFound)
}

func (s *benchStore) GetVectored(context.Context, page.Set, page.LSN, func(page.Key, []byte, error) error) error {
	return fmt.Errorf("not needed by these fixtures")
}
