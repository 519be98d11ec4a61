package datadir

import (
	"encoding/hex"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

// example gives the bytes of the line of docs/formats/keys.md that starts with the name.
func example(t *testing.T, doc, name string) []byte {
	t.Helper()
	m := regexp.MustCompile(`(?m)^ {4}` + name + ` +([0-9A-F ]+)$`).FindStringSubmatch(doc)
	require.NotNil(t, m, "no example %q", name)
	b, err := hex.DecodeString(strings.ReplaceAll(m[1], " ", ""))
	require.NoError(t, err)
	return b
}

// The examples of the document are what the code writes and reads.
func TestDocumentOfKeys(t *testing.T) {
	text, err := os.ReadFile("../docs/formats/keys.md")
	require.NoError(t, err)
	doc := string(text)

	rel := page.RelTag{Spc: 1663, DB: 5, Rel: 16384}
	key := example(t, doc, "key")
	require.Len(t, key, page.KeySize)
	require.Equal(t, rel.Block(5), page.KeyFromBytes(key))
	aux := regexp.MustCompile(`(?m)^ {4}auxkey +(\S+) +([0-9A-F]{36})$`).FindStringSubmatch(doc)
	require.NotNil(t, aux)
	require.Equal(t, aux[2], page.AuxKey(aux[1]).String())

	entry := example(t, doc, "relkey")
	require.Len(t, entry, page.KeySize+1)
	require.Equal(t, rel.RelEntry(), page.KeyFromBytes(entry))
	require.Equal(t, page.RelEntryExists, string(entry[page.KeySize:]))

	dbs := []Database{{1663, 5, true}, {1664, 0, true}}
	got, err := DecodeDatabases(example(t, doc, "databases"))
	require.NoError(t, err)
	require.Equal(t, dbs, got)
	require.Equal(t, example(t, doc, "databases"), EncodeDatabases(dbs))

	rels := []RelFork{{16384, 0}, {16384, 2}}
	gotRels, err := DecodeRelations(example(t, doc, "relations"))
	require.NoError(t, err)
	require.Equal(t, rels, gotRels)
	require.Equal(t, example(t, doc, "relations"), EncodeRelations(rels))

	require.Equal(t, example(t, doc, "segments"), EncodeSegments([]uint32{0}))
	require.Equal(t, example(t, doc, "transactions"), EncodeTwoPhase(pg.V15, []uint64{750}))
	require.Equal(t, example(t, doc, "size"), EncodeSize(5))

	files := []File{{"postgresql.conf", []byte("a=1")}}
	gotFiles, err := DecodeFiles(example(t, doc, "files"))
	require.NoError(t, err)
	require.Equal(t, files, gotFiles)
	require.Equal(t, example(t, doc, "files"), EncodeFiles(files))

	spans := []RecordSpan{{0x2377AA8, 0x2377B20}, {0x2377B20, 0x2377FF8}, {0x2378018, 0x2378040}}
	var x RecordIndex
	for _, s := range spans {
		x.Add(s)
	}
	require.Equal(t, hex.EncodeToString(example(t, doc, "records")), hex.EncodeToString(x.Bytes()))
	var read []RecordSpan
	require.NoError(t, EachRecord(example(t, doc, "records"), func(s RecordSpan) bool { read = append(read, s); return true }))
	require.Equal(t, spans, read)

	x.Reset()
	for i, s := range spans {
		x.Add(s)
		if i > 0 {
			x.AddEnd(751_000_000-int64(i)*1_000_000, i == 2)
		}
	}
	require.Equal(t, hex.EncodeToString(example(t, doc, "ends")), hex.EncodeToString(x.Bytes()))
	var ends []TransactionEnd
	require.NoError(t, EachTransactionEnd(example(t, doc, "ends"), func(e TransactionEnd) bool { ends = append(ends, e); return true }))
	require.Equal(t, []TransactionEnd{{spans[1], 750_000_000, false}, {spans[2], 749_000_000, true}}, ends)
}
