package layer

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/page"
)

// docExample gives the bytes of a "```hex <name>" block of the format's document.
func docExample(t *testing.T, name string) []byte {
	doc, err := os.ReadFile("../docs/formats/layers.md")
	require.NoError(t, err)
	_, rest, ok := strings.Cut(string(doc), "```hex "+name+"\n")
	require.True(t, ok, name)
	block, _, ok := strings.Cut(rest, "```")
	require.True(t, ok, name)
	return mustHex(t, block)
}

func TestDocumentsExamples(t *testing.T) {
	b := docExample(t, "summary")
	require.Len(t, b, 96)
	b = append(b, make([]byte, blockSize-len(b))...)
	s, err := parseSummary(b)
	require.NoError(t, err)
	d := Desc{Keys: page.FullRange, LSNs: page.LSNRange{Start: 0x14EF420, End: 0x14EF499}}
	require.Equal(t, d, s.desc)
	require.NoError(t, s.check(Identity{Tenant: s.id.Tenant}, d, 3*blockSize))
	require.Equal(t, b, s.append(nil))

	b = docExample(t, "blob")
	for _, want := range []string{"hi", string(make([]byte, 128))} {
		got, n, err := parseBlob(b)
		require.NoError(t, err)
		require.Equal(t, want, string(got.Data))
		require.Equal(t, b[:n], append(appendBlobHeader(nil, len(want), false), want...))
		b = b[n:]
	}
	require.Empty(t, b)

	v, err := page.DecodeValue(docExample(t, "image value"))
	require.NoError(t, err)
	require.Equal(t, page.Value{Kind: page.KindImage, Bytes: []byte("foobar")}, v)
	v, err = page.DecodeValue(docExample(t, "record value"))
	require.NoError(t, err)
	require.Equal(t, page.Value{Kind: page.KindPostgres, WillInit: true, Bytes: []byte("foobar")}, v)

	b = docExample(t, "node")
	b = append(b, make([]byte, blockSize-len(b))...)
	var c treeCursor
	c.init(memBlocks(b), 0, 6)
	require.NoError(t, c.seek(context.Background(), []byte("xaaaaa")))
	var pairs []treePair
	for {
		k, v, ok, err := c.next(context.Background())
		require.NoError(t, err)
		if !ok {
			break
		}
		pairs = append(pairs, treePair{append([]byte(nil), k...), v})
	}
	require.Equal(t, []treePair{{[]byte("xaaaaa"), 0}, {[]byte("xaaaba"), 1}}, pairs)
	again, _ := buildTree(t, pairs)
	require.Equal(t, b, again)
}
