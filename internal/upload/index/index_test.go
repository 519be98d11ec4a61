package index_test

import (
	"encoding/binary"
	"encoding/json"
	"hash/crc32"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/internal/upload/index"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
)

const sample = `{"version":15,
 "layer_metadata":{
  "000000000000000000000000000000000000-FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF__0000000001500001-0000000001600009":{"file_size":24576,"generation":3},
  "000000000000000000000000000000000000-000000067F00000005000040000000000010__0000000001500000":{"file_size":32768,"generation":2,"shard":"0104"}},
 "disk_consistent_lsn":"0/1600008",
 "metadata_bytes":{"disk_consistent_lsn":"0/1600008","prev_record_lsn":"0/15FFFE0","ancestor_timeline":null,"ancestor_lsn":"0/0",
   "latest_gc_cutoff_lsn":"0/1500000","initdb_lsn":"0/14EE150","pg_version":16},
 "archived_at":"2024-05-06T07:08:09.5","unknown":{"a":[1]},"lineage":{}}`

func TestParse(t *testing.T) {
	p, err := index.Parse([]byte(sample))
	require.NoError(t, err)
	require.Equal(t, 15, p.Version)
	require.Equal(t, page.LSN(0x1600008), p.Metadata.DiskConsistentLSN)
	require.Equal(t, page.LSN(0x15FFFE0), *p.Metadata.PrevRecordLSN)
	require.Nil(t, p.Metadata.Ancestor)
	require.Equal(t, 16, p.Metadata.PgVersion)
	require.Equal(t, time.Date(2024, 5, 6, 7, 8, 9, 500_000_000, time.UTC), p.ArchivedAt)
	require.True(t, p.DeletedAt.IsZero())
	ds := p.Descs()
	require.Len(t, ds, 2)
	for _, d := range ds {
		if d.IsL0() {
			require.Equal(t, layer.Desc{Keys: page.FullRange, LSNs: page.LSNRange{Start: 0x1500001, End: 0x1600009}, Size: 24576, Generation: 3}, d)
		} else {
			require.True(t, d.Image)
			require.Equal(t, uint32(2), d.Generation)
		}
	}
}

// TestRoundTrip: what is written says what was read, unknown fields included.
func TestRoundTrip(t *testing.T) {
	p, err := index.Parse([]byte(sample))
	require.NoError(t, err)
	b, err := p.Encode()
	require.NoError(t, err)
	require.JSONEq(t, sample, string(b))
}

// TestRealDocuments reads documents that Neon wrote, and writes them with the same content.
func TestRealDocuments(t *testing.T) {
	b, err := os.ReadFile(testkit.Fixture(t, "index-part/mixed_workload.json"))
	require.NoError(t, err)
	p, err := index.Parse(b)
	require.NoError(t, err)
	require.Equal(t, 7, p.Version)
	deltas, images := 0, 0
	ds := p.Descs()
	for _, d := range ds {
		if d.Image {
			images++
			require.LessOrEqual(t, d.LSNs.Start, p.Metadata.DiskConsistentLSN)
		} else {
			deltas++
			require.LessOrEqual(t, d.LSNs.End, p.Metadata.DiskConsistentLSN+1)
		}
	}
	require.Equal(t, []int{762, 802}, []int{deltas, images})
	again, err := p.Encode()
	require.NoError(t, err)
	require.JSONEq(t, string(b), string(again))
}

// binaryForm makes the array of an old document.
func binaryForm(format uint16, body []byte) []byte {
	b := make([]byte, 512)
	n := 8 + copy(b[8:], body)
	binary.BigEndian.PutUint16(b[4:], uint16(n))
	binary.BigEndian.PutUint16(b[6:], format)
	binary.BigEndian.PutUint32(b, crc32.Checksum(b[8:n], crc32.MakeTable(crc32.Castagnoli)))
	return b
}

func oldDocument(t *testing.T, meta []byte, disk string) []byte {
	numbers := make([]int, len(meta))
	for i, c := range meta {
		numbers[i] = int(c)
	}
	b, err := json.Marshal(map[string]any{"version": 4, "layer_metadata": map[string]any{}, "disk_consistent_lsn": disk, "metadata_bytes": numbers})
	require.NoError(t, err)
	return b
}

func TestBinaryMetadata(t *testing.T) {
	u64 := func(b []byte, v uint64) []byte { return binary.BigEndian.AppendUint64(b, v) }
	ancestor := page.TimelineID{1, 2, 3}
	body := u64(nil, 0x1600008)
	body = u64(append(body, 1), 0x15FFFE0)
	body = append(append(body, 1), ancestor[:]...)
	body = u64(u64(u64(body, 0x1500000), 0x1400000), 0x1300000)
	full := binary.BigEndian.AppendUint32(body, 15)

	p, err := index.Parse(oldDocument(t, binaryForm(4, full), "0/1600008"))
	require.NoError(t, err)
	prev := page.LSN(0x15FFFE0)
	want := index.Metadata{DiskConsistentLSN: 0x1600008, PrevRecordLSN: &prev, Ancestor: &ancestor,
		AncestorLSN: 0x1500000, GCCutoffLSN: 0x1400000, InitdbLSN: 0x1300000, PgVersion: 15}
	require.Equal(t, want, p.Metadata)

	p, err = index.Parse(oldDocument(t, binaryForm(3, body), "0/1600008"))
	require.NoError(t, err)
	want.PgVersion = 14
	require.Equal(t, want, p.Metadata)

	good := binaryForm(4, full)
	for _, at := range []int{0, 5, 7, 8, 16, 25, 69} {
		bad := append([]byte(nil), good...)
		bad[at] ^= 0x10
		_, err := index.Parse(oldDocument(t, bad, "0/1600008"))
		require.Error(t, err, "byte %d", at)
	}
	for n := range full {
		_, err := index.Parse(oldDocument(t, binaryForm(4, full[:n]), "0/1600008"))
		require.ErrorContains(t, err, "inside a field", "%d bytes", n)
	}
}

func TestRefused(t *testing.T) {
	for _, c := range []struct{ old, new, want string }{
		{`"file_size":24576`, `"file_size":0`, "file_size is 0"},
		{`"shard":"0104"`, `"shard":"1"`, "four hex digits"},
		{`__0000000001500000"`, `__000000000150000"`, "layer_metadata"},
		{`"disk_consistent_lsn":"0/1600008",
 "meta`, `"disk_consistent_lsn":"0/1600000",
 "meta`, "that of the metadata"},
		{`"ancestor_lsn":"0/0"`, `"ancestor_lsn":"0/8"`, "no ancestor_timeline"},
		{`"ancestor_timeline":null`, `"ancestor_timeline":"00000000000000000000000000000001"`, "no ancestor_lsn"},
		{`"layer_metadata"`, `"layers"`, "must be there"},
		{`"metadata_bytes"`, `"metadata_gone"`, "metadata_bytes is missing"},
		{`"lineage":{}`, `"metadata":{}`, "both there"},
		{`"2024-05-06T07:08:09.5"`, `"yesterday"`, "archived_at"},
		{`"generation":3`, `"generation":-3`, "layer_metadata"},
	} {
		doc := strings.Replace(sample, c.old, c.new, 1)
		require.NotEqual(t, sample, doc, c.old)
		_, err := index.Parse([]byte(doc))
		require.ErrorContains(t, err, c.want)
	}
	for _, doc := range []string{"", "null", "[]", "{}", `{"version":"x"}`} {
		_, err := index.Parse([]byte(doc))
		require.Error(t, err, doc)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(sample))
	f.Add([]byte(`{"layer_metadata":{},"disk_consistent_lsn":"0/0","metadata":[1,2]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := index.Parse(b)
		if err != nil {
			return
		}
		again, err := p.Encode()
		require.NoError(t, err)
		q, err := index.Parse(again)
		require.NoError(t, err)
		require.Equal(t, slices.Collect(p.Layers.All()), slices.Collect(q.Layers.All()))
		require.Equal(t, p.Metadata, q.Metadata)
	})
}
