package index_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/internal/upload/index"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
)

const oneLayer = "000000000000000000000000000000000000-FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF__0000000001500001-0000000001600009"

func document(version int, entry, more string) string {
	return fmt.Sprintf(`{"version":%d,"layer_metadata":{%q:%s},"disk_consistent_lsn":"0/1600008","metadata":{"disk_consistent_lsn":"0/1600008",
 "prev_record_lsn":null,"ancestor_timeline":null,"ancestor_lsn":"0/0","latest_gc_cutoff_lsn":"0/1500000","initdb_lsn":"0/14EE150","pg_version":16}%s}`,
		version, oneLayer, entry, more)
}

// TestLayerFields: what a layer's entry has beside what is known is written again, and ours is read as it was written.
func TestLayerFields(t *testing.T) {
	entry := `{"file_size":7,"generation":3,"shard":"0102","xxh64":"00000000000000ff","trailer":true,"later":{"x":[1,2]},"also":"y"}`
	p, err := index.Parse([]byte(document(15, entry, "")))
	require.NoError(t, err)
	d, err := layer.ParseName(oneLayer)
	require.NoError(t, err)
	l, ok := p.Layers.Find(&d)
	require.True(t, ok)
	require.Equal(t, index.Sum(0xFF), l.Sum)
	require.True(t, l.Desc.Checked)
	require.Equal(t, "0102", l.Shard)
	b, err := p.Encode()
	require.NoError(t, err)
	require.JSONEq(t, strings.Replace(document(15, entry, ""), `"metadata"`, `"metadata_bytes"`, 1), string(b))
	for _, bad := range []string{`"xxh64":"ff"`, `"xxh64":7`, `"xxh64":"00000000000000fg"`} {
		_, err := index.Parse([]byte(document(15, `{"file_size":7,`+bad+`}`, "")))
		require.Error(t, err, bad)
	}
}

// TestVersions: fields that one version of the index or another has are kept, and the version with them.
func TestVersions(t *testing.T) {
	for version, more := range map[int]string{
		1: `,"timeline_layers":["a"],"missing_layers":[]`, 2: `,"timeline_layers":[]`, 4: `,"deleted_at":"2023-07-31T09:00:00.123"`,
		6: `,"archived_at":"2023-07-31T09:00:00.123"`, 7: `,"lineage":{"reparenting_history_truncated":false,"reparenting_history":[]}`,
		8: `,"last_aux_file_policy":"v2"`, 9: `,"gc_blocking":{"started_at":"2024-07-19T09:00:00.123","reasons":["Manual"]}`,
		10: `,"import_pgdata":{"V1":{"Done":{"idempotency_key":"k"}}}`, 11: `,"rel_size_migration":"legacy"`, 12: `,"l2_lsn":"0/16960E8"`,
		13: `,"gc_compaction":{"last_completed_lsn":"0/16960E8"}`, 14: `,"marked_invisible_at":"2023-07-31T09:00:00.123"`, 15: `,"rel_size_migrated_at":"0/16960E8"`,
	} {
		text := document(version, `{"file_size":7}`, more)
		p, err := index.Parse([]byte(text))
		require.NoError(t, err, "version %d", version)
		require.Equal(t, version, p.Version)
		b, err := p.Encode()
		require.NoError(t, err)
		require.JSONEq(t, strings.Replace(text, `"metadata"`, `"metadata_bytes"`, 1), string(b), "version %d", version)
	}
}

// TestOrigin: what only Strata needs comes back.
func TestOrigin(t *testing.T) {
	p := index.New()
	p.Metadata.PgVersion = 17
	k := page.RelTag{Spc: 1663, DB: 5, Rel: 16384}
	p.Origin = &index.Origin{Name: "main", Flavour: 1, WALSegSize: 16 << 20, SystemID: 1<<64 - 1, Checksums: true, InitialLSN: 8,
		Moved: map[string][]page.Range{oneLayer: {{Start: k.Block(1), End: k.Block(9)}}}}
	b, err := p.Encode()
	require.NoError(t, err)
	again, err := index.Parse(b)
	require.NoError(t, err)
	require.Equal(t, p.Origin, again.Origin)
}

// TestEncodedSize: the making of a document takes no more memory than is said beforehand, some 200 bytes for each layer.
func TestEncodedSize(t *testing.T) {
	const layers = 20_000
	p := index.New()
	for i := range layers {
		k := page.RelTag{Spc: 1663, DB: 5, Rel: 16384}
		d := layer.Desc{Keys: page.Range{Start: k.Block(uint32(i)), End: k.Block(uint32(i + 1))}, LSNs: page.LSNRange{Start: 16, End: 1 << 60},
			Size: 256 << 20, Generation: 1 << 31, Checked: true}
		require.NoError(t, p.Layers.Put(index.Layer{Desc: d, Shard: "0104", Sum: 1 << 63}))
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	b, err := p.Encode()
	runtime.ReadMemStats(&after)
	require.NoError(t, err)
	require.LessOrEqual(t, int64(len(b)), p.Layers.EncodedSize())
	rounded := int64(64<<10 + 32*layers) // sizes of allocations, and what formatting a number takes for a moment
	if testkit.UnderRace {
		rounded += 160 * layers // pools drop what they get now and then
	}
	require.LessOrEqual(t, int64(after.TotalAlloc-before.TotalAlloc), p.Layers.EncodedSize()+rounded)
}
