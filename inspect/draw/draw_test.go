package draw

import (
	"bytes"
	"encoding/xml"
	"flag"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
)

var rewrite = flag.Bool("rewrite", false, "write the golden file anew")

func example() Picture {
	rel := page.RelTag{Spc: 1663, DB: 5, Rel: 16384}
	split := rel.Block(100)
	return Picture{
		Title: "Timeline <main>",
		Layers: []layer.Desc{
			{Keys: page.Range{Start: page.MinKey, End: split}, LSNs: page.LSNRange{Start: 0x100, End: 0x101}, Image: true, Size: 8192},
			{Keys: page.Range{Start: split, End: page.MaxKey}, LSNs: page.LSNRange{Start: 0x100, End: 0x101}, Image: true, Size: 16384},
			{Keys: page.FullRange, LSNs: page.LSNRange{Start: 0x101, End: 0x201}, Size: 24576},
			{Keys: page.Range{Start: split, End: rel.Block(200)}, LSNs: page.LSNRange{Start: 0x201, End: 0x301}, Size: 32768},
		},
		Marks: []Mark{{LSN: 0x180, Label: "read & compared"}},
	}
}

func TestPictureIsGolden(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, example().SVG(&b))
	golden := filepath.Join("testdata", "example.svg")
	if *rewrite {
		require.NoError(t, os.WriteFile(golden, b.Bytes(), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), b.String(), "go test ./inspect/draw -rewrite makes the file anew; look at it then")
}

func TestPictureIsXMLAndOrderOfLayersDoesNotMatter(t *testing.T) {
	p := example()
	var a, b bytes.Buffer
	require.NoError(t, p.SVG(&a))
	slices.Reverse(p.Layers)
	require.NoError(t, p.SVG(&b))
	require.Equal(t, a.String(), b.String())
	d := xml.NewDecoder(&a)
	for {
		_, err := d.Token()
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
	}
}

func TestNoLayersIsAPictureToo(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, Picture{Title: "empty"}.SVG(&b))
	require.NotContains(t, b.String(), "NaN")
	require.NotContains(t, b.String(), "Inf")
}
